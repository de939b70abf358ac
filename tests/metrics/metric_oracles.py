"""Other ways to the same numbers: scikit-image, full kernels of scipy, exact fractions."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import skimage
from scipy.ndimage import correlate
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def photograph(height, width, name='chelsea.png'):
    """A piece of a photograph in the scikit-image wheel, uint8 RGB, repeated where it is too small."""
    image = cv2.imread(str(Path(skimage.__file__).parent / 'data' / name))[..., ::-1]
    times = [-(-wanted // have) for wanted, have in zip((height, width), image.shape[:2], strict=True)]
    return np.ascontiguousarray(np.tile(image, (*times, 1))[:height, :width])


def damaged(image, sigma=8., seed=0):
    """A float image in about [0, 1], some values outside: the photograph with a gradual error and noise."""
    rng = np.random.default_rng(seed)
    wave = 6 * np.sin(np.arange(image.shape[1]) / 9)[None, :, None]
    output = (image + wave + rng.normal(0, sigma, image.shape)) / 255
    output[:3, :3] += 1
    output[-3:, -3:] -= 1
    return output


def rounded(image):
    """Clamp a float image and round it to uint8."""
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def gaussian_kernel(dimensions):
    """The full kernel of 11 points a side, sigma 1.5."""
    points = np.indices((11, ) * dimensions) - 5
    kernel = np.exp(-(points**2).sum(0) / 4.5)
    return kernel / kernel.sum()


def ssim_by_definition(x, y, kernel, data_range, **border):
    """The SSIM map of two arrays, each local mean being a correlation with the full kernel."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    mx, my, xx, yy, xy = (correlate(a, kernel, **border) for a in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * data_range)**2, (0.03 * data_range)**2
    luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    return luminance * (2 * (xy - mx * my) + c2) / (xx - mx**2 + yy - my**2 + c2)


def wang(x, y, data_range):
    """Wang's SSIM where the Gaussian window is inside, averaged over channels: scikit-image with matching arguments."""
    return structural_similarity(x, y, data_range=data_range, gaussian_weights=True, sigma=1.5,
                                 use_sample_covariance=False, channel_axis=2)


def psnr(x, y, data_range):
    return peak_signal_noise_ratio(y.astype(np.float64), x.astype(np.float64), data_range=data_range)


def pooled(image, height, width):
    """Adaptive average pooling as it is defined: area i goes from floor(i H / h) to ceil((i + 1) H / h)."""
    def areas(side, count):
        return [slice(i * side // count, -(-(i + 1) * side // count)) for i in range(count)]

    return np.array([[image[rows, columns].mean((0, 1)) for columns in areas(image.shape[1], width)]
                     for rows in areas(image.shape[0], height)])


def exact_y(red, green, blue):
    """Y of ITU-R BT.601 for 8-bit values, as a fraction."""
    return 16 + (Fraction(65481) * red + 128553 * green + 24966 * blue) / 255000
