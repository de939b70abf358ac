"""Sizes that fit, centre crops, crops at the border. Images are NumPy arrays (H, W, C)."""
from __future__ import annotations

import random

import numpy as np

from mcir_plugin.data.listing import Size

Images = tuple[np.ndarray, np.ndarray]  # gt, lq


def misfit(gt: Size, lq: Size, scale: int, max_center_crop: int) -> str:
    """Say why a ground truth does not fit its input; empty if it does.

    It fits if it is ``scale`` times as large, or larger than that by at most ``2 * max_center_crop`` pixels per axis.

    Args:
        gt (tuple[int, int]): Height and width of the ground truth.
        lq (tuple[int, int]): Height and width of the input.
        scale (int): Factor between them.
        max_center_crop (int): Pixels of the ground truth that may be cut off at each side.
    """
    excess = [g - scale * side for g, side in zip(gt, lq, strict=True)]
    if min(excess) < 0:
        return 'the ground truth is too small' if scale == 1 else f'the ground truth is not {scale} times as large'
    needed = (max(excess) + 1) // 2
    if needed <= max_center_crop:
        return ''
    return (f'the ground truth is larger, by up to {needed} pixels at each side. If the input is its centre, use '
            f'max_center_crop: {needed}')


def center_crop(image: np.ndarray, size: Size) -> np.ndarray:
    """Return the centre of this height and width; of an odd rest, the larger part is cut off below and at the right."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape[:2], size, strict=True))
    return image[top:top + size[0], left:left + size[1]]


def paired_center_crop(gt: np.ndarray, lq: np.ndarray, patch: int, scale: int) -> Images:
    """Return the centres of both images: (patch, patch, C) of lq, or the whole side where it is shorter than that.

    Args:
        gt (ndarray): Ground truth, (scale * H, scale * W, C).
        lq (ndarray): Input, (H, W, C).
        patch (int): Side of the crop in pixels of lq.
        scale (int): Factor between them.

    Returns:
        tuple[ndarray, ndarray]: Views of gt and lq.
    """
    for axis in (0, 1):
        start = max(0, lq.shape[axis] - patch) // 2
        lq = _strip(lq, axis, start, patch)
        gt = _strip(gt, axis, start * scale, patch * scale)
    return gt, lq


def at_border(gt: np.ndarray, lq: np.ndarray, patch: int, scale: int, edge_decay: float) -> Images:
    """With a certain probability, leave only the strip along a border, so that a random crop must lie there.

    A uniformly drawn crop covers pixels near the border less often than others. DehazeFormer's recipe (``edge_decay``)
    makes up for it: on each axis independently, with probability ``edge_decay * patch / length``, the crop is pushed to
    one of the two borders, each with probability 1/2.

    Args:
        gt (ndarray): Ground truth, (scale * H, scale * W, C).
        lq (ndarray): Input, (H, W, C).
        patch (int): Side of the crop in pixels of lq; at most H and W.
        scale (int): Factor between them.
        edge_decay (float): From 0, no effect, to 1.

    Returns:
        tuple[ndarray, ndarray]: Views of gt and lq.
    """
    for axis in (0, 1):
        length = lq.shape[axis]
        if random.random() < edge_decay * patch / length:
            start = random.choice((0, length - patch))
            lq = _strip(lq, axis, start, patch)
            gt = _strip(gt, axis, start * scale, patch * scale)
    return gt, lq


def _strip(image: np.ndarray, axis: int, start: int, length: int) -> np.ndarray:
    return image[start:start + length] if axis == 0 else image[:, start:start + length]
