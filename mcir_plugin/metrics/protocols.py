"""The published ways of computing PSNR and SSIM, by name."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mcir_plugin.errors import McirError
from mcir_plugin.metrics import quality

Image = np.ndarray


class MetricError(McirError, ValueError):
    """Images that a metric cannot compare as its protocol demands."""


@dataclass(frozen=True)
class Protocol:
    """One way of computing a number.

    Attributes:
        measure (Callable): Of two images (H, W, C), RGB or of one channel.
        title (str): What is compared, in one line, to stand beside the number.
        takes_float (bool): The images must not have been rounded to 8 bits: float, in [0, 1]. Otherwise uint8.
    """

    measure: Callable[[Image, Image], float]
    title: str
    takes_float: bool = False

    @property
    def name(self) -> str:
        """Its name, which is also that of its function."""
        return self.measure.__name__

    def __call__(self, img: Image, img2: Image, center_crop: int | None = None) -> float:
        """Compare two images.

        Args:
            img (ndarray): of shape (H, W, C) or (H, W), RGB.
            img2 (ndarray): of the same shape; the order of the two does not matter.
            center_crop (int | None): Compare only this many pixels a side, in the middle. Default: None.

        Returns:
            float: In dB for PSNR; at most 1 for SSIM.

        Raises:
            MetricError: Shapes that differ, images in another form than the protocol takes, or that are too small.
        """
        img, img2 = (image[..., None] if image.ndim == 2 else image for image in (img, img2))
        self._check(img, img2)
        if center_crop is not None:
            img, img2 = (_center(image, center_crop) for image in (img, img2))
        try:
            return self.measure(img, img2)
        except ValueError as error:
            raise MetricError(f'{self.name}: {error}') from error

    def _check(self, img: Image, img2: Image) -> None:
        if img.shape != img2.shape:
            raise MetricError(f'{self.name}: the output has the shape {img.shape}, the ground truth {img2.shape}; they '
                              'must be equal.')
        if img.ndim != 3 or img.shape[2] not in (1, 3):
            raise MetricError(f'{self.name}: the images have the shape {img.shape}; (H, W, 3) or (H, W, 1) is needed.')
        for image in (img, img2):
            if np.issubdtype(image.dtype, np.floating) != self.takes_float or \
                    not (self.takes_float or image.dtype == np.uint8):
                wanted = 'float images in [0, 1]' if self.takes_float else 'uint8 images'
                raise MetricError(f'{self.name} compares {wanted}; received {image.dtype}.')

    def describe(self, center_crop: int | None = None) -> str:
        """Return the title, with the crop if there is one."""
        return self.title if center_crop is None else f'{self.title}, centre {center_crop}x{center_crop}'


def _center(img: Image, size: int) -> Image:
    height, width = img.shape[:2]
    if min(height, width) < size:
        raise MetricError(f'center_crop is {size}, but an image of {height}x{width} is smaller. Use a smaller '
                          'center_crop, or leave it out.')
    top, left = (height - size) // 2, (width - size) // 2
    return img[top:top + size, left:left + size]


_FLOAT, _BITS = 'RGB, float, clamped, not rounded', 'RGB, rounded to 8 bits'
_Y, _LUMA = 'Y of 8-bit RGB', 'full-range luma of 8-bit RGB, rounded to 8 bits, sides cropped to multiples of 4'
_VALID = '11x11 Gaussian, valid'

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (
    Protocol(quality.psnr_rgb_float, _FLOAT, True),
    Protocol(quality.psnr_rgb_rounded, _BITS),
    Protocol(quality.psnr_y_rounded, f'{_Y}, rounded to 8 bits'),
    Protocol(quality.psnr_y_unrounded, f'{_Y}, not rounded'),
    Protocol(quality.psnr_luma_rounded, _LUMA),
    Protocol(quality.ssim_rgb_zero_padded, f'{_FLOAT}, 11x11 Gaussian, zero padding', True),
    Protocol(quality.ssim_rgb_pooled, f'{_FLOAT}, averaged down by round(min(H, W) / 256), {_VALID}', True),
    Protocol(quality.ssim_rgb_3d, f'{_BITS}, 11x11x11 Gaussian over height, width and channels, replicate padding'),
    Protocol(quality.ssim_y_rounded, f'{_Y}, rounded to 8 bits, {_VALID}'),
    Protocol(quality.ssim_y_unrounded, f'{_Y}, not rounded, {_VALID}'),
    Protocol(quality.ssim_luma_uniform, f'{_LUMA}, 7x7 equal weights, sample covariance, valid'),
)}
"""Every protocol by the name of its function."""
