"""What all refresh rules share."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class RefreshRule:
    """Base of all rules: which of the past copies are refreshed after a step.

    Args:
        decay (Sequence[float]): d_k in [0, 1) of each copy, paired by position. 0 takes a plain snapshot.

    Raises:
        ValueError: If a decay lies outside [0, 1).
    """

    needs_residual = False  # True if ``due`` reads the residual statistic of the step
    default_decay = 0.1
    default_copies = 4  # where the options give no number

    def __init__(self, decay: Sequence[float]) -> None:
        self.decay = tuple(float(d) for d in decay)
        if not self.decay or not all(0 <= d < 1 for d in self.decay):
            raise ValueError(f'decay must be numbers in [0, 1), at least one; received {self.decay}. '
                             '0 takes snapshots, values near 1 average a long past.')

    @property
    def num_negatives(self) -> int:
        """N, the number of past copies."""
        return len(self.decay)

    def begin(self, step: int) -> None:
        """Take note that all copies were made at iteration ``step``."""

    def observe(self, drawn: Sequence[int], distances: Tensor) -> None:
        """Take note of a scored step, before :meth:`due` of that step.

        Args:
            drawn (Sequence[int]): Positions of the copies that took part.
            distances (Tensor): Their distances to the output, of shape (K,), detached.
        """

    def due(self, step: int, residual: float | None = None) -> list[int]:
        """Return the positions to refresh after iteration ``step`` (counted from 1).

        Args:
            step (int): Iteration that the optimizer has just finished.
            residual (float | None): Residual statistic of that iteration, given if ``needs_residual``.
        """
        raise NotImplementedError

    def measured(self) -> dict[str, float]:
        """Return by name what the rule has measured last, for the log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what the rule remembers between steps: plain numbers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""


def reduce_mean(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over all processes, so that every rank takes the same decision."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        value = value.clone()
        torch.distributed.all_reduce(value)
        value /= torch.distributed.get_world_size()
    return value
