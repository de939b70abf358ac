"""When each past copy is refreshed, and how much of its own past it keeps.

    theta'_k <- d_k * theta'_k + (1 - d_k) * theta            (MCIR, AAAI 2024, arXiv 2309.06023)

A new rule is one subclass of :class:`RefreshRule` with a ``due`` method, added to ``REFRESH_RULES``.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor


class RefreshRule:
    """Base of all rules: which of the N negatives are refreshed after a step.

    Args:
        decay (Sequence[float]): d_k in [0, 1) of each negative, paired by position. 0 takes a plain snapshot.

    Raises:
        ValueError: If a decay lies outside [0, 1).
    """

    needs_residual = False  # True if ``due`` reads the residual statistic of the step

    def __init__(self, decay: Sequence[float]) -> None:
        self.decay = tuple(float(d) for d in decay)
        if not self.decay or not all(0 <= d < 1 for d in self.decay):
            raise ValueError(f'decay must be numbers in [0, 1), at least one; received {self.decay}. '
                             '0 takes snapshots, values near 1 average a long past.')

    @property
    def num_negatives(self) -> int:
        """N, the number of negatives."""
        return len(self.decay)

    def due(self, step: int, residual: float | None = None) -> list[int]:
        """Return the positions to refresh after iteration ``step`` (counted from 1).

        Args:
            step (int): Iteration that the optimizer has just finished.
            residual (float | None): Residual statistic of that iteration, given if ``needs_residual``.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return what the rule remembers between steps: plain numbers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""


class Periodic(RefreshRule):
    """The paper's rule: negative k is refreshed every ``update_iter[k]`` iterations.

    Args:
        update_iter (Sequence[int]): s_k >= 1. The paper: (100, 200, 500, 1000).
        decay (Sequence[float]): d_k, paired by position. The paper: 0.1 each.
    """

    def __init__(self, update_iter: Sequence[int], decay: Sequence[float]) -> None:
        self.update_iter = tuple(update_iter)
        if not self.update_iter or not all(isinstance(s, Integral) and s >= 1 for s in self.update_iter):
            raise ValueError(f'update_iter must be integers >= 1, at least one; received {self.update_iter}. '
                             'To switch the history off, remove the loss.')
        super().__init__(decay)
        if len(self.update_iter) != len(self.decay):
            raise ValueError(f'update_iter and decay are paired by position, but there are {len(self.update_iter)} '
                             f'intervals and {len(self.decay)} decays. Give one decay, or one per interval.')

    def due(self, step: int, residual: float | None = None) -> list[int]:
        """Return every position whose interval divides ``step``."""
        return [k for k, interval in enumerate(self.update_iter) if step % interval == 0]


class Growing(Periodic):
    """The interval grows while training slows down: s_k, s_k + growth, s_k + 2 growth, ... up to ``max_iter``.

    With 1000, 1000 and 3000 a negative is refreshed after iterations 1000, 3000, 6000, 9000, ... DCKD (AAAI 2025)
    reports such a growth (1000, 2000, 3000) without saying when it steps; growing after every refresh is our reading.

    Args:
        update_iter (Sequence[int]): First interval of each negative, >= 1.
        decay (Sequence[float]): d_k, paired by position.
        growth (int): Added to the interval after every refresh, >= 0. Default: 1000.
        max_iter (int): The interval never grows beyond this. Default: 3000.
    """

    def __init__(self, update_iter: Sequence[int], decay: Sequence[float], growth: int = 1000,
                 max_iter: int = 3000) -> None:
        super().__init__(update_iter, decay)
        if growth < 0:
            raise ValueError(f'growth must be an integer >= 0; received {growth}.')
        if max_iter < max(self.update_iter):
            raise ValueError(f'max_iter ({max_iter}) must not be smaller than the first interval '
                             f'({max(self.update_iter)}).')
        self.growth = int(growth)
        self.max_iter = int(max_iter)

    def due(self, step: int, residual: float | None = None) -> list[int]:
        """Return every position whose growing series of refreshes meets ``step``."""
        return [k for k, first in enumerate(self.update_iter) if self._meets(step, first)]

    def _meets(self, step: int, first: int) -> bool:
        at = gap = first
        while at < step and self.growth > 0 and gap < self.max_iter:
            gap = min(gap + self.growth, self.max_iter)
            at += gap
        return step == at or (step > at and (step - at) % gap == 0)


