"""The contrastive term of one training step: history + loss + schedule. What every host and every plain loop calls."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mcir_plugin.errors import StateError
from mcir_plugin.formats import require_readable
from mcir_plugin.history import HistoryBank, Moments, Schedule, Uncertainty, Window
from mcir_plugin.losses import FeatureLoss
from mcir_plugin.losses.gradient_ratio import gradient_ratio
from mcir_plugin.losses.inputs import like_output

FORMAT = 1


@dataclass
class Record:
    """What the latest scored step measured; tensors, so that nothing waits for the GPU.

    Attributes:
        term (Tensor | None): The term as it was added to the total, detached, 0-d.
        distances (dict[int, Tensor]): Per position in the bank, its latest weighted feature distance, 0-d, >= 0.
            Without a bank, per negative of the loss.
        grad_ratio (Tensor | None): Norm of the term's gradient at the output over that of the loss that it joins, as
            added, 0-d, >= 0; of the latest step in which it was measured.
        measured (bool): Whether that was the latest step.
    """

    term: Tensor | None = None
    distances: dict[int, Tensor] = field(default_factory=dict)
    grad_ratio: Tensor | None = None
    measured: bool = False


class ContrastTerm:
    """Adds model-contrastive training to a loop that somebody else owns.

    L = L_rec - lambda * (1/N) sum_k d(phi(out), phi(neg_k)), see :class:`mcir_plugin.SPNLoss`, or the term of another
    loss of :mod:`mcir_plugin.losses`.

    Args:
        bank (HistoryBank | None): Makes the negatives. None for a loss that has no history, such as CRLoss.
        loss (FeatureLoss): Scores the output against them.
        schedule (Schedule | None): When the term acts and with which weight. Default: always.
        max_ratio (float | None): Bounds the norm of the term's gradient at the output to this multiple of that of the
            loss that it joins (``reference``), by scaling the term down. Below 1, a step along both still lowers that
            loss at the output. Default: None, unbounded as published.
        window (Window | None): Scores a random window of the images instead of all of them. Default: None.
        uncertainty (Uncertainty | None): Makes :attr:`pixel_weight` from the negatives, which are made anyway.
            Default: None.

    Attributes:
        pixel_weight (Tensor | None): Weight of each pixel for the reconstruction loss, of shape (N, 1, H, W) or
            (N, T, 1, H, W), with mean 1 over each image; of the latest call, None where the term rested in it.

    Raises:
        ValueError: If ``max_ratio`` is not positive, ``uncertainty`` has fewer than two negatives per step, or there is
            a bank where the loss reads none, or none where it does.
    """

    pixel_weight: Tensor | None = None

    def __init__(self, bank: HistoryBank | None, loss: FeatureLoss, schedule: Schedule | None = None,
                 max_ratio: float | None = None, window: Window | None = None,
                 uncertainty: Uncertainty | None = None) -> None:
        if max_ratio is not None and not max_ratio > 0:
            raise ValueError(f'max_ratio must be > 0 or None; received {max_ratio}.')
        if (bank is not None) != ('negatives' in loss.needs):
            raise ValueError(f'{type(loss).__name__} {"needs a" if bank is None else "reads no"} history: bank must '
                             f'{"not be" if bank is None else "be"} None.')
        if uncertainty is not None and (bank is None or bank.draw.count < 2):
            raise ValueError('uncertainty is the spread of the negatives of a step, but only one is made per step. Use '
                             'more negatives, or a larger negatives_per_iter.')
        self.bank = bank
        self.loss = loss
        self.schedule = schedule or Schedule()
        self.max_ratio = max_ratio
        self.window = window
        self.uncertainty = uncertainty
        self.record = Record()
        self._acting = 0  # in how many steps the term has acted by now; follows from the step, so it is no state

    @property
    def num_negatives(self) -> int:
        """Number of negatives in the history, 0 without one."""
        return 0 if self.bank is None else self.bank.num_negatives

    def ages(self, step: int) -> list[int]:
        """Return, per past copy, the iterations since its last refresh; empty without a history."""
        return [] if self.bank is None else self.bank.ages(step)

    def measured(self) -> dict[str, float]:
        """Return by name what the refresh rule has measured last, for the log."""
        return {} if self.bank is None else self.bank.refresh.measured()

    def __call__(self, pred: Tensor, *inputs: Any, step: int, reference: Tensor | None = None,
                 gt: Tensor | None = None, select: Callable[[Any], Tensor] | None = None,
                 lr_ratio: float | None = None, **kwargs: Any) -> Tensor | None:
        """Return the term to add to the total loss, None where the schedule lets it rest.

        Args:
            pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W): the output that is pushed away from the past.
            *inputs (Any): What the network was called with. The first tensor in them is the lq of losses that read it.
            step (int): Current iteration, counted from 1.
            reference (Tensor | None): The loss that the term joins, with its graph; for ``max_ratio`` and for
                ``record.grad_ratio``.
            gt (Tensor | None): Ground truth of the shape of ``pred``, for losses that read it.
            select (Callable | None): See :meth:`HistoryBank.negatives`.
            lr_ratio (float | None): The learning rate over its initial value, for a schedule that follows it.
            **kwargs (Any): Keyword arguments of the network.
        """
        term = self.score(pred, *inputs, step=step, gt=gt, select=select, lr_ratio=lr_ratio, **kwargs)
        return None if term is None else self.bounded(term, reference, pred)

    def score(self, pred: Tensor, *inputs: Any, step: int, gt: Tensor | None = None,
              select: Callable[[Any], Tensor] | None = None, lr_ratio: float | None = None,
              **kwargs: Any) -> Tensor | None:
        """Return the term before :meth:`bounded`: for callers that need ``pixel_weight`` before the reference exists.

        Args:
            pred (Tensor): As for a call.
            *inputs (Any): As for a call.
            step (int): As for a call.
            gt (Tensor | None): As for a call.
            select (Callable | None): As for a call.
            lr_ratio (float | None): As for a call.
            **kwargs (Any): As for a call.
        """
        self.pixel_weight = None
        if self.ended(step):
            self.record = Record()
            return None
        factor = self.schedule.factor(step, lr_ratio)
        if factor == 0:
            return None
        negatives = None if self.bank is None else self.bank.negatives(*inputs, select=select, **kwargs)
        moments = Moments()
        if self.uncertainty:
            negatives = map(moments.taken, negatives)  # map keeps no reference to what it has passed on
        self._acting = (step - self.schedule.start_iter) // self.schedule.interval
        term, distances = self._score(pred, negatives, gt, _first_tensor(*inputs, *kwargs.values()), step)
        term = term * factor
        self.record.term = term.detach()
        drawn = range(len(distances)) if self.bank is None else self.bank.drawn
        self.record.distances.update(zip(drawn, distances.unbind(), strict=True))
        if self.bank is not None:
            self.bank.observe(distances)
        if self.uncertainty:
            self.pixel_weight = self.uncertainty.weight(moments.spread(), self.schedule.share(step, lr_ratio))
        return term

    def bounded(self, term: Tensor, reference: Tensor | None, pred: Tensor) -> Tensor:
        """Return the term, scaled down where its gradient exceeds ``max_ratio`` times that of the reference.

        Without ``max_ratio`` it is returned as it is, and the ratio of the gradients is measured now and then, for
        ``record.grad_ratio``: in the first ten steps in which the term acts, and in every tenth.

        Args:
            term (Tensor): What :meth:`score` returned.
            reference (Tensor | None): The loss that the term joins, with its graph. None measures and bounds nothing.
            pred (Tensor): What both were computed from.

        Raises:
            ValueError: If ``reference`` has no graph that leads to ``pred``, and ``max_ratio`` needs one.
        """
        self.record.measured = False
        if reference is None or not term.requires_grad or not self._measures(reference):
            return term
        ratio = gradient_ratio(term, reference, pred)
        if self.max_ratio is not None:
            tiny = torch.finfo(ratio.dtype).tiny
            term = term * (self.max_ratio / ratio.clamp_min(tiny)).clamp(max=1)
            ratio = ratio.clamp(max=self.max_ratio)
            self.record.term = term.detach()
        self.record.grad_ratio, self.record.measured = ratio, True
        return term

    def _measures(self, reference: Tensor) -> bool:
        """Return whether this call compares gradients, which costs one more backward pass of the reference."""
        now_and_then = self._acting <= 10 or self._acting % 10 == 0
        return self.max_ratio is not None or (now_and_then and reference.requires_grad)

    def update(self, step: int, pred: Tensor | None = None, gt: Tensor | None = None) -> list[int]:
        """Refresh the history; call it after the optimizer step. See :meth:`HistoryBank.update`.

        Nothing is refreshed any more once the term has ended.
        """
        return [] if self.bank is None or self.ended(step) else self.bank.update(step, pred, gt)

    def ended(self, step: int) -> bool:
        """Return whether nothing is left to do from iteration ``step`` on, for good."""
        over = self.loss.end_iter is not None and step >= self.loss.end_iter and self.uncertainty is None
        return over or self.schedule.ended(step)

    def restarts(self, saved: Mapping[str, Any] | None, step: int) -> bool:
        """Let the history begin anew at iteration ``step`` if a checkpoint has none to restore.

        Args:
            saved (Mapping | None): What :meth:`state_dict` returned, None if the checkpoint lacks it.
            step (int): Where training continues.

        Returns:
            bool: Whether it begins anew; always False without a history.
        """
        if self.bank is None or (saved is not None and saved['bank'] is not None):
            return False
        self.bank.restart(step)
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {'format': FORMAT, 'bank': None if self.bank is None else self.bank.state_dict(),
                'window': self.window.get_state() if self.window else None,
                'record': {'term': self.record.term, 'distances': self.record.distances,
                           'grad_ratio': self.record.grad_ratio}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            StateError: If it was written by a newer version, for another number of negatives, or without a history
                where there is one now. A history that is not needed now is left out.
        """
        require_readable(state.get('format'), FORMAT, 'This state')
        if self.bank is not None:
            if state['bank'] is None:
                raise StateError('This state was written by a loss without a history, so there is none to restore.')
            self.bank.load_state_dict(state['bank'])
        if self.window and state.get('window') is not None:
            self.window.set_state(state['window'])
        distances = state['record']['distances'].items()
        kept = {k: v for k, v in distances if self.bank is None or k < self.bank.num_negatives}
        self.record = Record(state['record']['term'], kept, state['record'].get('grad_ratio'))

    def _score(self, pred: Tensor, negatives: Iterable[Tensor] | None, gt: Tensor | None, lq: Tensor | None,
               step: int) -> tuple[Tensor, Tensor]:
        """Have the loss score images, or the same window of all of them."""
        gt, lq = (image if name in self.loss.needs else None for name, image in (('gt', gt), ('lq', lq)))
        if lq is not None and lq.dim() == pred.dim():  # else the loss says what is wrong
            lq = like_output(lq, pred)
        if self.window:
            self.window.draw(pred)
            pred, gt, lq = (image if image is None else self.window(image) for image in (pred, gt, lq))
            negatives = None if negatives is None else map(self.window, negatives)
        return self.loss.score(pred, negatives, gt=gt, lq=lq, step=step)


def _first_tensor(*values: Any) -> Tensor | None:
    return next((value for value in values if isinstance(value, Tensor)), None)
