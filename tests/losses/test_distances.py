import pytest
import torch
from spn_naive import ELEMENTWISE

from mcir_plugin.losses.distances import CRITERIA, check_choices

SHAPES = [(), (7, ), (5, 6), (2, 3, 4, 5), (2, 3, 2, 4, 5)]


def numbers(shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).mul(2).to(dtype)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_sum_and_derivative_follow_the_formulas(criterion, shape):
    difference = numbers(shape).requires_grad_()
    expected = ELEMENTWISE[criterion](difference, torch.zeros(())).sum()
    derivative, = torch.autograd.grad(expected, difference)
    overwritten = difference.detach().clone()
    total = CRITERIA[criterion](overwritten)
    torch.testing.assert_close(total, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(overwritten, derivative, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_sums_of_millions_keep_the_precision_of_float32(criterion, dtype, layout):
    """A single running float32 sum over these is wrong by 1e-3, a sum in float16 or bfloat16 by far more."""
    difference = numbers((2, 16, 256, 256), dtype).contiguous(memory_format=layout)
    expected = ELEMENTWISE[criterion](difference.double(), torch.zeros(())).sum()
    total = CRITERIA[criterion](difference.clone(memory_format=torch.preserve_format))
    assert total.dtype == torch.float32
    assert abs(total.double() / expected - 1) < (1e-6 if dtype == torch.float32 else 2e-5)


@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_derivative_is_zero_where_nothing_differs(criterion):
    difference = torch.zeros(3)
    CRITERIA[criterion](difference)
    assert difference.tolist() == [0, 0, 0]


def test_every_criterion_has_an_oracle():
    assert set(CRITERIA) == set(ELEMENTWISE)


@pytest.mark.parametrize(('criterion', 'reduction', 'message'), [
    ('L1', 'mean', "criterion is 'L1'; it must be one of l1, l2, smooth_l1, charbonnier"),
    ('l1', 'avg', "reduction is 'avg'; it must be one of mean, sum"),
    ('l1', 'none', "reduction is 'none'.*one number"),
])
def test_unknown_names_are_refused(criterion, reduction, message):
    with pytest.raises(ValueError, match=message):
        check_choices(criterion, reduction)
