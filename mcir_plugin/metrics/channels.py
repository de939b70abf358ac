"""The luma of 8-bit RGB images, in the ways in which published numbers took it.

All functions take an image (H, W, 3), uint8, RGB, and return (H, W, 1). An image of one channel is its own luma.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import cv2
import numpy as np

Image = np.ndarray


def _of_rgb(convert: Callable[[Image], Image]) -> Callable[[Image], Image]:

    @wraps(convert)
    def luma(img: Image) -> Image:
        return img if img.shape[2] == 1 else convert(img)[..., None]

    return luma


@_of_rgb
def y_rounded(img: Image) -> Image:
    """Y of ITU-R BT.601 in [16, 235] as MATLAB's ``rgb2ycbcr`` gives it for uint8, rounded to uint8.

    16 + (65.481 R + 128.553 G + 24.966 B) / 255, in integers, so that a half is rounded up on every machine.
    """
    red, green, blue = np.moveaxis(img.astype(np.int64), 2, 0)
    return (16 + (65481 * red + 128553 * green + 24966 * blue + 127500) // 255000).astype(np.uint8)


@_of_rgb
def y_unrounded(img: Image) -> Image:
    """Y of ITU-R BT.601 in [16, 235], float64, as MATLAB's ``rgb2ycbcr`` gives it for ``im2double`` images, times 255.
    """
    return 16 + img.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255


@_of_rgb
def opencv_luma(img: Image) -> Image:
    """Luma in [0, 255], uint8, by OpenCV's conversion to YCrCb: 0.299 R + 0.587 G + 0.114 B, rounded."""
    return cv2.cvtColor(np.ascontiguousarray(img), cv2.COLOR_RGB2YCrCb)[..., 0]
