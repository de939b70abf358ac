"""A queue of past copies that is also refreshed when its members have become too much alike."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mcir_plugin.history.rule import RefreshRule, reduce_mean


class Diversity(RefreshRule):
    """First in, first out: the oldest copy is refreshed when the copies are too much alike, and at the latest in time.

    SEC-Depth (AAAI 2026, arXiv 2511.15167) keeps a queue of "latency models" and refreshes it also when their diversity
    is too low. How diversity is measured is not published; what follows is **our reading**.

    Every scored step measures d_k, the distance between the output and negative k in the features of the loss. With
    m_k the mean of d_k over the scored steps of a window,

        diversity = 1 - min_k m_k / max_k m_k,  in [0, 1]

    0 says that all negatives are equally far from the output, 1 that one of them coincides with it. It does not depend
    on the scale of the features. Where the distance obeys the triangle inequality (``l1``), two negatives are at least
    (diversity * max_k m_k) apart, so a value above the threshold proves that they differ; below it they may still
    differ, and then a refresh is made that was not needed.

    Oldest means refreshed longest ago. A fresh copy is close to the output, so a refresh restores the diversity at
    once. Windows follow each other without a gap, and a refresh of either kind begins a new one.

    Measured once, in a small training (EDSR with 4 blocks, x2, 2000 iterations, N = 4): 0.16 while all copies are as
    old as the training, 0.39 to 0.95 afterwards, with copies made 200 iterations apart.

    Cost: no forward pass. The distances are there already; they are added up on their device, and once per window N
    numbers are read back (and averaged over all processes, so that every rank decides alike). An unfinished window is
    saved as the first process has it, and every process of a resumed run goes on from that.

    Args:
        decay (Sequence[float]): d_k, paired by position, at least two. SEC-Depth keeps snapshots of the parameters;
            the default here is 0.1 as elsewhere.
        threshold (float): Refresh below this diversity, in (0, 1). Default: 0.3, ours.
        window (int): Scored steps over which the distances are averaged, >= 1; longer where a copy was not drawn in
            them. Default: 100, ours.
        max_iter (int): Longest time between two refreshes, in iterations, >= 1. Default: 1000, ours.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(self, decay: Sequence[float], threshold: float = 0.3, window: int = 100, max_iter: int = 1000) -> None:
        super().__init__(decay)
        if self.num_negatives < 2:
            raise ValueError('The refresh rule diversity compares past copies: num_negatives must be at least 2; '
                             f'received {self.num_negatives}.')
        if not 0 < threshold < 1:
            raise ValueError(f'threshold must be in (0, 1); received {threshold}.')
        if window < 1 or max_iter < 1:
            raise ValueError(f'window and max_iter must be integers >= 1; received {window} and {max_iter}.')
        self.threshold, self.window, self.max_iter = float(threshold), int(window), int(max_iter)
        self.latest: float | None = None
        self.begin(0)

    def begin(self, step: int) -> None:
        """Count from iteration ``step``; position 0 is the oldest."""
        self.last, self.next = step, 0
        self._new_window()

    def observe(self, drawn: Sequence[int], distances: Tensor) -> None:
        """Add the distances of a scored step."""
        self.scored += 1
        for k, distance in zip(drawn, distances.unbind(), strict=True):
            self.counts[k] += 1
            self.sums[k] = self.sums[k] + distance

    def due(self, step: int, residual: float | None = None) -> list[int]:
        """Return the oldest position if the copies are too much alike or ``max_iter`` iterations have passed."""
        alike = False
        # restored sums are numbers: the next scored step says where to compute with them
        if self.scored >= self.window and all(self.counts) and any(isinstance(total, Tensor) for total in self.sums):
            self.latest = self._diversity()
            alike = self.latest < self.threshold
            self._new_window()
        if not alike and step - self.last < self.max_iter:
            return []
        chosen, self.next, self.last = self.next, (self.next + 1) % self.num_negatives, step
        self._new_window()
        return [chosen]

    def measured(self) -> dict[str, float]:
        """Return the diversity of the latest complete window."""
        return {} if self.latest is None else {'diversity': self.latest}

    def state_dict(self) -> dict[str, Any]:
        """Return whose turn is next, when the latest refresh was, and the unfinished window."""
        return {'next': self.next, 'last': self.last, 'latest': self.latest, 'scored': self.scored,
                'counts': list(self.counts), 'sums': [float(total) for total in self.sums]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.next, self.last = int(state['next']) % self.num_negatives, int(state['last'])
        self.latest, self.scored = state['latest'], int(state['scored'])
        self.counts, self.sums = list(state['counts']), list(state['sums'])

    def _new_window(self) -> None:
        self.scored = 0
        self.counts = [0] * self.num_negatives
        self.sums: list[Tensor | float] = [0.0] * self.num_negatives

    def _diversity(self) -> float:
        like = next(total for total in self.sums if isinstance(total, Tensor))
        sums = torch.stack([total if isinstance(total, Tensor) else like.new_tensor(total) for total in self.sums])
        means = reduce_mean(sums / sums.new_tensor(self.counts)).tolist()
        return 1 - min(means) / max(means) if max(means) > 0 else 0.0
