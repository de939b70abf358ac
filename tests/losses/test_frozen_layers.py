"""The extractor's own layers against torchvision's: the same gradient, from less."""
import pytest
import torch
from loss_probes import images
from spn_naive import POSITIONS, naive_features

from mcir_plugin.losses import SPNLoss, VGGFeatures
from mcir_plugin.losses.known_gradient import pull_back

DEEP = {'vgg16': ['pool3'], 'vgg19': ['conv3_1', 'relu2_1', 'pool1'], 'vgg16_bn': ['relu3_1', 'bn2_1']}


@pytest.mark.parametrize('size', [(8, 8), (9, 11)])
@pytest.mark.parametrize(('vgg_type', 'layers'), [*((kind, list(names)) for kind, names in POSITIONS.items()),
                                                  *DEEP.items()])
def test_gradient_of_the_image_is_that_of_torchvision(vgg_type, layers, size, random_vgg):
    network, path = random_vgg(vgg_type)
    extractor = VGGFeatures(layers, vgg_type, path, use_input_norm=False).double()
    positions = [extractor._names.index(layer) for layer in layers]
    leaf = images(2, 3, *size).double().requires_grad_()
    expected = naive_features(network, positions, leaf, use_input_norm=False)
    gradients = [torch.randn(feature.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
                 for k, feature in enumerate(expected)]
    wanted, = torch.autograd.grad(expected, leaf, gradients)
    found, = torch.autograd.grad(extractor(leaf), leaf, [gradient.clone() for gradient in gradients])
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-14)
    handed = [gradient.clone() for gradient in gradients]
    torch.testing.assert_close(pull_back(handed, extractor(leaf), leaf), wanted, rtol=1e-10, atol=1e-14)
    assert handed == []


def test_graph_keeps_the_features_and_one_byte_for_every_other_activation():
    extractor = VGGFeatures(['relu1_2', 'relu2_2', 'relu3_3'], weights='random:0')
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    leaf = images(2, 3, 16, 16).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = extractor(leaf)
    pixels = 2 * 16 * 16
    masks = 64 * pixels + 128 * pixels // 4 + 2 * 256 * pixels // 16  # relu1_1, relu2_1, relu3_1 and relu3_2
    weights = sum(p.numel() * 4 for name, p in extractor.named_parameters() if name.endswith('weight'))
    small = (3 * pixels + 2 * 3) * 4  # the image and what it is normalised by
    assert 0 <= sum(kept.values()) - sum(f.numel() * 4 for f in features) - masks - weights <= 2 * small


def test_a_second_derivative_is_refused_rather_than_wrong():
    leaf = images(1, 3, 8, 8).requires_grad_()
    gradient, = torch.autograd.grad(VGGFeatures(['relu1_2'], weights='random:0')(leaf)[0].sum(), leaf,
                                    create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()


def test_gradient_is_that_of_float32_inside_an_autocast_region():
    loss = SPNLoss(vgg_weights='random:0')
    negative, found = images(1, 3, 16, 16, seed=1), []
    for enabled in (False, True):
        pred = images(1, 3, 16, 16).requires_grad_()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            loss(pred, negative).backward()
        found.append(pred.grad)
    assert torch.equal(*found)
