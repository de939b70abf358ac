"""Sizes that a network with downsampling or windows cannot take: padded inside, cropped back."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int, mode: str = 'constant') -> Tensor:
    """Pad on the right and below until both sides are multiples of a number.

    Args:
        x (Tensor): of shape (N, C, H, W).
        multiple (int): One or more.
        mode (str): As in ``torch.nn.functional.pad``: ``constant`` (zeros), ``reflect`` (needs sides longer than what
            is added) or ``replicate``. Default: ``constant``.

    Returns:
        Tensor: of shape (N, C, H', W'); x itself if nothing is to be added.
    """
    right, below = -x.shape[-1] % multiple, -x.shape[-2] % multiple
    return F.pad(x, (0, right, 0, below), mode) if right or below else x


def crop_to(x: Tensor, size: Tensor) -> Tensor:
    """Return the top left part of ``x`` that has the height and width of ``size``; undoes :func:`pad_to_multiple`.

    Args:
        x (Tensor): of shape (N, C, H', W').
        size (Tensor): of shape (..., H, W), with H <= H' and W <= W'.

    Returns:
        Tensor: A view of shape (N, C, H, W).
    """
    return x[..., :size.shape[-2], :size.shape[-1]]
