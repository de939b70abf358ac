"""Tiles against the whole image, with networks whose reach is known."""
import pytest
import torch
from torch import nn

from mcir_plugin.tiling import TileError, blend_weights, run_tiled, tile_starts


def network(reach, scale=1, channels=3):
    """Convolutions that look exactly ``reach`` pixels to each side, and an enlargement."""
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(channels if i == 0 else 6, 6, 3, padding=1), nn.Tanh()) for i in range(reach)]
    last = [nn.Conv2d(6 if reach else channels, channels * scale**2, 1), nn.PixelShuffle(scale)]
    return nn.Sequential(*layers, *last).double().requires_grad_(False)


def largest_difference(net, shape, size, overlap):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (run_tiled(net, x, size, overlap) - net(x)).abs().max().item()


@pytest.mark.parametrize('scale', [1, 2, 3])
@pytest.mark.parametrize('shape', [(1, 3, 40, 57), (2, 3, 24, 49), (1, 3, 25, 16), (1, 3, 100, 24), (1, 3, 17, 90)])
@pytest.mark.parametrize(('size', 'overlap', 'reach'), [(24, 12, 3), (24, 8, 2), (24, 6, 1), (24, 0, 0), (1, 0, 0)])
def test_tiles_equal_the_whole_image_where_the_overlap_covers_the_reach(scale, shape, size, overlap, reach):
    assert largest_difference(network(reach, scale), shape, size, overlap) < 1e-12


def test_tiles_differ_where_the_network_looks_further():
    assert largest_difference(network(4), (1, 3, 40, 57), 24, 12) > 1e-4


def test_no_tile_is_larger_than_asked_for_and_memory_does_not_grow():
    seen = []

    def net(x):
        seen.append(tuple(x.shape))
        return x

    x = torch.rand(1, 3, 30, 200)
    torch.testing.assert_close(run_tiled(net, x, 32, 8), x)
    assert set(seen) == {(1, 3, 30, 32)} and len(seen) == 8


def test_an_image_of_one_tile_goes_through_as_it_is():
    x = torch.rand(1, 3, 32, 20)
    assert run_tiled(lambda tile: (tile is x, ), x, 32, 8) == (True, )


def test_clips():
    """A network of 5-D input that returns one frame of it, enlarged."""
    net = network(2, 2)
    x = torch.rand(1, 5, 3, 30, 50, dtype=torch.float64)
    tiled = run_tiled(lambda clip: net(clip[:, 2]), x, 20, 8)
    torch.testing.assert_close(tiled, net(x[:, 2]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(('length', 'size', 'overlap'), [(100, 32, 8), (33, 32, 16), (65, 32, 16), (1000, 128, 20),
                                                         (20, 32, 8), (47, 16, 5)])
@pytest.mark.parametrize('scale', [1, 4])
def test_weights_of_one_side(length, size, overlap, scale):
    starts = tile_starts(length, size, overlap)
    weights = blend_weights(starts, size, length, scale, torch.zeros(1, dtype=torch.float64))
    total, size = torch.zeros(length * scale, dtype=torch.float64), min(size, length)
    for start, weight in zip(starts, weights, strict=True):
        total[start * scale:(start + size) * scale] += weight
        unused = scale * (overlap // 4)
        assert weight.min() >= 0
        assert start == 0 or weight[:unused].eq(0).all()
        assert start + size == length or weight[-unused:].eq(0).all()
    torch.testing.assert_close(total, torch.ones_like(total))
    assert all(after - before <= size - overlap for before, after in zip(starts, starts[1:], strict=False))


@pytest.mark.parametrize(('net', 'said'), [
    (lambda x: (x, x), 'tuple'), (lambda x: x[..., ::2, ::2], r'\(8, 8\).*\(16, 16\)'),
    (lambda x: x.repeat_interleave(2, -1), r'\(16, 32\)'),
    (lambda x: x.repeat(1, int(10 * x.mean()) + 1, 1, 1), 'for one tile'),
])
def test_networks_that_cannot_be_tiled(net, said):
    x = torch.linspace(0, 1, 40).expand(1, 1, 16, 40)
    with pytest.raises(TileError, match=said):
        run_tiled(net, x, 16, 4)
