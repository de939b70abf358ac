"""A discriminator as feature extractor, frozen or in training, against its layers written out by hand."""
import inspect

import pytest
import torch
import torch.nn.functional as F
from loss_probes import images
from peers_naive import cosine
from torch import nn

import mcir_plugin  # noqa: F401  (first: it mends the import of basicsr)
from mcir_plugin.errors import McirError
from mcir_plugin.losses import LOSSES, CRLoss, NetworkFeatures, PCLLoss, SPNLoss
from mcir_plugin.losses.augment import blurred, haar_details, sharpened

WEIGHTS = {'conv1': 0.25, 'conv3': 0.75}


def discriminator(kind='UNetDiscriminatorSN', channels=3, seed=0, **options):
    """A discriminator in float64 whose running statistics and singular vectors are not those of its start."""
    from basicsr.archs import discriminator_arch
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = getattr(discriminator_arch, kind)(channels, 4, **options).double()
        for name, value in network.state_dict().items():
            if 'running' in name:
                value.uniform_(0.5, 1.5)
        return network


def unet_by_hand(network, x):
    """Outputs of conv1 and conv3 before their activations; a spectral norm divides by u' W v."""
    weights = dict(network.state_dict())

    def conv(name, x, **how):
        weight = weights[f'{name}.weight_orig']
        sigma = weights[f'{name}.weight_u'] @ weight.flatten(1) @ weights[f'{name}.weight_v']
        return F.conv2d(x, weight / sigma, **how)

    x = F.leaky_relu(F.conv2d(x, weights['conv0.weight'], weights['conv0.bias'], padding=1), 0.2)
    first = conv('conv1', x, stride=2, padding=1)
    second = conv('conv2', F.leaky_relu(first, 0.2), stride=2, padding=1)
    return [first, conv('conv3', F.leaky_relu(second, 0.2), stride=2, padding=1)]


def vgg_style_by_hand(network, x):
    """Outputs of bn0_1 and conv1_0, with batch normalisation by its running statistics."""
    weights = dict(network.state_dict())
    x = F.leaky_relu(F.conv2d(x, weights['conv0_0.weight'], weights['conv0_0.bias'], padding=1), 0.2)
    x = F.conv2d(x, weights['conv0_1.weight'], stride=2, padding=1)
    mean, var, scale, shift = (weights[f'bn0_1.{part}'].view(1, -1, 1, 1) for part in
                               ('running_mean', 'running_var', 'weight', 'bias'))
    first = (x - mean) / (var + 1e-5).sqrt() * scale + shift
    return [first, F.conv2d(F.leaky_relu(first, 0.2), weights['conv1_0.weight'], padding=1)]


BY_HAND = {'UNetDiscriminatorSN': (unet_by_hand, ('conv1', 'conv3'), 32),
           'VGGStyleDiscriminator': (vgg_style_by_hand, ('bn0_1', 'conv1_0'), 128)}


@pytest.fixture(params=BY_HAND)
def case(request):
    by_hand, layers, side = BY_HAND[request.param]
    network = discriminator(request.param)
    pred, gt, lq, *negatives = (images(2, 3, side, side, seed=k).double() for k in range(5))
    return network, layers, lambda x: by_hand(network, x), (pred, gt, lq, negatives)


def agrees(loss, pred, value, **given):
    """Compare term and gradient of a loss with those of a function of the output."""
    ours, theirs = (pred.clone().requires_grad_() for _ in range(2))
    (term := loss(ours, **given)).backward()
    (expected := value(theirs)).backward()
    torch.testing.assert_close(term, expected, rtol=1e-6, atol=0)
    assert (ours.grad - theirs.grad).norm() <= 1e-6 * theirs.grad.norm()


