import pytest
import torch
from spn_naive import ELEMENTWISE

from mcir_plugin.losses.distance_table import DistanceTable

SHAPES = [(2, 3, 4, 5), (2, 6, 2, 2)]
GROUPS = [0, 1, 1, 0, 2]


def features(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).mul(2).to(dtype) for shape in SHAPES]


def expected_totals(pred, references, criterion, reduction):
    """The table from its definition: sums of distances by group and layer."""
    rows = [[0., 0.] for _ in set(GROUPS)]
    for group, reference in zip(GROUPS, references, strict=True):
        for layer, (a, b) in enumerate(zip(pred, reference, strict=True)):
            values = ELEMENTWISE[criterion](a, b)
            rows[group][layer] = rows[group][layer] + (values.mean() if reduction == 'mean' else values.sum())
    return torch.stack([torch.stack(row) for row in rows])


def a_ratio(totals):
    """Something that is not linear in the totals."""
    return (totals[0] / (totals[1] + 0.1)).sum() - torch.log(totals[2]).sum()


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_totals_and_gradients_equal_those_of_autograd(criterion, reduction):
    pred = [feature.requires_grad_() for feature in features(0)]
    references = [features(1 + k) for k in range(len(GROUPS))]
    expected = expected_totals(pred, references, criterion, reduction)
    wanted = torch.autograd.grad(a_ratio(expected), pred)

    table = DistanceTable(pred, criterion, reduction)
    for group, reference in zip(GROUPS, references, strict=True):
        table.add([feature.clone() for feature in reference], group)
    totals = table.totals.requires_grad_()
    torch.testing.assert_close(totals.detach(), expected.detach(), rtol=1e-12, atol=0)
    coefficients, = torch.autograd.grad(a_ratio(totals), totals)
    gradients, factor = table.gradients(coefficients)
    for own, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(own * factor, other, rtol=1e-9, atol=1e-15)


def test_plain_numbers():
    table = DistanceTable([torch.tensor([1., 2.]), torch.tensor([[3.]])])
    assert table.add([torch.tensor([0., 4.]), torch.tensor([[3.]])]).tolist() == [1.5, 0]
    assert table.add([torch.tensor([3., 3.]), torch.tensor([[-1.]])]).tolist() == [1.5, 4]
    assert table.totals.tolist() == [[3, 4]]
    gradients, factor = table.gradients(torch.tensor([[1., 10.]]))
    assert [(gradient * factor).tolist() for gradient in gradients] == [[0, -1], [[10]]]


def test_gradients_in_float16_neither_vanish_nor_overflow():
    """The mean over a large map has a gradient far below the smallest number of float16."""
    pred = [torch.randn(4, 64, 96, 96).half()]
    table = DistanceTable(pred)
    for seed in range(16):
        table.add([torch.randn(4, 64, 96, 96, generator=torch.Generator().manual_seed(seed)).half()])
    (gradient, ), factor = table.gradients(torch.tensor([[1e-3]]))
    assert 0.5 < gradient.abs().max() <= 16
    assert factor.item() == pytest.approx(1e-3 / pred[0].numel())


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_plain_sums_of_signs_and_weighted_ones_may_share_a_group(order):
    pred = [feature.requires_grad_() for feature in features(0)]
    added = [{}, {'blend': lambda distances: (0.5, 0.25)}, {}]
    expected, table = 0., DistanceTable(pred)
    for k in order:
        layers = torch.stack([(a - b).abs().mean() for a, b in zip(pred, features(1 + k), strict=True)])
        keep, share = (0.5, 0.25) if added[k] else (1, 1)
        expected = expected * keep + layers * share
        table.add(features(1 + k), **added[k])
    gradients, factor = table.gradients(torch.ones(1, 2, dtype=torch.float64))
    for own, other in zip(gradients, torch.autograd.grad(expected.sum(), pred), strict=True):
        assert own.dtype == torch.float64
        torch.testing.assert_close(own * factor, other, rtol=1e-12, atol=1e-15)


def test_references_are_used_up_and_nothing_is_kept_without_gradient():
    table = DistanceTable(features(0), with_gradient=False)
    reference = features(1)
    table.add(reference)
    assert not torch.equal(reference[0], features(1)[0])
    assert table._slopes == {}


@pytest.mark.parametrize('wrong', [
    [torch.zeros(2, 3, 4, 5)], [torch.zeros(2, 3, 4, 5), torch.zeros(2, 6, 2, 3)], [torch.zeros(1, 3, 4, 5)] * 2])
def test_features_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match=r'those of the prediction \[\(2, 3, 4, 5\), \(2, 6, 2, 2\)\]'):
        DistanceTable(features(0)).add(wrong)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_weights_of_elements_and_of_references(criterion, reduction):
    """Weights that depend on the distances count as constants; what a group holds may be scaled again."""
    pred = [feature.requires_grad_() for feature in features(0)]
    references = [features(1 + k) for k in range(3)]
    masks = [[torch.rand(2, 1, *shape[2:], dtype=torch.float64, generator=torch.Generator().manual_seed(k)).round(
        decimals=1) for shape in SHAPES] for k in range(3)]
    keeps, shares = [1., 0.5, 3.], [torch.tensor(2.), 0.25, torch.tensor([4., 5.])]

    expected = 0.
    for reference, mask, keep, share in zip(references, masks, keeps, shares, strict=True):
        layers = [(ELEMENTWISE[criterion](a, b) * m).sum() / (a.numel() if reduction == 'mean' else 1)
                  for a, b, m in zip(pred, reference, mask, strict=True)]
        expected = expected * keep + torch.stack(layers) * share
    wanted = torch.autograd.grad(expected.square().sum(), pred)

    table, seen = DistanceTable(pred, criterion, reduction), []
    for reference, mask, keep, share in zip(references, masks, keeps, shares, strict=True):
        measured = table.add([feature.clone() for feature in reference],
                             blend=lambda distances, keep=keep, share=share: (seen.append(distances), (keep, share))[1],
                             weights=mask)
        assert torch.equal(seen[-1], measured)
    totals = table.totals.requires_grad_()
    torch.testing.assert_close(totals[0].detach(), expected.detach(), rtol=1e-12, atol=0)
    coefficients, = torch.autograd.grad(totals.square().sum(), totals)
    gradients, factor = table.gradients(coefficients)
    for own, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(own * factor, other, rtol=1e-9, atol=1e-15)
