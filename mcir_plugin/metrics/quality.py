"""PSNR and SSIM of two images, one function per way in which published numbers were computed.

Every function takes two images (H, W, C) of one shape, RGB or of one channel, and returns a float; it is computed in
float64. The ``float`` ones take images as the network gave them, which are clamped to [0, 1]; all others take uint8.
Where they are used is written in docs/protocols.md.
"""
from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mcir_plugin.metrics.channels import opencv_luma, y_rounded, y_unrounded
from mcir_plugin.metrics.ssim import Mean, gaussian_window, plane_mean, ssim_map, uniform_window, volume_mean

Image = np.ndarray

_GAUSSIAN, _UNIFORM = gaussian_window(11, 1.5), uniform_window(7)
_VALID = partial(plane_mean, window=_GAUSSIAN)
_ZERO_PADDED = partial(plane_mean, window=_GAUSSIAN, padding='zeros')
_VOLUME = partial(volume_mean, window=_GAUSSIAN, padding='replicate')
_BOX = partial(plane_mean, window=_UNIFORM)
_POOLED_SIDE = 256


def psnr(img: Image, img2: Image, data_range: float) -> float:
    """10 log10(data_range^2 / MSE) over all pixels and channels, in dB; infinite for equal images.

    Args:
        img (ndarray): Of any shape and dtype.
        img2 (ndarray): Of the same shape.
        data_range (float): Largest possible difference between two values.
    """
    error = np.mean((img.astype(np.float64) - img2.astype(np.float64))**2)
    return math.inf if error == 0 else float(10 * np.log10(data_range**2 / error))


def psnr_rgb_float(img: Image, img2: Image) -> float:
    """PSNR of float images, clamped to [0, 1] and not rounded."""
    return psnr(_clamped(img), _clamped(img2), 1)


def psnr_rgb_rounded(img: Image, img2: Image) -> float:
    """PSNR over all channels of 8-bit images."""
    return psnr(img, img2, 255)


def psnr_y_rounded(img: Image, img2: Image) -> float:
    """PSNR of the Y channel that was itself rounded to 8 bits."""
    return psnr(y_rounded(img), y_rounded(img2), 255)


def psnr_y_unrounded(img: Image, img2: Image) -> float:
    """PSNR of the Y channel of 8-bit images, not rounded again."""
    return psnr(y_unrounded(img), y_unrounded(img2), 255)


def psnr_luma_rounded(img: Image, img2: Image) -> float:
    """PSNR of OpenCV's full-range luma; the lower right is cropped to sides that are multiples of 4."""
    return psnr(*(opencv_luma(_multiple_of_4(image)) for image in (img, img2)), 255)


def ssim_rgb_zero_padded(img: Image, img2: Image) -> float:
    """SSIM of float images in [0, 1]: 11x11 Gaussian, at every pixel, zeros around the image."""
    return _ssim(_clamped(img), _clamped(img2), _ZERO_PADDED, 1)


def ssim_rgb_pooled(img: Image, img2: Image) -> float:
    """SSIM of float images in [0, 1] after average pooling, where the 11x11 Gaussian lies inside the image.

    Both sides are divided by round(min(H, W) / 256), at least 1; where that leaves a rest, the pooling areas overlap
    (adaptive average pooling).
    """
    height, width = img.shape[:2]
    ratio = max(1, round(min(height, width) / _POOLED_SIDE))
    pool = partial(F.adaptive_avg_pool2d, output_size=(height // ratio, width // ratio))
    return _score(pool(_tensor(_clamped(img))), pool(_tensor(_clamped(img2))), _VALID, 1)


def ssim_rgb_3d(img: Image, img2: Image) -> float:
    """SSIM of 8-bit images with one 11x11x11 Gaussian over height, width and channels, replicate padding in each."""
    return _ssim(img, img2, _VOLUME, 255)


def ssim_y_rounded(img: Image, img2: Image) -> float:
    """SSIM of the Y channel that was itself rounded to 8 bits, where the 11x11 Gaussian lies inside the image."""
    return _ssim(y_rounded(img), y_rounded(img2), _VALID, 255)


def ssim_y_unrounded(img: Image, img2: Image) -> float:
    """SSIM of the Y channel of 8-bit images, where the 11x11 Gaussian lies inside the image; range 255."""
    return _ssim(y_unrounded(img), y_unrounded(img2), _VALID, 255)


def ssim_luma_uniform(img: Image, img2: Image) -> float:
    """SSIM of OpenCV's full-range luma with equal weights in 7x7 pixels and the sample covariance.

    The lower right is cropped to sides that are multiples of 4. These are the defaults of scikit-image.
    """
    images = (opencv_luma(_multiple_of_4(image)) for image in (img, img2))
    pixels = len(_UNIFORM)**2
    return _ssim(*images, _BOX, 255, pixels / (pixels - 1))


def _ssim(img: Image, img2: Image, mean: Mean, data_range: float, unbiased: float = 1.) -> float:
    return _score(_tensor(img), _tensor(img2), mean, data_range, unbiased)


def _score(x: Tensor, y: Tensor, mean: Mean, data_range: float, unbiased: float = 1.) -> float:
    return ssim_map(x, y, mean, data_range, unbiased).mean().item()


def _tensor(img: Image) -> Tensor:
    """Return an image (H, W, C) as a tensor (1, C, H, W) in float64."""
    return torch.from_numpy(img.astype(np.float64)).permute(2, 0, 1).unsqueeze(0).contiguous()


def _clamped(img: Image) -> Image:
    return np.clip(img.astype(np.float64), 0, 1)


def _multiple_of_4(img: Image) -> Image:
    height, width = (side // 4 * 4 for side in img.shape[:2])
    if not height or not width:
        raise ValueError('sides are cropped to multiples of 4 pixels, of which nothing is left; received an image of '
                         f'{img.shape[0]}x{img.shape[1]}.')
    return img[:height, :width]
