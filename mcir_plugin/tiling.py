"""A network on an image that is too large for the memory: overlapping tiles, blended."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mcir_plugin.errors import McirError


class TileError(McirError, RuntimeError):
    """A network that cannot be run in tiles."""


def run_tiled(network: Callable[[Tensor], Tensor], x: Tensor, size: int, overlap: int) -> Tensor:
    """Run a network on overlapping tiles and blend their outputs.

    Neighbouring tiles share ``overlap`` pixels or more. Of these, the outer quarter at each cut is not used, and the
    half between is blended linearly. So the result equals that of the whole image, up to rounding, for a network whose
    output pixels depend on no more than ``overlap // 4`` pixels to each side. At the borders of the image nothing is
    cut. The memory for activations is that of one tile; beside it there is the output.

    Args:
        network (Callable): Maps a tile (..., h, w) to (..., s h, s w), with a whole number s, the same for all tiles.
        x (Tensor): of shape (N, C, H, W) or (N, T, C, H, W). Where H and W are at most ``size``, there is one tile.
        size (int): Pixels a side of a tile; all tiles have that size, but where the image is smaller.
        overlap (int): Pixels shared by neighbours, from 0 to ``size // 2``; the last ones share more.

    Returns:
        Tensor: of shape (..., s H, s W).

    Raises:
        TileError: If the network returns something else.
    """
    height, width = x.shape[-2:]
    if max(height, width) <= size:
        return network(x)
    canvas, scale, weights = None, 0, ()
    rows, columns = (tile_starts(side, size, overlap) for side in (height, width))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            tile = x[..., top:top + size, left:left + size]
            out = network(tile)
            if canvas is None:
                scale = _scale(out, tile)
                canvas = out.new_zeros(*out.shape[:-2], scale * height, scale * width)
                weights = [blend_weights(starts, size, side, scale, out)
                           for starts, side in ((rows, height), (columns, width))]
            part = canvas[..., scale * top:scale * (top + size), scale * left:scale * (left + size)]
            if out.shape != part.shape:
                raise TileError(f'val.tile: the network returned the shape {tuple(out.shape)} for one tile, but '
                                f'{tuple(part.shape)} was expected from the first one.')
            part += weights[0][i][:, None] * weights[1][j] * out
    return canvas


def tile_starts(length: int, size: int, overlap: int) -> list[int]:
    """Return where tiles begin along one side: every ``size - overlap`` pixels, the last one where it just fits."""
    if length <= size:
        return [0]
    return [*range(0, length - size, size - overlap), length - size]


def blend_weights(starts: list[int], size: int, length: int, scale: int, like: Tensor) -> list[Tensor]:
    """Return the weights of every tile along one side; at each output pixel they add up to 1.

    Args:
        starts (list[int]): Of :func:`tile_starts`.
        size (int): Pixels a side of a tile.
        length (int): Pixels of the image along this side.
        scale (int): Output pixels per input pixel.
        like (Tensor): Gives device and dtype.

    Returns:
        list[Tensor]: One per tile, of shape (scale * min(size, length),).
    """
    ends = [min(start + size, length) for start in starts]
    shared = [before - after for before, after in zip(ends[:-1], starts[1:], strict=True)]
    total = torch.zeros(scale * length, dtype=torch.float64)
    ramps = []
    for start, end, left, right in zip(starts, ends, [0, *shared], [*shared, 0], strict=True):
        inside = (torch.arange(scale * (end - start), dtype=torch.float64) + 0.5) / scale  # pixels from the left cut
        ramps.append(_ramp(inside, left) * _ramp(inside.flip(0), right))
        total[scale * start:scale * end] += ramps[-1]
    return [(ramp / total[scale * start:scale * end]).to(like) for ramp, start, end in
            zip(ramps, starts, ends, strict=True)]


def _ramp(distance: Tensor, overlap: int) -> Tensor:
    """Zero in the first quarter of the overlap, one from its last quarter on, linear between."""
    if overlap == 0:
        return torch.ones_like(distance)
    return ((distance - overlap / 4) / (overlap / 2)).clamp(0, 1)


def _scale(out: Tensor, tile: Tensor) -> int:
    if not isinstance(out, Tensor):
        raise TileError(f'val.tile: the network returns a {type(out).__name__}, not one image; it cannot be run in '
                        'tiles. Remove val.tile.')
    sides = [divmod(ours, theirs) for ours, theirs in zip(out.shape[-2:], tile.shape[-2:], strict=True)]
    if sides[0] != sides[1] or sides[0][0] < 1 or sides[0][1]:
        raise TileError(f'val.tile: the network makes {tuple(out.shape[-2:])} pixels of {tuple(tile.shape[-2:])}; the '
                        'output must be a whole number of times larger, the same along both sides. Remove val.tile.')
    return sides[0][0]
