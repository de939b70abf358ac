"""SSIM in its published variants: one map, and the local means that the variants differ in."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PADDINGS = ('valid', 'zeros', 'replicate')
Mean = Callable[[Tensor], Tensor]


def gaussian_window(size: int = 11, sigma: float = 1.5) -> tuple[float, ...]:
    """Weights of a Gaussian at ``size`` points around its centre, with the sum 1.

    Args:
        size (int): Odd number of points. Default: 11.
        sigma (float): Standard deviation in pixels. Default: 1.5.
    """
    weights = [math.exp(-(i - size // 2)**2 / (2 * sigma**2)) for i in range(size)]
    return tuple(weight / sum(weights) for weight in weights)


def uniform_window(size: int = 7) -> tuple[float, ...]:
    """Equal weights at ``size`` points, with the sum 1."""
    return (1 / size, ) * size


def plane_mean(x: Tensor, window: Sequence[float], padding: str = 'valid') -> Tensor:
    """Weighted mean around every pixel, over height and width.

    Args:
        x (Tensor): of shape (N, C, H, W).
        window (Sequence[float]): k weights, k odd; those in two dimensions are their products.
        padding (str): ``valid`` leaves out pixels whose window is not inside, ``zeros`` and ``replicate`` pad first.
            Default: ``valid``.

    Returns:
        Tensor: of shape (N, C, H, W), or (N, C, H - k + 1, W - k + 1) for ``valid``.

    Raises:
        ValueError: Unknown padding, or an image smaller than the window.
    """
    if min(x.shape[2:]) < len(window):
        raise ValueError(f'SSIM looks at windows of {len(window)}x{len(window)} pixels; received an image of '
                         f'{x.shape[2]}x{x.shape[3]}.')
    return _mean_along(_mean_along(x, 2, window, padding), 3, window, padding)


def volume_mean(x: Tensor, window: Sequence[float], padding: str = 'replicate') -> Tensor:
    """Weighted mean around every value, over channels, height and width.

    Args:
        x (Tensor): of shape (N, C, H, W).
        window (Sequence[float]): k weights, k odd; those in three dimensions are their products.
        padding (str): ``zeros`` or ``replicate``, in all three dimensions. Default: ``replicate``.

    Returns:
        Tensor: of shape (N, C, H, W).
    """
    return _mean_along(plane_mean(x, window, padding), 1, window, padding)


def ssim_map(x: Tensor, y: Tensor, mean: Mean, data_range: float = 1., unbiased: float = 1.) -> Tensor:
    """Structural similarity of Wang et al. (2004) at every position, with k1 = 0.01 and k2 = 0.03.

    With mu, sigma^2 and sigma_xy the local means, variances and covariance, and c_i = (k_i * data_range)^2::

        (2 mu_x mu_y + c1) (2 sigma_xy + c2) / ((mu_x^2 + mu_y^2 + c1) (sigma_x^2 + sigma_y^2 + c2))

    Args:
        x (Tensor): of shape (N, C, H, W).
        y (Tensor): of the same shape.
        mean (Callable): The local mean, such as :func:`plane_mean` with a window and a padding.
        data_range (float): Largest possible difference between two values. Default: 1.
        unbiased (float): Factor of variances and covariance: n / (n - 1) for the sample covariance of n pixels.
            Default: 1.

    Returns:
        Tensor: of the shape that ``mean`` returns.
    """
    c1, c2 = (0.01 * data_range)**2, (0.03 * data_range)**2
    mu_x, mu_y, xx, yy, xy = mean(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
    variances = unbiased * (xx - mu_x * mu_x + yy - mu_y * mu_y)
    covariance = unbiased * (xy - mu_x * mu_y)
    return (2 * mu_x * mu_y + c1) * (2 * covariance + c2) / ((mu_x * mu_x + mu_y * mu_y + c1) * (variances + c2))


def _mean_along(x: Tensor, dim: int, window: Sequence[float], padding: str) -> Tensor:
    """Sum of shifted copies: on the CPU some times faster than a convolution of one channel."""
    x = _padded(x, dim, len(window) // 2, padding)
    length = x.shape[dim] - len(window) + 1
    total = x.narrow(dim, 0, length) * window[0]
    for start, weight in enumerate(window[1:], 1):
        total.add_(x.narrow(dim, start, length), alpha=weight)
    return total


def _padded(x: Tensor, dim: int, width: int, padding: str) -> Tensor:
    if padding not in PADDINGS:
        raise ValueError(f'padding is {padding!r}; it must be one of {", ".join(PADDINGS)}.')
    if padding == 'valid':
        return x
    if padding == 'zeros':
        return F.pad(x, (0, 0) * (x.ndim - 1 - dim) + (width, width))
    last = x.shape[dim] - 1
    return x.index_select(dim, torch.arange(-width, last + width + 1, device=x.device).clamp(0, last))
