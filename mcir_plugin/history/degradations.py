"""Random degradations of images of shape (N, C, H, W) in [0, 1].

Kinds and ranges are those of the release of DCKD (AAAI 2025, arXiv 2412.08939): Gaussian noise with sigma 1 to 30 of
255, gray for half of the images; blur with sigma 0.1 to 2; resizing with factors 0.5 to 1.5 by area, bilinear or
bicubic interpolation; all three in the order blur, resize, noise, back to the first size. For super-resolution it uses
noise. Ours: a factor is drawn uniformly (the release shrinks three times of four), and all kernels of a blur have one
size.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

MODES = ('area', 'bilinear', 'bicubic')


@dataclass(frozen=True)
class Draws:
    """Where random numbers come from.

    Attributes:
        host (torch.Generator): On the CPU, for what decides shapes. Equal on all ranks.
        device (torch.Generator): On the device of the image, for what fills tensors, so that nothing waits for a GPU.
            Different on each rank.
    """

    host: torch.Generator
    device: torch.Generator

    def number(self, low: float, high: float) -> float:
        """Return a number from [low, high), known to the CPU."""
        return low + (high - low) * torch.rand((), generator=self.host).item()

    def per_image(self, image: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return one number from [low, high) per image, of shape (N, 1, 1, 1)."""
        shape = (len(image), 1, 1, 1)
        return low + (high - low) * torch.rand(shape, generator=self.device, device=image.device, dtype=image.dtype)

    def normal(self, image: Tensor, channels: int) -> Tensor:
        """Return standard normal noise of shape (N, channels, H, W)."""
        shape = (len(image), channels, *image.shape[2:])
        return torch.randn(shape, generator=self.device, device=image.device, dtype=image.dtype)


def add_noise(image: Tensor, draws: Draws, sigma: tuple[float, float], gray_prob: float) -> Tensor:
    """Add Gaussian noise, independent per pixel; its sigma is drawn for each image.

    Args:
        image (Tensor): of shape (N, C, H, W), in [0, 1].
        draws (Draws): Source of random numbers.
        sigma (tuple[float, float]): Range of the standard deviation, in units of 1 / 255.
        gray_prob (float): Share of the images whose noise is the same in all channels.
    """
    strength = draws.per_image(image, sigma[0] / 255, sigma[1] / 255)
    noise = draws.normal(image, image.shape[1])
    if gray_prob:
        gray = draws.per_image(image) < gray_prob
        noise = torch.where(gray, draws.normal(image, 1), noise)
    return image + strength * noise


def blur(image: Tensor, draws: Draws, sigma: tuple[float, float]) -> Tensor:
    """Convolve with a Gaussian whose two sigmas, along both axes, are drawn for each image; borders are repeated.

    Args:
        image (Tensor): of shape (N, C, H, W).
        draws (Draws): Source of random numbers.
        sigma (tuple[float, float]): Range of the standard deviation in pixels; the kernel reaches to three times the
            larger one.
    """
    count, channels, height, width = image.shape
    radius = max(1, math.ceil(3 * sigma[1]))
    place = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    flat = functional.pad(image, (radius, ) * 4, mode='replicate').flatten(0, 1)[None]
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        kernel = torch.exp(-0.5 * (place.view(shape) / draws.per_image(image, *sigma))**2)
        kernel = kernel / kernel.sum((2, 3), keepdim=True)
        flat = functional.conv2d(flat, kernel.repeat_interleave(channels, 0), groups=count * channels)
    return flat.view(count, channels, height, width)


def resize(image: Tensor, draws: Draws, size: tuple[int, int]) -> Tensor:
    """Interpolate to ``size`` (height, width) by a method drawn for the whole batch."""
    mode = MODES[min(int(draws.number(0, len(MODES))), len(MODES) - 1)]
    return functional.interpolate(image, size=size, mode=mode, align_corners=None if mode == 'area' else False)


def scaled_size(image: Tensor, draws: Draws, scale: tuple[float, float]) -> tuple[int, int]:
    """Return height and width times a factor drawn for the whole batch."""
    factor = draws.number(*scale)
    return tuple(max(1, round(side * factor)) for side in image.shape[-2:])


@dataclass(frozen=True)
class Strengths:
    """How strong the degradations are.

    Args:
        noise_sigma (tuple[float, float]): See :func:`add_noise`. Default: (1, 30), published.
        gray_prob (float): See :func:`add_noise`. Default: 0.5, released.
        blur_sigma (tuple[float, float]): See :func:`blur`. Default: (0.1, 2), released.
        scale (tuple[float, float]): Range of the factor of resizing. Default: (0.5, 1.5), released.

    Raises:
        ValueError: If a range is not ordered, or a value is out of range.
    """

    noise_sigma: tuple[float, float] = (1.0, 30.0)
    gray_prob: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    scale: tuple[float, float] = (0.5, 1.5)

    def __post_init__(self) -> None:
        for name in ('noise_sigma', 'blur_sigma', 'scale'):
            low, high = getattr(self, name)
            if not 0 <= low <= high or not high > 0 or (name != 'noise_sigma' and not low > 0):
                raise ValueError(f'{name} must be a range of two positive numbers, the smaller first; received '
                                 f'{(low, high)}.')
        if not 0 <= self.gray_prob <= 1:
            raise ValueError(f'gray_prob must be in [0, 1]; received {self.gray_prob}.')


def noise_only(image: Tensor, draws: Draws, strengths: Strengths) -> Tensor:
    """Add noise."""
    return add_noise(image, draws, strengths.noise_sigma, strengths.gray_prob)


def blur_only(image: Tensor, draws: Draws, strengths: Strengths) -> Tensor:
    """Blur."""
    return blur(image, draws, strengths.blur_sigma)


def resize_only(image: Tensor, draws: Draws, strengths: Strengths) -> Tensor:
    """Resize and back."""
    small = resize(image, draws, scaled_size(image, draws, strengths.scale))
    return resize(small, draws, tuple(image.shape[-2:]))


def mix(image: Tensor, draws: Draws, strengths: Strengths) -> Tensor:
    """Blur, resize, add noise, and resize back."""
    small = resize(blur_only(image, draws, strengths), draws, scaled_size(image, draws, strengths.scale))
    return resize(noise_only(small, draws, strengths), draws, tuple(image.shape[-2:]))


DEGRADATIONS: dict[str, Callable[[Tensor, Draws, Strengths], Tensor]] = {
    'noise': noise_only,
    'blur': blur_only,
    'resize': resize_only,
    'mix': mix,
}
