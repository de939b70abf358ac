"""The adaptive rule of the authors' release, and the statistic that it reads."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mcir_plugin.history.rule import RefreshRule


class ResidualStd(RefreshRule):
    """The adaptive rule of the authors' release: refresh one negative, in turn, while the residual is still large.

    After a step with sigma = mean over the batch of std(2 * (pred - gt)) over C, H, W above ``threshold``, the next
    negative in round-robin order takes over the weights. Early in training that is every step, late hardly ever.

    Args:
        decay (Sequence[float]): d_k, paired by position. The release: 0.001.
        threshold (float): In units of the [0, 1] image range, > 0. Default: 0.022.
    """

    needs_residual = True
    default_decay = 0.001

    def __init__(self, decay: Sequence[float], threshold: float = 0.022) -> None:
        super().__init__(decay)
        if not threshold > 0:
            raise ValueError(f'threshold must be > 0; received {threshold}. The published value is 0.022.')
        self.threshold = float(threshold)
        self.next = 0

    def due(self, step: int, residual: float | None = None) -> list[int]:
        """Return the next position in turn if ``residual`` exceeds the threshold."""
        if residual is None:
            raise ValueError('The refresh rule residual_std reads the residual: call update(step, pred=..., gt=...).')
        if residual <= self.threshold:
            return []
        chosen, self.next = self.next, (self.next + 1) % self.num_negatives
        return [chosen]

    def state_dict(self) -> dict[str, Any]:
        """Return whose turn is next."""
        return {'next': self.next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore whose turn is next."""
        self.next = int(state['next']) % self.num_negatives


def residual_std(pred: Tensor, gt: Tensor) -> Tensor:
    """Return sigma = mean over the batch of std(2 * (pred - gt)) over all other dimensions, a 0-d tensor.

    Args:
        pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W), in [0, 1].
        gt (Tensor): of the same shape.
    """
    residual = 2 * (pred.detach().float() - gt.detach().float())
    return residual.flatten(1).std(dim=1).mean()
