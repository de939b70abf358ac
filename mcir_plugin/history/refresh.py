"""When each past copy is refreshed, and how much of its own past it keeps.

    theta'_k <- d_k * theta'_k + (1 - d_k) * theta            (MCIR, AAAI 2024, arXiv 2309.06023)

A new rule is one subclass of :class:`mcir_plugin.history.rule.RefreshRule` with a ``due`` method, added to
``REFRESH_RULES``.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from mcir_plugin.history.diversity import Diversity
from mcir_plugin.history.residual import ResidualStd
from mcir_plugin.history.rule import RefreshRule


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
    names such a growth (1000, 2000, 3000); that the interval grows after every refresh is ours. In its release the
    interval changes every 100,000 iterations: :class:`Staged`.

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


class Staged(RefreshRule):
    """One interval per stage of training, the same for all copies, as in the release of DCKD (AAAI 2025).

    Iterations 1 .. stage_iter are the first stage, and so on; the last interval holds to the end. A copy is refreshed
    after the iterations that the interval of their stage divides. Copies with a common interval are nearly equal, so
    there is one by default; with degraded inputs it makes several negatives.

    Args:
        decay (Sequence[float]): d_k, paired by position. DCKD: 0.1.
        intervals (Sequence[int]): Interval of each stage, >= 1. Default: (1000, 2000, 3000), as released.
        stage_iter (int): Length of a stage in iterations, >= 1. Default: 100000, as released.
    """

    default_copies = 1

    def __init__(self, decay: Sequence[float], intervals: Sequence[int] = (1000, 2000, 3000),
                 stage_iter: int = 100_000) -> None:
        super().__init__(decay)
        self.intervals = tuple(intervals)
        if not self.intervals or not all(isinstance(s, Integral) and s >= 1 for s in (*self.intervals, stage_iter)):
            raise ValueError(f'intervals and stage_iter must be integers >= 1; received {self.intervals} and '
                             f'{stage_iter}.')
        self.stage_iter = int(stage_iter)

    def due(self, step: int, residual: float | None = None) -> list[int]:
        """Return all positions if the interval of the stage divides ``step``."""
        stage = min((step - 1) // self.stage_iter, len(self.intervals) - 1)
        return [] if step % self.intervals[stage] else list(range(self.num_negatives))


REFRESH_RULES: dict[str, type[RefreshRule]] = {
    'periodic': Periodic,
    'growing': Growing,
    'staged': Staged,
    'residual_std': ResidualStd,
    'diversity': Diversity,
}


def build_refresh(refresh: str | Mapping[str, Any] | RefreshRule, update_iter: int | Sequence[int] | None,
                  decay: float | Sequence[float] | None, num_negatives: int | None = None) -> RefreshRule:
    """Build a rule from a name, from a mapping with ``type``, or pass an instance through.

    Args:
        refresh (str | Mapping | RefreshRule): A name in ``REFRESH_RULES``, or a mapping such as
            ``{'type': 'growing', 'growth': 1000, 'max_iter': 3000}``, or a rule.
        update_iter (int | Sequence[int] | None): Intervals; None where the rule has none.
        decay (float | Sequence[float] | None): One number for all negatives, one per negative, or None for the
            default of the rule: 0.1, and 0.001 for ``residual_std``.
        num_negatives (int | None): Number of copies for rules without ``update_iter``. Default: 4, ``staged``: 1.

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
        return rule(update_iter=intervals, decay=_per_negative(decay, rule.default_decay, len(intervals)), **params)
    decays = _per_negative(decay, rule.default_decay, num_negatives or rule.default_copies)
    if num_negatives not in (None, len(decays)):
        raise ValueError(f'decay has {len(decays)} values, but num_negatives is {num_negatives}: give one per '
                         'negative, or one number for all.')
    return rule(decay=decays, **params)


def _per_negative(decay: float | Sequence[float] | None, default: float, count: int) -> tuple[float, ...]:
    decay = default if decay is None else decay
    return (float(decay), ) * count if isinstance(decay, (int, float)) else tuple(decay)
