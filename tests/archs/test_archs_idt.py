"""IDT against the records of the published network, and its tiles against plain loops."""
import math

import numpy as np
import pytest
import torch
from arch_behaviour import (
    assert_autocasts,
    assert_compiles,
    assert_copies_are_independent,
    assert_no_random_numbers,
    gradients,
    random_images,
    seeded,
)
from arch_checks import assert_layouts_and_batches
from arch_facts import FOLDER, assert_same_layout, assert_same_outputs, fill, image, load, names, on_meta

from mcir_plugin.archs import IDT, ArchError
from mcir_plugin.archs.drop_path import DropPath
from mcir_plugin.archs.idt_attention import offset_index
from mcir_plugin.archs.idt_blocks import SpatialBlock, WindowBlock
from mcir_plugin.archs.idt_tiles import run_in_tiles, tile_weights

SMALL = {'img_size': 32, 'embed_dim': 4, 'win_size': 4, 'num_heads': [1, 2, 2, 2, 2, 2, 2, 2, 2]}


@pytest.fixture(scope='module')
def small():
    """A small network whose parts all matter, in evaluation mode."""
    return fill(IDT(**SMALL), 0.8).double().eval()


@pytest.fixture(scope='module')
def published():
    """The network of the published weights, filled."""
    return fill(IDT(), load('idt_base128').gain).eval()


@pytest.mark.parametrize('name', names('idt'))
def test_published_keys_shapes_and_counts(name):
    facts = load(name)
    assert_same_layout(on_meta(IDT, **facts.kwargs), facts)


@pytest.mark.parametrize('name', names('idt'))
def test_published_outputs(name):
    facts = load(name)
    assert_same_outputs(IDT(**facts.kwargs), facts)


def test_published_output_of_an_image_in_tiles(published):
    with np.load(FOLDER / 'tiled_idt_base128.npz') as saved:
        expected = saved['out_1x3x150x200_every_4th']
    with torch.no_grad():
        output = published(image((1, 3, 150, 200)))
    assert output.shape == (1, 3, 150, 200)
    assert np.abs(output[..., ::4, ::4].numpy() - expected).max() < 1e-4


def test_depths_set_no_number_of_blocks():
    assert_same_layout(on_meta(IDT, depths=[2, 2, 2, 2, 2, 1, 1, 2, 2]), load('idt_base128'))


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'img_size': 192}, 'img_size: received 192, must be 64 or a multiple of 128 with windows of 8'),
    ({'img_size': 100}, 'img_size: received 100, must be 64 or'),
    ({'img_size': 8, 'win_size': 2}, 'img_size: received 8, must be 16 or a multiple of 32'),
    ({'img_size': 56, 'win_size': 7}, 'img_size: received 56, must be a multiple of 112'),
    ({'img_size': '128'}, "img_size: received '128', must be an integer"),
    ({'depths': [3, 3, 2, 2]}, r'depths: received \[3, 3, 2, 2\], must be a list of 9 values'),
    ({'depths': [1, 1, 1, 1, 1, 1, 2, 2, 3]}, r'depths: .* the last four \(8\) .* the first four \(4\)'),
    ({'num_heads': [1, 2, 4, 8, 16, 16, 8, 4, 3]}, r'num_heads\[8\]: received 3, must divide 64 .* and 64'),
    ({'num_heads': [1, 2, 4, 8, 3, 16, 8, 4, 2]}, r'num_heads\[4\]: received 3, must divide 512 \(embed_dim \* 16\)$'),
    ({'mlp_ratio': 0}, 'mlp_ratio: received 0, must be a number > 0'),
    ({'qkv_bias': 1}, 'qkv_bias: received 1, must be true or false'),
    ({'drop_path_rate': 1}, 'drop_path_rate: received 1, must be a number >= 0 and < 1'),
])
def test_arguments_that_are_refused(arguments, message):
    with pytest.raises(ArchError, match=message):
        IDT(**arguments)


@pytest.mark.parametrize(('img_size', 'win_size'), [(64, 8), (256, 8), (384, 8), (16, 2), (112, 7)])
def test_image_sizes_that_are_allowed(img_size, win_size):
    on_meta(IDT, img_size=img_size, win_size=win_size, num_heads=[1] * 9)


def test_without_bias_of_queries_keys_and_values(published):
    keys = {key for key in published.state_dict() if not key.endswith(('to_q.bias', 'to_kv.bias'))}
    assert set(on_meta(IDT, qkv_bias=False).state_dict()) == keys


