"""What contrastive losses are given: checks of numbers and images, and the input in the size of the output."""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mcir_plugin.errors import McirError

NAMES = ('negatives', 'gt', 'lq', 'step')  # of what a loss may need


class LossInputError(McirError, ValueError):
    """A loss was not given what it compares with, or something that does not fit."""


def require(loss: str, needs: Set[str], pred: Tensor, given: Mapping[str, Any]) -> None:
    """Check the output and what a loss needs.

    Args:
        loss (str): Name of the loss.
        needs (Set[str]): What it reads, of :data:`NAMES`.
        pred (Tensor): The output.
        given (Mapping[str, Any]): What it was given, by name; None counts as missing.

    Raises:
        TypeError: An image is no floating point tensor.
        LossInputError: Something is missing, or does not have the shape of ``pred``.
    """
    if not isinstance(pred, Tensor):
        raise TypeError(f'pred must be a tensor, received {type(pred).__name__}.')
    needed = [name for name in NAMES if name in needs]
    missing = [name for name in needed if given.get(name) is None]
    if missing:
        call = ', '.join(name if name == 'negatives' else f'{name}={name}' for name in needed)
        raise LossInputError(f'{loss} as configured needs {" and ".join(missing)}: call it as loss(pred, {call}).')
    for name in ('gt', 'lq'):
        if name in needs:
            _check_image(loss, name, given[name], pred)


def images_like(pred: Tensor, negatives: Tensor | Iterable[Tensor]) -> Iterator[Tensor]:
    """Return the negatives, one or several, each checked when it is asked for; no reference to one is kept.

    Args:
        pred (Tensor): The output.
        negatives (Tensor | Iterable[Tensor]): Images of its shape.

    Raises:
        TypeError: One is no tensor.
        ValueError: One has another shape.
    """
    return map(partial(_checked, pred.shape), (negatives, ) if isinstance(negatives, Tensor) else negatives)


def like_output(lq: Tensor, pred: Tensor) -> Tensor:
    """Bring the input of a network to the size of its output.

    Super-resolution needs it; CR and PCL-SR are not published for such inputs or leave the method to their code. Here
    it is bicubic interpolation with pixel centres aligned (``align_corners=False``) and without clamping.

    Args:
        lq (Tensor): of shape (N, C, h, w) or (N, T, C, h, w).
        pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W).

    Returns:
        Tensor: of the shape of ``pred``, without gradient; ``lq`` itself where the sizes are equal.
    """
    size = pred.shape[-2:]
    if lq.shape[-2:] == size:
        return lq.detach()
    images = lq.detach().to(torch.promote_types(lq.dtype, torch.float32)).reshape(-1, *lq.shape[-3:])
    return functional.interpolate(images, size, mode='bicubic', align_corners=False).reshape(*lq.shape[:-2], *size)


def not_negative(name: str, value: float) -> float:
    """Return a finite number of zero or more as a float; anything else is a TypeError or a ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f'{name} must be a number, received {value!r}.')
    if not math.isfinite(value) or value < 0:
        raise ValueError(f'{name} is {value!r}; it must be finite and not negative.')
    return float(value)


def above_zero(name: str, value: float) -> float:
    """Return a finite number above zero as a float; anything else is a TypeError or a ValueError."""
    if not_negative(name, value) == 0:
        raise ValueError(f'{name} is {value!r}; it must be above 0.')
    return float(value)


def _checked(shape: Sequence[int], image: Tensor) -> Tensor:
    if not isinstance(image, Tensor):
        raise TypeError(f'A negative must be a tensor, received {type(image).__name__}.')
    if image.shape != shape:
        raise ValueError(f'A negative has the shape {tuple(image.shape)}, pred {tuple(shape)}: negatives are '
                         'outputs of the same network for the same input.')
    return image


def _check_image(loss: str, name: str, image: Tensor, pred: Tensor) -> None:
    if not isinstance(image, Tensor) or not image.is_floating_point():
        received = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f'{name} must be a floating point tensor, received {received}.')
    free = 2 if name == 'lq' else 0  # dimensions, the last ones, that may differ
    if image.shape[:image.dim() - free] != pred.shape[:pred.dim() - free]:
        remedy = ' Networks that make one image of several have no such input: use SPNLoss there.' if free else ''
        raise LossInputError(f'{loss} compares pred with {name}, which has the shape {tuple(image.shape)}, pred '
                             f'{tuple(pred.shape)}: they must be equal{" but for height and width" if free else ""}.'
                             f'{remedy}')
