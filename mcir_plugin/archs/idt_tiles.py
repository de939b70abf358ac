"""Full-size images in tiles, as IDT was evaluated.

Beside :mod:`mcir_plugin.tiling`, which blends the tiles of any network: here every tile counts everywhere, most at its
centre, and published scores depend on that.
"""
from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from mcir_plugin.tiling import tile_starts

_OVERLAP = 20  # pixels, as published for tiles of 128; smaller tiles share a quarter
_TILES_PER_PASS = 4  # bounds the memory, however large the image is


def tile_weights(tile: int) -> Tensor:
    """Weights of the pixels of a tile, 1 / sqrt((i - c)^2 + (j - c)^2 + 0.001) with c = tile // 2.

    Returns:
        Tensor: of shape (tile, tile), float64.
    """
    squares = (torch.arange(tile, dtype=torch.float64) - tile // 2)**2
    return (squares[:, None] + squares + 1e-3).rsqrt()


def run_in_tiles(network: Callable[[Tensor], Tensor], x: Tensor, tile: int) -> Tensor:
    """Weighted mean of what a network makes of the tiles of an image.

    Neighbours share 20 pixels, or a quarter of a tile where that is less; the last ones, which end where the image
    ends, may share more.

    Args:
        network (Callable): From (B, C, tile, tile) to the same shape.
        x (Tensor): of shape (N, C, H, W), with sides of ``tile`` pixels or more.
        tile (int): Side of the tiles.

    Returns:
        Tensor: of the shape of ``x``.
    """
    weights = tile_weights(tile).to(x)
    overlap = min(_OVERLAP, tile // 4)
    corners = list(product(*(tile_starts(side, tile, overlap) for side in x.shape[-2:])))
    return torch.cat([_merge(network, image, corners, weights) for image in x.split(1)])


def _merge(network: Callable[[Tensor], Tensor], image: Tensor, corners: list[tuple[int, int]],
           weights: Tensor) -> Tensor:
    tile = len(weights)
    total, norm = torch.zeros_like(image), torch.zeros_like(image[:, :1])
    for first in range(0, len(corners), _TILES_PER_PASS):
        areas = [(..., slice(top, top + tile), slice(left, left + tile))
                 for top, left in corners[first:first + _TILES_PER_PASS]]
        outputs = network(torch.cat([image[area] for area in areas]))
        for area, output in zip(areas, outputs, strict=True):
            total[area] += weights * output
            norm[area] += weights
    return total / norm