def test_training_on_another_size_is_refused_and_names_gt_size(small):
    network = seeded(IDT, **SMALL)
    with pytest.raises(ArchError, match='32 x 32 pixels .img_size., received 32 x 48: set gt_size: 32 in the training'):
        network(torch.zeros(1, 3, 32, 48))
    with pytest.raises(ArchError, match=r'IDT takes .* received \(3, 32, 32\)'):
        small(torch.zeros(3, 32, 32))


# tiles

def _starts(side, tile, stride):
    starts, start = [], 0
    while start + tile < side:
        starts.append(start)
        start += stride
    return [*starts, side - tile]


def _in_tiles(network, x, tile, stride):
    """Tile by tile, image by image, with weights computed one by one."""
    weight = np.array([[1 / math.sqrt((i - tile // 2)**2 + (j - tile // 2)**2 + 1e-3) for j in range(tile)]
                       for i in range(tile)])
    total, norm = np.zeros(x.shape), np.zeros(x.shape)
    for n in range(len(x)):
        for top in _starts(x.shape[2], tile, stride):
            for left in _starts(x.shape[3], tile, stride):
                output = network(x[n:n + 1, :, top:top + tile, left:left + tile])[0].numpy()
                total[n, :, top:top + tile, left:left + tile] += weight * output
                norm[n, :, top:top + tile, left:left + tile] += weight
    return torch.from_numpy(total / norm)


@pytest.mark.parametrize(('tile', 'stride'), [(128, 108), (80, 60), (64, 48), (32, 24), (16, 12)])
@pytest.mark.parametrize('shape', [(2, 3, 128, 128), (1, 1, 236, 237), (2, 3, 150, 200), (1, 3, 129, 400)])
def test_tiles_are_merged_as_published(tile, stride, shape):
    place = random_images(tile, tile, seed=1)

    def network(x):
        # depends on the place within the tile and on its other pixels
        return x * place + x.mean((2, 3), keepdim=True) + place

    x = random_images(*shape)
    torch.testing.assert_close(run_in_tiles(network, x, tile), _in_tiles(network, x, tile, stride), rtol=0, atol=1e-12)


def test_weights_are_largest_in_the_centre_and_never_zero():
    weights = tile_weights(128)
    assert weights.argmax() == 64 * 128 + 64
    assert weights.min() == weights[0, 0] == (2 * 64**2 + 1e-3)**-0.5


@pytest.mark.parametrize('shape', [(2, 3, 33, 50), (1, 3, 70, 32), (1, 3, 32, 90)])
def test_larger_images_go_through_in_tiles(small, shape):
    x = random_images(*shape)
    with torch.no_grad():
        torch.testing.assert_close(small(x), _in_tiles(small, x, 32, 24), rtol=0, atol=1e-11)


@pytest.mark.parametrize('shape', [(1, 3, 20, 31), (2, 3, 9, 60), (1, 3, 1, 32)])
def test_short_sides_are_padded_by_reflection(small, shape):
    x = random_images(*shape)
    margins = [(0, max(32 - side, 0)) for side in shape[2:]]
    padded = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), *margins), 'reflect'))
    with torch.no_grad():
        expected = _in_tiles(small, padded, 32, 24)[..., :shape[2], :shape[3]]
        torch.testing.assert_close(small(x), expected, rtol=0, atol=1e-11)


def test_few_tiles_at_a_time():
    sizes = []

    def network(x):
        sizes.append(len(x))
        return x

    run_in_tiles(network, torch.zeros(3, 3, 300, 300), 32)
    assert sum(sizes) == 3 * 13 * 13 and max(sizes) <= 4


def test_tiles_can_be_differentiated(small):
    x = random_images(1, 3, 40, 32).requires_grad_()
    small(x).sum().backward()
    assert (x.grad != 0).all()


# the parts

@pytest.mark.parametrize(('side', 'bound'), [(8, 8), (4, 8), (5, 2), (6, 4), (1, 2)])
def test_offsets_are_clamped(side, bound):
    index = offset_index(side, bound)
    for query in range(side**2):
        for key in range(side**2):
            row, column = (max(1 - bound, min(bound - 1, a - b))
                           for a, b in zip(divmod(query, side), divmod(key, side), strict=True))
            assert index[query, key] == (row + bound - 1) * (2 * bound - 1) + column + bound - 1


# of window blocks and spatial block, in percent, for the published highest rate of 0.1
DROP_RATES = {
    'encoderlayer_0': (0, 2.22), 'encoderlayer_1': (3.33, 5.56), 'encoderlayer_2': (6.67, 7.78),
    'encoderlayer_3': (8.89, 10), 'bottle': (10, None), 'decoderlayer_0': (10, 10), 'decoderlayer_1': (8.89, 7.78),
    'decoderlayer_2': (6.67, 5.56), 'decoderlayer_3': (4.44, 2.22),
}


