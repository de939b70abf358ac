"""Distances between feature tensors: sums over elements and their derivatives, in place and without temporaries.

A feature map of a training step has some ten million elements, and on a CPU a fresh tensor of that size costs more than
the arithmetic on it. So a criterion here takes the difference of two maps, returns its sum, and leaves the derivative
where the difference was.
"""
from collections.abc import Callable

import torch
from torch import Tensor

REDUCTIONS = ('mean', 'sum')
EPS = 1e-12  # of Charbonnier, the constant of the BasicSR family


def l1_(difference: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return sum w |d|; ``difference`` becomes sign(d)."""
    total = _norms(_scaled(difference, weight), 1).sum()
    difference.sign_()
    return total


def l2_(difference: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return sum w d^2, no root; ``difference`` becomes 2 d."""
    total = _norms(_scaled(difference, None if weight is None else weight.sqrt()), 2).square().sum()
    difference.mul_(2)
    return total


def smooth_l1_(difference: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return sum w f(d), f = d^2 / 2 where |d| < 1 and |d| - 1/2 elsewhere; ``difference`` becomes d within [-1, 1]."""
    bounded = difference.clamp(-1, 1)
    total = torch.sum(_scaled(bounded, weight) * (difference - bounded / 2), dtype=_wide(difference))
    difference.copy_(bounded)
    return total


def charbonnier_(difference: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return sum w sqrt(d^2 + 1e-12); ``difference`` becomes d / sqrt(d^2 + 1e-12)."""
    root = torch.sqrt(difference.to(_wide(difference))**2 + EPS)
    difference.div_(root)
    return _scaled(root, weight).sum()


CRITERIA: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    'l1': l1_,
    'l2': l2_,
    'smooth_l1': smooth_l1_,
    'charbonnier': charbonnier_,
}
"""Name to a function that takes a difference of any shape, returns the sum of an even function of its elements, a 0-d
tensor in float32 or float64, and overwrites it by the derivative. The second argument weights the elements of the sum:
None, or zero or more in a shape that broadcasts; the derivative is left without it."""


def check_choices(criterion: str, reduction: str) -> None:
    """Raise a ValueError unless both are names that losses know."""
    if criterion not in CRITERIA:
        raise ValueError(f'criterion is {criterion!r}; it must be one of {", ".join(CRITERIA)}.')
    if reduction not in REDUCTIONS:
        why = ' The term is one number to be added to the total loss.' if reduction == 'none' else ''
        raise ValueError(f'reduction is {reduction!r}; it must be one of {", ".join(REDUCTIONS)}.{why}')


def _scaled(tensor: Tensor, weight: Tensor | None) -> Tensor:
    return tensor if weight is None else tensor * weight


def _norms(tensor: Tensor, order: int) -> Tensor:
    """Norms over the two innermost dimensions in memory: one over ten million elements would lose three digits."""
    ordered = tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))
    inner = tuple(range(max(0, tensor.dim() - 2), tensor.dim()))
    return torch.linalg.vector_norm(ordered, order, dim=inner, dtype=_wide(tensor))


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
