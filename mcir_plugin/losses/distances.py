"""Distances between two feature tensors."""
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

REDUCTIONS = ('mean', 'sum')


def charbonnier(a: Tensor, b: Tensor, reduction: str = 'none') -> Tensor:
    """sqrt((a - b)^2 + 1e-12), in the form and with the constant of the BasicSR family.

    Args:
        a (Tensor): of any shape.
        b (Tensor): of the same shape.
        reduction (str): ``none``, ``mean`` or ``sum`` over all elements. Default: ``none``.

    Returns:
        Tensor: of the shape of ``a``, or a scalar; 1e-6 per element where the two are equal.
    """
    values = torch.sqrt((a - b)**2 + 1e-12)
    if reduction == 'none':
        return values
    return values.mean() if reduction == 'mean' else values.sum()


CRITERIA: dict[str, Callable[..., Tensor]] = {
    'l1': partial(F.l1_loss, reduction='none'),
    'l2': partial(F.mse_loss, reduction='none'),  # the squared difference, no root
    'smooth_l1': partial(F.smooth_l1_loss, reduction='none'),  # quadratic below a difference of 1
    'charbonnier': charbonnier,
}
"""Name to a function of two tensors of one shape that works element by element."""


def distance(a: Tensor, b: Tensor, criterion: str = 'l1', reduction: str = 'mean') -> Tensor:
    """Distance between two tensors, zero or more.

    Args:
        a (Tensor): of any shape.
        b (Tensor): of the same shape.
        criterion (str): One of :data:`CRITERIA`. Default: ``l1``.
        reduction (str): ``mean`` or ``sum`` over all elements, the batch included. Default: ``mean``.

    Returns:
        Tensor: A scalar.

    Raises:
        ValueError: Unknown criterion or reduction.
    """
    check_choices(criterion, reduction)
    return CRITERIA[criterion](a, b, reduction=reduction)


def check_choices(criterion: str, reduction: str) -> None:
    """Raise a ValueError unless both are names that :func:`distance` knows."""
    if criterion not in CRITERIA:
        raise ValueError(f'criterion is {criterion!r}; it must be one of {", ".join(CRITERIA)}.')
    if reduction not in REDUCTIONS:
        why = ' The term is one number to be added to the total loss.' if reduction == 'none' else ''
        raise ValueError(f'reduction is {reduction!r}; it must be one of {", ".join(REDUCTIONS)}.{why}')