def l1(a, b):
    return [(x - y).abs().mean() for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize('frozen', [True, False])
def test_spn_and_cr_equal_their_formulas(case, frozen):
    network, layers, features, (pred, gt, lq, negatives) = case
    weights = dict(zip(layers, (0.25, 0.75), strict=True))
    given = network if frozen else NetworkFeatures(network, layers, frozen=False)

    def spn(p):
        each = [0.25 * d[0] + 0.75 * d[1] for d in (l1(features(p), features(n)) for n in negatives)]
        return -1e-3 * sum(each) / len(each)

    def cr(p):
        near, far = l1(features(p), features(gt)), l1(features(p), features(lq))
        return 0.1 * sum(w * a / (b + 1e-7) for w, a, b in zip(weights.values(), near, far, strict=True))

    agrees(SPNLoss(layer_weights=weights, extractor=given), pred, spn, negatives=negatives)
    agrees(CRLoss(layer_weights=weights, extractor=given), pred, cr, gt=gt, lq=lq)


def pcl(features, weights, pred, positives, negatives):
    """InfoNCE over cosines without temperature, by cross-entropy."""
    near, far = ([[(1 - cosine(a, b)).mean() for a, b in zip(features(pred), features(image), strict=True)]
                  for image in group] for group in (positives, negatives))
    value = 0
    for layer, weight in enumerate(weights):
        for distances in near:
            logits = torch.stack([-distances[layer], *(-other[layer] for other in far)])[None]
            value = value + weight * F.cross_entropy(logits, torch.zeros(1, dtype=torch.long)) / len(near)
    return 0.02 * value


def test_pcl_equals_its_formula(case):
    network, layers, features, (pred, gt, lq, _) = case
    loss = PCLLoss(layer_weights=dict(zip(layers, (0.25, 0.75), strict=True)), extractor=network)
    positives = [sharpened(gt, factor).clamp(0, 1) for factor in (1, 1.5, 2, 2.5)]
    negatives = [blurred(gt, 1, 11), blurred(gt, 2, 11), lq]

    agrees(loss, pred, lambda p: pcl(features, (0.25, 0.75), p, positives, negatives), gt=gt, lq=lq)


@pytest.mark.parametrize(('channels', 'range_norm'), [(9, False), (9, True), (3, False)])
def test_wavelet_bands_are_stacked_for_an_extractor_that_takes_them(channels, range_norm):
    network = discriminator(channels=channels)
    loss = PCLLoss(layer_weights=WEIGHTS, extractor=network, domain='frequency', form='ratio', criterion='l1',
                   range_norm=range_norm, sharpness=1., blur_sigma=1.)
    pred, gt, lq = (images(2, 3, 32, 32, seed=k).double() * (1 + range_norm) - int(range_norm) for k in range(3))

    def features(image):
        bands = haar_details(image)
        bands = bands / 2 if range_norm else (bands + 1) / 2
        return unet_by_hand(network, torch.cat(bands.chunk(3), 1) if channels == 9 else bands)

    def ratio(p):
        near, first, second = (l1(features(p), features(image)) for image in (gt, blurred(gt, 1, 11), lq))
        return 0.02 * sum(w * a / ((b + c) / 2 + 3e-7) for w, a, b, c in
                          zip(WEIGHTS.values(), near, first, second, strict=True))

    agrees(loss, pred, ratio, gt=gt, lq=lq)


@pytest.mark.parametrize('name', LOSSES)
def test_every_loss_takes_an_extractor(name):
    pred, gt, lq, negative = (images(1, 3, 16, 16, seed=k) for k in range(4))
    loss = LOSSES[name](layer_weights=WEIGHTS, extractor=discriminator().float())
    loss(pred.requires_grad_(), [negative], gt=gt, lq=lq).backward()
    assert pred.grad.abs().max() > 0
    assert list(inspect.signature(LOSSES[name]).parameters)[-1] == 'extractor'


@pytest.mark.parametrize('kind', BY_HAND)
def test_a_network_in_training_is_left_as_it_is(kind):
    """No gradient, no change of running statistics or singular vectors, no hook left behind, every mode kept."""
    _, layers, side = BY_HAND[kind]
    network = discriminator(kind).float().train()
    network.conv0 = getattr(network, 'conv0', nn.Identity()).eval()  # one part in another mode
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    loss = SPNLoss(layer_weights=dict.fromkeys(layers, 1.), extractor=NetworkFeatures(network, layers, frozen=False))
    loss.eval().train()
    loss.extractor.compute_in(torch.float16)
    pred = images(2, 3, side, side).requires_grad_()
    loss(pred, images(2, 3, side, side, seed=1)).backward()
    assert pred.grad.abs().max() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert not any(module._forward_hooks for module in network.modules())


def test_features_follow_a_network_in_training_and_not_a_frozen_one():
    network = discriminator()
    live = NetworkFeatures(network, ['conv1'], frozen=False)
    x = images(1, 3, 16, 16).double()
    first = live(x)[0]
    with torch.no_grad():
        network.conv0.weight.mul_(2)
    assert not torch.allclose(live(x)[0], first)
    frozen = NetworkFeatures(network.train(), ['conv1'])
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert not frozen.train().network.training


def test_a_pass_ends_with_the_deepest_layer_and_shows_layers_before_what_works_in_place():
    calls = []
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1), nn.Linear(7, 7))
    for module in network:
        module.register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
    x = images(2, 3, 5, 6)
    deep, first = NetworkFeatures(network, ['2', '0'])(x)
    assert calls == ['Conv2d', 'ReLU', 'Conv2d']
    torch.testing.assert_close(first, network[0](x))
    assert first.min() < 0
    torch.testing.assert_close(deep, network[2](first.relu()))


