"""NAFNet and NAFNetLocal against the recorded outputs and keys of the published networks."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from arch_behaviour import (
    assert_autocasts,
    assert_compiles,
    assert_copies_are_independent,
    assert_no_random_numbers,
    random_images,
    seeded,
)
from arch_checks import (
    assert_default_initialisation,
    assert_every_parameter_learns,
    assert_layouts_and_batches,
    assert_recorded_spread,
)
from arch_facts import assert_same_layout, assert_same_outputs, fill, load, names, on_meta
from torch import nn

from mcir_plugin.archs import ArchError, NAFNet, NAFNetLocal
from mcir_plugin.archs.nafnet_blocks import LayerNorm2d

TINY = load('nafnet_tiny_w8').kwargs
LOCAL = {**TINY, 'train_size': 16}


@pytest.fixture
def filled() -> NAFNet:
    """All parameters random, beta and gamma included."""
    return fill(NAFNet(**TINY), 0.8).double()


@pytest.fixture
def local() -> NAFNetLocal:
    """The same parameters, windows of 24, 12 and 6."""
    return fill(NAFNetLocal(**LOCAL), 0.8).double()


def variant(name: str) -> type[NAFNet]:
    return NAFNetLocal if 'local' in name else NAFNet


@pytest.mark.parametrize('name', names('nafnet'))
def test_keys_shapes_and_parameters(name):
    facts = load(name)
    assert_same_layout(on_meta(variant(name), **facts.kwargs), facts)


@pytest.mark.parametrize('name', [name for name in names('nafnet') if load(name).outputs])
def test_outputs(name):
    facts = load(name)
    assert_same_outputs(variant(name)(**facts.kwargs), facts, tolerances={torch.float32: 1e-4, torch.float64: 1e-11})


def test_defaults_are_the_published_gopro_network():
    assert_same_layout(on_meta(NAFNet), load('nafnet_gopro_w32'))
    assert_same_layout(on_meta(NAFNetLocal), load('nafnet_gopro_w32'))
    windows = [(pool.height, pool.width) for pool in (stage[0].sca[0] for stage in on_meta(NAFNetLocal).encoders)]
    assert windows == [(384, 384), (192, 192), (96, 96), (48, 48)]


def test_untrained_tensors_are_those_of_pytorch_and_blocks_the_identity():
    network = seeded(NAFNet, **TINY)
    assert_default_initialisation(network)
    assert_recorded_spread(network, load('nafnet_tiny_w8'))
    x = random_images(1, 3, 8, 12)
    bare = nn.Sequential(network.intro, network.downs[0], network.downs[1], network.ups[0])
    half = network.downs[0](network.intro(x))
    full = network.ups[1](bare(x) + half) + network.intro(x)
    torch.testing.assert_close(network(x), network.ending(full) + x)


@pytest.mark.parametrize('build', [lambda: seeded(NAFNet, **TINY), lambda: seeded(NAFNetLocal, **LOCAL)])
def test_every_parameter_learns_after_the_first_step(build):
    assert_every_parameter_learns(build(), random_images(2, 3, 28, 36), steps=2)


def test_at_first_only_what_surrounds_the_blocks_learns():
    """beta and gamma are 0: what lies behind them has a gradient of zero, not none."""
    network = seeded(NAFNet, **TINY)
    network(random_images(1, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    learning = {name for name, parameter in network.named_parameters() if parameter.grad.any()}
    outer = {name for name, _ in network.named_parameters()
             if name.endswith(('beta', 'gamma')) or name.startswith(('intro', 'ending', 'ups', 'downs'))}
    assert learning == outer


@pytest.mark.parametrize('name', ['filled', 'local'])
def test_layouts_and_copies(name, request):
    network, x = request.getfixturevalue(name), random_images(2, 3, 29, 38)
    assert_layouts_and_batches(network, x)
    assert_copies_are_independent(network, x)
    assert_no_random_numbers(network, x)


@pytest.mark.parametrize('name', ['filled', 'local'])
def test_precision_and_compilation(name, request):
    network, x = request.getfixturevalue(name), random_images(1, 3, 29, 38)
    assert_compiles(network, x)
    assert_autocasts(network, x)


@pytest.mark.parametrize('height, width', [(1, 1), (1, 5), (3, 2), (17, 31)])
def test_sizes_are_padded_with_zeros(filled, height, width):
    x = random_images(1, 3, height, width)
    padded = torch.zeros(1, 3, -(-height // 4) * 4, -(-width // 4) * 4, dtype=x.dtype)
    padded[..., :height, :width] = x
    torch.testing.assert_close(filled(x), filled(padded)[..., :height, :width])


@pytest.mark.parametrize('channels', [1, 4])
def test_other_channels(channels):
    network = NAFNet(channels, **TINY)
    assert network(torch.rand(1, channels, 8, 8)).shape == (1, channels, 8, 8)


def test_nothing_is_clamped(filled):
    output = filled(random_images(1, 3, 32, 32))
    assert output.min() < 0 and output.max() > 1


@pytest.mark.parametrize('height, width', [(16, 16), (24, 24), (9, 24)])
def test_local_is_plain_up_to_the_window(filled, local, height, width):
    """The window at full resolution is 24; in training on crops of 16 to 24 nothing differs, gradients included."""
    x = random_images(2, 3, height, width)
    outputs = filled(x), local(x)
    torch.testing.assert_close(*outputs)
    gradients = [torch.autograd.grad(output.square().sum(), list(network.parameters()))
                 for network, output in zip((filled, local), outputs, strict=True)]
    torch.testing.assert_close(*gradients)


def test_local_differs_above_the_window_and_keeps_no_state(filled, local):
    small, large = random_images(1, 3, 28, 20), random_images(1, 3, 40, 32)
    first = local(small), local(large)
    again = local(large), local(small)
    assert torch.equal(first[0], again[1]) and torch.equal(first[1], again[0])
    assert (first[1] - filled(large)).abs().max() > 1e-3
    assert local.state_dict().keys() == filled.state_dict().keys()


def test_far_away_pixels_have_no_influence_on_local_features(local):
    """With a global mean every pixel depends on every other one."""
    x = random_images(1, 3, 160, 160)
    other = x.clone()
    other[..., 150:, 150:] = 0
    assert torch.equal(local(x)[..., :20, :20], local(other)[..., :20, :20])


@pytest.mark.parametrize('train_size', [[1, 3, 16, 16], (1, 3, 16, 16)])
def test_train_size_as_published_or_as_one_number(local, train_size):
    published = fill(NAFNetLocal(**{**LOCAL, 'train_size': train_size}), 0.8).double()
    x = random_images(1, 3, 40, 32)
    assert torch.equal(published(x), local(x))


def test_train_size_of_two_sides():
    network = NAFNetLocal(**{**TINY, 'train_size': [1, 3, 64, 32]})
    stages = [*network.encoders, network.middle_blks, *network.decoders]
    windows = [(96, 48), (48, 24), (24, 12), (48, 24), (96, 48)]
    assert [(stage[0].sca[0].height, stage[0].sca[0].width) for stage in stages] == windows


@pytest.mark.parametrize('channels, shape', [(3, (5, 4)), (16, (1, 2))])
def test_layer_norm_is_that_of_pytorch_over_the_channels(channels, shape):
    norm = seeded(LayerNorm2d, channels=channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    x = (1e-3 * random_images(2, channels, *shape)).requires_grad_()  # so small that eps counts
    expected = F.layer_norm(x.permute(0, 2, 3, 1), (channels, ), norm.weight, norm.bias, 1e-6).permute(0, 3, 1, 2)
    outputs = norm(x), expected
    torch.testing.assert_close(*outputs)
    inputs = [x, norm.weight, norm.bias]
    torch.testing.assert_close(*(torch.autograd.grad(output.pow(3).sum(), inputs) for output in outputs))


@pytest.mark.parametrize('arguments, message', [
    ({'width': 0}, 'width must be an integer >= 1, received 0'),
    ({'img_channel': '3'}, "img_channel must be an integer >= 1, received '3'"),
    ({'middle_blk_num': -1}, 'middle_blk_num must be an integer >= 0, received -1'),
    ({'enc_blk_nums': 2}, 'enc_blk_nums must be a list of integers, received 2'),
    ({'dec_blk_nums': [1, 1, None, 1]}, r'dec_blk_nums\[2\] must be an integer >= 0, received None'),
    ({'dec_blk_nums': [1]}, 'enc_blk_nums has 4 entries and dec_blk_nums 1'),
    ({'train_size': 0}, 'train_size must be the side of the training crops .* received 0'),
    ({'train_size': [256, 256]}, r'received \[256, 256\]'),
    ({'train_size': None}, 'received None'),
    ({'train_size': 256.0}, 'received 256.0'),
])
def test_wrong_arguments(arguments, message):
    with pytest.raises(ArchError, match=message):
        on_meta(NAFNetLocal, **arguments)


@pytest.mark.parametrize('network, shape', [(NAFNet, (1, 1, 8, 8)), (NAFNetLocal, (3, 8, 8))])
def test_wrong_images(network, shape):
    with pytest.raises(ArchError, match=rf'{network.__name__} takes images of shape \(N, 3, H, W\), received'):
        network(**TINY)(torch.rand(shape))
