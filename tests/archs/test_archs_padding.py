"""Padding to a multiple, and back."""
import numpy as np
import pytest
import torch

from mcir_plugin.archs.padding import crop_to, pad_to_multiple

NUMPY_MODES = {'constant': 'constant', 'reflect': 'reflect', 'replicate': 'edge'}


@pytest.mark.parametrize('mode', NUMPY_MODES)
@pytest.mark.parametrize('height, width, multiple', [(5, 7, 4), (8, 9, 8), (16, 16, 16), (6, 5, 1), (3, 4, 4)])
def test_padding_is_that_of_numpy_and_is_undone(mode, height, width, multiple):
    x = torch.arange(2. * 3 * height * width).view(2, 3, height, width)
    if mode == 'reflect' and -min(height, width) % multiple >= min(height, width):
        pytest.skip('PyTorch reflects less than a side')
    below, right = (int(np.ceil(side / multiple)) * multiple - side for side in (height, width))
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (0, below), (0, right)), NUMPY_MODES[mode])
    padded = pad_to_multiple(x, multiple, mode)
    assert np.array_equal(padded.numpy(), expected)
    assert torch.equal(crop_to(padded, x), x)


def test_nothing_is_copied_where_nothing_is_added():
    x = torch.rand(1, 3, 8, 16)
    assert pad_to_multiple(x, 8) is x
