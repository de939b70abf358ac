"""Giving a pixel weight to the criterion of somebody else."""
from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from mcir_plugin.errors import McirError

NAME = 'weight'  # of the argument: BasicSR's and MMagic's pixel losses agree on it


class WeightError(McirError, ValueError):
    """A criterion that takes no pixel weight is to be weighted."""


def require_weight(criterion: nn.Module, name: str, option: str) -> None:
    """Refuse a criterion that takes no pixel weight.

    Args:
        criterion (nn.Module): Called with output and ground truth.
        name (str): What the model calls it.
        option (str): The option that asks for the weight.

    Raises:
        WeightError: If its ``forward`` has no argument ``weight``.
    """
    if NAME not in inspect.signature(criterion.forward).parameters:
        raise WeightError(
            f'{option} weights the pixels of {name}, but {type(criterion).__name__} takes no {NAME} beside output and '
            'ground truth. Use a pixel loss that does, such as L1Loss, MSELoss or CharbonnierLoss of BasicSR, or '
            f'remove {option}.')


def with_weight(criterion: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any],
                weight: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a criterion with the weight among them, multiplied with one that is given already.

    Args:
        criterion (nn.Module): Takes the argument ``weight``.
        args (tuple): Its positional arguments, the output first.
        kwargs (dict): Its keyword arguments.
        weight (Tensor): of shape (N, 1, H, W) or (N, T, 1, H, W). It is handed over in the shape of the output, since
            weighted means count the elements of the weight.
    """
    bound = inspect.signature(criterion.forward).bind(*args, **kwargs)
    pred = next(iter(bound.arguments.values()))
    given = bound.arguments.get(NAME)
    weight = weight.expand(pred.shape)
    bound.arguments[NAME] = weight if given is None else weight * given
    return bound.args, bound.kwargs
