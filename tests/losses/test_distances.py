import pytest
import torch
from spn_naive import ELEMENTWISE

from mcir_plugin.losses.distances import CRITERIA, distance


@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_elementwise_and_reduced_values_follow_the_formulas(criterion):
    a = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    b = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = ELEMENTWISE[criterion](a, b)
    torch.testing.assert_close(CRITERIA[criterion](a, b), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(distance(a, b, criterion, 'mean'), expected.sum() / 120, rtol=1e-12, atol=0)
    torch.testing.assert_close(distance(a, b, criterion, 'sum'), expected.sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_gradient_is_zero_where_nothing_differs(criterion):
    a = torch.ones(3, requires_grad=True)
    distance(a, torch.ones(3), criterion, 'sum').backward()
    assert a.grad.tolist() == [0, 0, 0]


def test_every_criterion_has_an_oracle():
    assert set(CRITERIA) == set(ELEMENTWISE)


@pytest.mark.parametrize(('criterion', 'reduction', 'message'), [
    ('L1', 'mean', "criterion is 'L1'; it must be one of l1, l2, smooth_l1, charbonnier"),
    ('l1', 'avg', "reduction is 'avg'; it must be one of mean, sum"),
    ('l1', 'none', "reduction is 'none'.*one number"),
])
def test_unknown_names_are_refused(criterion, reduction, message):
    with pytest.raises(ValueError, match=message):
        distance(torch.ones(1), torch.ones(1), criterion, reduction)
