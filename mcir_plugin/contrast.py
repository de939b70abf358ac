"""The contrastive term of one training step: history + loss + schedule. What every host and every plain loop calls."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mcir_plugin.errors import StateError
from mcir_plugin.history import HistoryBank, Schedule
from mcir_plugin.losses import SPNLoss

FORMAT = 1


@dataclass
class Record:
    """What the latest scored step measured; tensors, so that nothing waits for the GPU.

    Attributes:
        term (Tensor | None): The term as it was added to the total, detached, 0-d.
        distances (dict[int, Tensor]): Per position in the bank, its latest weighted feature distance, 0-d, >= 0.
    """

    term: Tensor | None = None
    distances: dict[int, Tensor] = field(default_factory=dict)


class ContrastTerm:
    """Adds model-contrastive training to a loop that somebody else owns.

    L = L_rec - lambda * (1/N) sum_k d(phi(out), phi(neg_k)), see :class:`mcir_plugin.SPNLoss`.

    Args:
        bank (HistoryBank): Makes the negatives.
        loss (SPNLoss): Scores the output against them.
        schedule (Schedule | None): When the term acts and with which weight. Default: always.
        max_ratio (float | None): Bounds the size of the term to this multiple of ``reference``, by scaling it down.
            Default: None, unbounded as published.

    Raises:
        ValueError: If ``max_ratio`` is not positive.
    """

    def __init__(self, bank: HistoryBank, loss: SPNLoss, schedule: Schedule | None = None,
                 max_ratio: float | None = None) -> None:
        if max_ratio is not None and not max_ratio > 0:
            raise ValueError(f'max_ratio must be > 0 or None; received {max_ratio}.')
        self.bank = bank
        self.loss = loss
        self.schedule = schedule or Schedule()
        self.max_ratio = max_ratio
        self.record = Record()

    def __call__(self, pred: Tensor, *inputs: Any, step: int, reference: Tensor | None = None,
                 select: Callable[[Any], Tensor] | None = None, **kwargs: Any) -> Tensor | None:
        """Return the term to add to the total loss, None where the schedule lets it rest.

        Args:
            pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W): the output that is pushed away from the past.
            *inputs (Any): What the network was called with.
            step (int): Current iteration, counted from 1.
            reference (Tensor | None): The loss that the term joins, for ``max_ratio``.
            select (Callable | None): See :meth:`HistoryBank.negatives`.
            **kwargs (Any): Keyword arguments of the network.
        """
        factor = self.schedule.factor(step)
        if factor == 0:
            return None
        negatives = self.bank.negatives(*inputs, select=select, **kwargs)
        term, distances = self.loss.score(pred, negatives)
        term = self._bounded(term * factor, reference)
        self.record.term = term.detach()
        self.record.distances.update(zip(self.bank.drawn, distances.unbind(), strict=True))
        return term

    def update(self, step: int, pred: Tensor | None = None, gt: Tensor | None = None) -> list[int]:
        """Refresh the history; call it after the optimizer step. See :meth:`HistoryBank.update`."""
        return self.bank.update(step, pred, gt)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {'format': FORMAT, 'bank': self.bank.state_dict(),
                'record': {'term': self.record.term, 'distances': self.record.distances}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            StateError: If it was written by a newer version or for another number of negatives.
        """
        if state['format'] > FORMAT:
            raise StateError(f'This state has format {state["format"]}; this version of mcir_plugin reads up to '
                             f'{FORMAT}. Update mcir_plugin.')
        self.bank.load_state_dict(state['bank'])
        self.record = Record(state['record']['term'], dict(state['record']['distances']))

    def _bounded(self, term: Tensor, reference: Tensor | None) -> Tensor:
        if self.max_ratio is None or reference is None:
            return term
        limit = self.max_ratio * reference.detach().abs()
        tiny = torch.finfo(term.dtype).tiny
        return term * (limit / term.detach().abs().clamp_min(tiny)).clamp(max=1)
