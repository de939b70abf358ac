"""Reflection that may be longer than the image."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def reflect_to(x: Tensor, height: int, width: int) -> Tensor:
    """Pad on the right and below, by reflection without repeating the border, until the sides are long enough.

    PyTorch's reflection ends with the image. Here what was reflected is reflected again, as often as needed, which is
    NumPy's ``reflect``; where one reflection is enough, the result is PyTorch's. A side of one pixel is repeated.

    Args:
        x (Tensor): of shape (N, C, H, W).
        height (int): Smallest height of the result.
        width (int): Smallest width of the result.

    Returns:
        Tensor: of shape (N, C, max(H, height), max(W, width)); x itself if nothing is to be added.
    """
    while x.shape[-2] < height or x.shape[-1] < width:
        for dim, size in ((-2, height), (-1, width)):
            if x.shape[dim] == 1 < size:
                x = torch.cat([x, x], dim)
        x = F.pad(x, (0, _margin(x.shape[-1], width), 0, _margin(x.shape[-2], height)), 'reflect')
    return x


def _margin(side: int, size: int) -> int:
    """What one reflection can add to a side, and not more than what is missing."""
    return min(max(size - side, 0), side - 1)
