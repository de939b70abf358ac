"""Sharpened and blurred versions of images, and their details by the Haar wavelet. Nothing is drawn at random."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_SMOOTH = (1 / 13, 1 / 13, 1 / 13, 1 / 13, 5 / 13, 1 / 13, 1 / 13, 1 / 13, 1 / 13)


def sharpened(image: Tensor, factor: float) -> Tensor:
    """Sharpen as Pillow and torchvision do: s + factor * (image - s), s a weighted mean over 3 x 3 pixels.

    Args:
        image (Tensor): of shape (..., H, W).
        factor (float): 1 returns the image, more sharpens, less smooths.

    Returns:
        Tensor: of the same shape, not clamped. At the rim, pixels outside repeat those at it.
    """
    smooth = _filtered(image, _SMOOTH, 3, 3)
    return smooth + factor * (image - smooth)


def blurred(image: Tensor, sigma: float, kernel_size: int) -> Tensor:
    """Blur with a Gaussian.

    Args:
        image (Tensor): of shape (..., H, W).
        sigma (float): Standard deviation in pixels.
        kernel_size (int): Odd; the Gaussian is cut off there and its weights still sum to 1.

    Returns:
        Tensor: of the same shape. At the rim, pixels outside repeat those at it.
    """
    weights = [math.exp(-(x - kernel_size // 2)**2 / (2 * sigma**2)) for x in range(kernel_size)]
    weights = [weight / sum(weights) for weight in weights]
    return _filtered(_filtered(image, weights, kernel_size, 1), weights, 1, kernel_size)


def haar_details(image: Tensor) -> Tensor:
    """Return the details of one level of the orthonormal Haar wavelet transform.

    Args:
        image (Tensor): of shape (N, C, H, W); an odd side is made even by repeating its last pixels.

    Returns:
        Tensor: of shape (3 N, C, ceil(H / 2), ceil(W / 2)): all vertical differences (a + b - c - d) / 2 of blocks
        [[a, b], [c, d]], then all horizontal ones (a - b + c - d) / 2, then all diagonal ones (a - b - c + d) / 2.
    """
    height, width = image.shape[-2:]
    image = functional.pad(image, (0, width % 2, 0, height % 2), 'replicate')
    a, b, c, d = [image[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return torch.cat([a + b - c - d, a - b + c - d, a - b - c + d]) / 2


def _filtered(image: Tensor, weights: Sequence[float], height: int, width: int) -> Tensor:
    planes = image.reshape(-1, 1, *image.shape[-2:])
    planes = functional.pad(planes, (width // 2, width // 2, height // 2, height // 2), 'replicate')
    # weight by weight: a kernel made of Python numbers would have to be copied to the GPU, which waits
    shape = image.shape[-2:]
    total = sum(weight * planes[..., i // width:i // width + shape[0], i % width:i % width + shape[1]]
                for i, weight in enumerate(weights))
    return total.reshape(image.shape)
