import copy

import pytest
import torch
from loss_probes import require_on_cpu
from spn_naive import CONFIGURATIONS, naive_features, torchvision_layers

from mcir_plugin.config.vgg_names import layer_names
from mcir_plugin.losses import VGGFeatures

TYPES = [name + suffix for name in CONFIGURATIONS for suffix in ('', '_bn')]


def images(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('vgg_type', TYPES)
def test_every_layer_equals_torchvision(vgg_type, random_vgg):
    network, path = random_vgg(vgg_type)
    names = layer_names(vgg_type)[:len(network)]
    assert names[-1] == 'pool3'
    extractor = VGGFeatures(names, vgg_type, path, use_input_norm=False).double()
    x = images(2, 3, 17, 12)
    expected = naive_features(network, list(range(len(network))), x, use_input_norm=False)
    for feature, reference in zip(extractor(x), expected, strict=True):
        torch.testing.assert_close(feature, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('layers', [['relu2_2', 'conv1_2', 'relu1_2'], ['conv2_2', 'relu2_2', 'relu1_1'], ['pool2']])
def test_layers_come_in_the_order_asked_for_and_are_not_overwritten(layers, random_vgg):
    network, path = random_vgg('vgg16')
    positions = [layer_names('vgg16').index(layer) for layer in layers]
    x = images(1, 3, 8, 8)
    features = VGGFeatures(layers, weights=path, use_input_norm=False).double()(x)
    for feature, reference in zip(features, naive_features(network, positions, x, use_input_norm=False), strict=True):
        torch.testing.assert_close(feature, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(('layer', 'modules', 'parameters', 'min_size'), [
    ('conv1_1', 1, 1_792, 1),
    ('relu1_2', 4, 38_720, 1),
    ('pool1', 5, 38_720, 2),
    ('relu3_3', 16, 1_735_488, 4),
    ('pool5', 31, 14_714_688, 32),  # the size of all convolutions of VGG16
])
def test_network_ends_at_the_deepest_layer(layer, modules, parameters, min_size):
    extractor = VGGFeatures(['relu1_1' if layer != 'conv1_1' else layer, layer], weights='random:0')
    assert len(extractor.features) == modules
    assert sum(p.numel() for p in extractor.parameters()) == parameters
    assert extractor.min_size == min_size


def test_smallest_size_works_and_one_less_is_refused():
    extractor = VGGFeatures(['relu3_3'], weights='random:0')
    assert extractor(torch.rand(1, 3, 4, 4))[0].shape == (1, 256, 1, 1)
    with pytest.raises(ValueError, match='3 x 9 pixels.*relu3_3.*4 x 4'):
        extractor(torch.rand(1, 3, 3, 9))


@pytest.mark.parametrize('shape', [(2, 3, 8, 8), (2, 1, 8, 8), (2, 4, 3, 8, 8), (2, 4, 1, 8, 8)])
@pytest.mark.parametrize('norms', [(True, False), (False, False), (True, True), (False, True)])
def test_input_shapes_and_normalisations(shape, norms, random_vgg):
    network, path = random_vgg('vgg16')
    extractor = VGGFeatures(['relu1_1', 'relu2_1'], 'vgg16', path, *norms).double()
    x = images(*shape)
    for feature, reference in zip(extractor(x), naive_features(network, [1, 6], x, *norms), strict=True):
        torch.testing.assert_close(feature, reference, rtol=1e-6, atol=1e-6)  # mean and std are kept in float32


@pytest.mark.parametrize('shape', [(3, 8, 8), (1, 2, 8, 8), (1, 4, 8, 8), (8, 8), (1, 1, 1, 3, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match='1 or 3 channels'):
        VGGFeatures(['relu1_1'], weights='random:0')(torch.rand(shape))


def test_integer_images_are_refused():
    with pytest.raises(TypeError, match='torch.uint8'):
        VGGFeatures(['relu1_1'], weights='random:0')(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_input_is_left_alone():
    x = torch.rand(1, 3, 8, 8)
    before = x.clone()
    VGGFeatures(['relu1_2'], weights='random:0', use_input_norm=False)(x)
    assert torch.equal(x, before)


def test_frozen_and_always_in_eval_mode(random_vgg):
    extractor = VGGFeatures(['relu1_2'], 'vgg16_bn', random_vgg('vgg16_bn')[1])
    outer = torch.nn.Sequential(extractor).train()
    x = torch.rand(2, 3, 8, 8)
    before = copy.deepcopy(extractor.state_dict())
    first, second = outer(x)[0], outer(x)[0]
    assert torch.equal(first, second)
    assert all(torch.equal(before[key], value) for key, value in extractor.state_dict().items())
    assert not any(module.training for module in extractor.modules())
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


def test_state_dict_has_the_keys_of_torchvision():
    extractor = VGGFeatures(['relu2_1'], 'vgg13_bn', 'random:0')
    reference = {f'features.{key}' for key in torchvision_layers('vgg13_bn').state_dict()}
    assert set(extractor.state_dict()) == {key for key in reference if int(key.split('.')[1]) < 9}


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_float32_under_autocast(dtype):
    require_on_cpu(dtype)
    extractor = VGGFeatures(['relu2_2'], weights='random:0')
    x = torch.rand(1, 3, 16, 16)
    with torch.autocast('cpu', dtype=dtype):
        under, low = extractor(x)[0], extractor(x.to(dtype))[0]
    assert under.dtype == low.dtype == torch.float32
    assert torch.equal(under, extractor(x)[0])
    assert torch.equal(low, extractor(x.to(dtype).float())[0])


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'layers': []}, 'no layer is given; choose from conv1_1'),
    ({'layers': ['relu1_3']}, "vgg16 has no layer 'relu1_3'; choose from conv1_1"),
    ({'layers': ['bn1_1']}, "vgg16 has no layer 'bn1_1'"),
    ({'layers': ['relu1_1'], 'vgg_type': 'vgg15'}, "vgg_type is 'vgg15'; it must be one of vgg11"),
])
def test_unknown_names_are_refused_before_any_file_is_looked_for(arguments, message):
    with pytest.raises(ValueError, match=message):
        VGGFeatures(**arguments)