class ResidualStd(RefreshRule):
    """The adaptive rule of the authors' release: refresh one negative, in turn, while the residual is still large.

    After a step with sigma = mean over the batch of std(2 * (pred - gt)) over C, H, W above ``threshold``, the next
    negative in round-robin order takes over the weights. Early in training that is every step, late hardly ever.

    Args:
        decay (Sequence[float]): d_k, paired by position. The release: 0.001.
        threshold (float): In units of the [0, 1] image range, > 0. Default: 0.022.
    """

    needs_residual = True

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


REFRESH_RULES: dict[str, type[RefreshRule]] = {'periodic': Periodic, 'growing': Growing, 'residual_std': ResidualStd}


def build_refresh(refresh: str | Mapping[str, Any] | RefreshRule, update_iter: int | Sequence[int] | None,
                  decay: float | Sequence[float] | None, num_negatives: int | None = None) -> RefreshRule:
    """Build a rule from a name, from a mapping with ``type``, or pass an instance through.

    Args:
        refresh (str | Mapping | RefreshRule): ``periodic``, ``growing``, ``residual_std``, or a mapping such as
            ``{'type': 'growing', 'growth': 1000, 'max_iter': 3000}``, or a rule.
        update_iter (int | Sequence[int] | None): Intervals; None where the rule has none.
        decay (float | Sequence[float] | None): One number for all negatives, one per negative, or None for the
            published value: 0.1, and 0.001 for ``residual_std``.
        num_negatives (int | None): N for rules without intervals. Default: 4.

    Raises:
        ValueError: If the name is unknown or a value is out of range.
        TypeError: If the rule does not take one of the given keys.
    """
    if isinstance(refresh, RefreshRule):
        if decay is not None or num_negatives is not None:
            raise ValueError('decay and num_negatives have no effect beside a rule object, which holds its own decays; '
                             f'received decay={decay}, num_negatives={num_negatives}.')
        return refresh
    params = {'type': refresh} if isinstance(refresh, str) else dict(refresh)
    rule = REFRESH_RULES.get(name := params.pop('type', 'periodic'))
    if rule is None:
        raise ValueError(f'refresh must be one of {sorted(REFRESH_RULES)}; received {name!r}.')
    if issubclass(rule, Periodic):
        intervals = tuple(update_iter or ()) if isinstance(update_iter, (Sequence, type(None))) else (update_iter, )
        if num_negatives not in (None, len(intervals)):
            raise ValueError(f'num_negatives ({num_negatives}) has no effect with refresh {name!r}, which has one '
                             f'negative per update_iter entry, here {len(intervals)}.')
        return rule(update_iter=intervals, decay=_per_negative(decay, 0.1, len(intervals)), **params)
    return rule(decay=_per_negative(decay, 0.001, num_negatives or 4), **params)


def residual_std(pred: Tensor, gt: Tensor) -> Tensor:
    """Return sigma = mean over the batch of std(2 * (pred - gt)) over all other dimensions, a 0-d tensor.

    Args:
        pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W), in [0, 1].
        gt (Tensor): of the same shape.
    """
    residual = 2 * (pred.detach().float() - gt.detach().float())
    return residual.flatten(1).std(dim=1).mean()


def _per_negative(decay: float | Sequence[float] | None, default: float, count: int) -> tuple[float, ...]:
    decay = default if decay is None else decay
    return (float(decay), ) * count if isinstance(decay, (int, float)) else tuple(decay)


def reduce_mean(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over all processes, so that every rank takes the same decision."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        value = value.clone()
        torch.distributed.all_reduce(value)
        value /= torch.distributed.get_world_size()
    return value
