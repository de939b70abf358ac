"""The local mean and its window."""
from fractions import Fraction

import numpy as np
import pytest
import torch
from arch_behaviour import random_images

from mcir_plugin.archs.local_mean import LocalMean, tlc_window


def naive(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every pixel looks at a window with (size - 1) // 2 pixels before it, shifted to lie inside."""
    result = np.empty_like(x)
    rows, columns = x.shape[-2:]
    height, width = min(height, rows), min(width, columns)
    for i in range(rows):
        for j in range(columns):
            top = min(max(i - (height - 1) // 2, 0), rows - height)
            left = min(max(j - (width - 1) // 2, 0), columns - width)
            result[..., i, j] = x[..., top:top + height, left:left + width].mean((-2, -1))
    return result


@pytest.mark.parametrize('height, width', [(1, 1), (2, 3), (4, 4), (5, 7), (6, 16), (3, 20), (11, 2), (7, 13)])
@pytest.mark.parametrize('rows, columns', [(11, 16), (12, 13)])
def test_mean_is_that_of_the_definition(height, width, rows, columns):
    x = random_images(2, 3, rows, columns)
    mean = LocalMean(height, width)(x)
    np.testing.assert_allclose(np.broadcast_to(mean.numpy(), x.shape), naive(x.numpy(), height, width), atol=1e-14)


@pytest.mark.parametrize('shape', [(9, 9), (10, 12), (11, 8)])
def test_a_window_that_covers_all_gives_one_number(shape):
    x = random_images(1, 2, 9, 8)
    torch.testing.assert_close(LocalMean(*shape)(x), torch.nn.functional.adaptive_avg_pool2d(x, 1))


@pytest.mark.parametrize('dtype, tolerance', [(torch.float32, 2e-7), (torch.bfloat16, 0.02)])
def test_large_windows_are_accurate(dtype, tolerance):
    x = random_images(1, 1, 300, 500)
    exact = torch.nn.functional.avg_pool2d(x, (199, 383), stride=1)
    mean = LocalMean(199, 383)(x.to(dtype))
    assert mean.dtype == dtype
    assert (mean[..., 99:99 + 102, 191:191 + 118].double() - exact).abs().max() < tolerance


def test_large_values_do_not_overflow_in_half_precision():
    x = torch.full((1, 1, 40, 90), 2.0**15, dtype=torch.float16)
    assert bool((LocalMean(32, 64)(x) == 2.0**15).all())


def test_gradients():
    x = random_images(1, 2, 6, 7).requires_grad_()
    assert torch.autograd.gradcheck(LocalMean(3, 6), x)


@pytest.mark.parametrize('side, expected', [(256, [384, 192, 96, 48, 24]), (64, [96, 48, 24, 12, 6]),
                                            (100, [168, 84, 42, 21, 10]), (20, [48, 24, 12, 6, 3])])
def test_window_is_one_and_a_half_times_the_padded_crop(side, expected):
    padded = -(-side // 16) * 16
    assert [int(Fraction(padded, 2**level) * Fraction(3, 2)) for level in range(5)] == expected
    assert [tlc_window(side, level, 4) for level in range(5)] == expected
