"""How two losses pull at the output: norms of gradients that are known by hand."""
import pytest
import torch
from loss_probes import Operations

from mcir_plugin.losses.gradient_ratio import gradient_ratio


def test_ratio_of_known_gradients():
    """|d sum(a x)| = |a|; the mean absolute value of n positive numbers has gradient 1 / n, of norm 1 / sqrt(n)."""
    pred = torch.rand(2, 3, 4, 4, requires_grad=True)
    pull = torch.rand(2, 3, 4, 4)
    ratio = gradient_ratio((pull * pred).sum(), pred.abs().mean(), pred)
    assert ratio.item() == pytest.approx((pull.norm() * 96**0.5).item(), rel=1e-5)


def test_does_not_depend_on_values_or_scale_of_both():
    pred = torch.rand(2, 3, 4, 4, requires_grad=True)
    term, loss = (pred**2).sum(), pred.mean()
    expected = gradient_ratio(term, loss, pred).item()
    assert gradient_ratio(1e4 * term - 7, 1e4 * loss + 5, pred).item() == pytest.approx(expected, rel=1e-5)


def test_loss_without_gradient_is_outweighed_by_anything_but_nothing():
    pred = torch.rand(3, requires_grad=True)
    flat = (0 * pred).sum()
    assert gradient_ratio(pred.sum(), flat, pred).item() > 1e30
    assert gradient_ratio(flat, flat, pred).item() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_norms_are_taken_in_at_least_float32(dtype):
    """In float16 the sum of these squares would overflow."""
    pred = torch.ones(1000, dtype=dtype, requires_grad=True)
    assert gradient_ratio((60 * pred).sum(), pred.sum(), pred).item() == pytest.approx(60, rel=1e-2)


def test_reads_no_number():
    """Reading one makes the host wait for the GPU."""
    pred = torch.rand(2, 3, 4, 4, requires_grad=True)
    term, loss = pred.square().sum(), pred.abs().mean()
    with Operations() as operations:
        gradient_ratio(term, loss, pred)
    assert operations.names and not set(operations.names) & Operations.READING


@pytest.mark.parametrize('loss', [lambda x: (x**2).mean(), lambda x: x.abs().mean(), lambda x: (x**2).sum()],
                         ids=['mse', 'l1', 'sum'])
def test_float16_outputs_have_the_ratio_of_float32(loss):
    """The gradient of a mean over so many elements is less than float16 holds, that of a sum times so many is more."""
    torch.manual_seed(0)
    pull = torch.rand(4, 3, 128, 128)
    ratios = []
    for dtype in (torch.float32, torch.float16):
        pred = (0.05 * torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(1))).to(dtype)
        pred.requires_grad_()
        ratios.append(gradient_ratio((pull * pred.float()).mean(), loss(pred.float()), pred).item())
    assert ratios[1] == pytest.approx(ratios[0], rel=5e-3)