@pytest.mark.parametrize('rate', [0.1, 0.3])
def test_drop_path_rates(rate):
    network = on_meta(IDT, drop_path_rate=rate)
    for stage, (window, spatial) in DROP_RATES.items():
        *rates, last = (block.drop_path.rate * 10 / rate for block in getattr(network, stage).blocks)
        if spatial is None:
            rates, spatial = [last], window
        assert rates == pytest.approx([window] * len(rates), abs=6e-3)
        assert last == pytest.approx(spatial, abs=6e-3)


def test_drop_path_drops_samples_and_keeps_the_mean():
    layer, x = DropPath(0.3), torch.ones(20_000, 2, 3, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        output = layer(x)
    assert torch.equal(output, output[:, :1, :1].expand_as(x))
    kept = output[:, 0, 0] != 0
    torch.testing.assert_close(output[kept], x[kept] / 0.7)
    assert kept.double().mean() == pytest.approx(0.7, abs=5 * (0.3 * 0.7 / 20_000)**0.5)
    assert layer.eval()(x) is x


@pytest.mark.parametrize('build', [
    lambda rate: WindowBlock(dim=8, num_heads=2, side=8, win_size=4, mlp_ratio=2, qkv_bias=True, drop_path=rate),
    lambda rate: SpatialBlock(dim=8, num_heads=2, side=8, bound=2, win_size=4, mlp_ratio=2, qkv_bias=True,
                              drop_path=rate),
])
def test_drop_path_acts_on_both_halves_of_a_block(build):
    block, x = seeded(build, rate=0.9999), random_images(3, 8, 8, 8)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        assert torch.equal(block.train()(x), x)
        assert not torch.isclose(block.eval()(x), x).all(-1).any()


def test_drop_path_acts_in_training_only():
    never, often = (fill(IDT(**SMALL, drop_path_rate=rate), 0.8).double() for rate in (0, 0.5))
    x = random_images(2, 3, 32, 32)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        expected = never.eval()(x)
        assert torch.equal(never.train()(x), expected)
        assert torch.equal(often.eval()(x), expected)
        assert not torch.isclose(often.train()(x), expected).any()
    assert_no_random_numbers(never.train(), x)
    assert_no_random_numbers(often.eval(), x)


def test_initialisation():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = IDT(embed_dim=16, num_heads=[1, 2, 4, 8, 8, 8, 8, 4, 2])
    for name, module in network.named_modules():
        values = {key: value.detach().double() for key, value in module.named_parameters(recurse=False)}
        if isinstance(module, torch.nn.Linear):
            _assert_normal(values['weight'], 0.02, name)
            assert (values['bias'] == 0).all(), name
        elif isinstance(module, torch.nn.LayerNorm):
            assert (values['weight'] == 1).all() and (values['bias'] == 0).all(), name
        elif isinstance(module, torch.nn.Conv2d):
            bound = module.weight[0].numel()**-0.5
            assert values['weight'].abs().max() <= bound
            assert values['weight'].std() == pytest.approx(bound / 3**0.5, rel=4 / values['weight'].numel()**0.5), name
        elif 'relative_position_bias_table' in values:
            _assert_normal(values['relative_position_bias_table'], 0.02, name)


def _assert_normal(values, std, name):
    assert values.std() == pytest.approx(std, rel=5 / (2 * values.numel())**0.5), name
    assert values.mean().abs() < 5 * std / values.numel()**0.5, name


@pytest.mark.parametrize('rate', [0, 0.9])
def test_every_parameter_takes_part(rate):
    network = fill(IDT(**{**SMALL, 'img_size': 64}, drop_path_rate=rate), 0.8).double()
    found = gradients(network, random_images(1, 3, 64, 64))
    if not rate:
        assert all(gradient.abs().max() > 1e-9 for gradient in found.values())


def test_copies_and_autocast():
    network, x = seeded(IDT, **SMALL, drop_path_rate=0), random_images(2, 3, 32, 32)
    assert_copies_are_independent(network, x)
    assert_autocasts(network, x)


@pytest.mark.parametrize('size', [(32, 32), (40, 50)])
def test_layouts_and_batches(size):
    assert_layouts_and_batches(fill(IDT(**SMALL), 0.8).double().eval(), random_images(3, 3, *size))


def test_compiles():
    """One stage, with both kinds of blocks; the others are built alike, and all of them take half a minute."""
    assert_compiles(seeded(IDT, **SMALL, drop_path_rate=0).encoderlayer_2, random_images(1, 16, 8, 8))