def test_shapes_clips_and_gray_images():
    features = NetworkFeatures(discriminator().float(), ['conv1'])
    clip = images(2, 5, 3, 16, 16)
    torch.testing.assert_close(features(clip)[0], features(clip.flatten(0, 1))[0])
    gray = images(2, 1, 16, 16)
    torch.testing.assert_close(features(gray)[0], features(gray.expand(-1, 3, -1, -1))[0])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert features(clip)[0].dtype == torch.float32
    assert features.compute_in(torch.bfloat16)(clip)[0].dtype == torch.bfloat16
    single = NetworkFeatures(discriminator(channels=1).float(), ['conv1'])
    assert single(gray)[0].shape == (2, 8, 8, 8)


@pytest.mark.parametrize(('layers', 'says'), [
    (['conv11'], r"layer_weights: UNetDiscriminatorSN has no layer 'conv11' \(did you mean conv1\?\); its layers are"),
    ([], 'was given no layer')])
def test_unknown_layers_are_named(layers, says):
    with pytest.raises(McirError, match=says):
        NetworkFeatures(discriminator(), layers)


def test_images_that_do_not_fit_are_refused_with_a_remedy():
    loss = SPNLoss(layer_weights={'bn0_1': 1.}, extractor=discriminator('VGGStyleDiscriminator').float())
    with pytest.raises(McirError, match=r'VGGStyleDiscriminator as feature extractor refuses images of shape'):
        loss(images(1, 3, 64, 64), images(1, 3, 64, 64))
    gated = SPNLoss(layer_weights={'1': 1.}, gate='ground_truth',
                    extractor=nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten()))
    with pytest.raises(McirError, match='has no pixels'):
        gated(images(1, 3, 8, 8), images(1, 3, 8, 8), gt=images(1, 3, 8, 8))
    skipped = nn.Sequential(nn.Conv2d(3, 4, 1))
    skipped.spare = nn.Identity()
    skipped.forward = lambda x: skipped[0](x)
    with pytest.raises(McirError, match="did not call its layer 'spare'"):
        NetworkFeatures(skipped, ['spare'])(images(1, 3, 8, 8))
    pair = nn.Sequential(nn.AdaptiveMaxPool2d(1, return_indices=True))
    with pytest.raises(McirError, match='returns a tuple'):
        NetworkFeatures(pair, ['0'])(images(1, 3, 8, 8))
