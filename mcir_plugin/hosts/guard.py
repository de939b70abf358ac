"""What every host watches: a term that outweighs its criterion, and a criterion that rises with the term."""
from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from mcir_plugin.errors import McirError

SOUND = 0.1  # ratio of gradients that the remedies aim at


class TrainingDivergedError(McirError, FloatingPointError):
    """A loss term became NaN or infinite."""


class Names(NamedTuple):
    """How a host calls what messages speak of."""

    network: str = 'net_g'
    spn: str = 'train.spn_opt'
    history: str = 'train.history_opt'
    clip: str = 'train.grad_clip'
    go_on: str = '--auto_resume'

    def remedy(self, ratio: float | None = None, loss_weight: float | None = None) -> str:
        """Return how to make the term weigh less; with the ratio of the gradients and the weight now, by how much."""
        lower = f'lower {self.spn}.loss_weight'
        if ratio and loss_weight:
            lower += f' (now {loss_weight:g}; {loss_weight * SOUND / ratio:.2g} would make it {SOUND:g})'
        return f'{lower}, or bound the term with {self.history}.max_ratio: {SOUND:g}'


class RatioWatch:
    """Warns once when the term pulls harder at the output than a multiple of the criterion that it joins.

    Compared are the norms of the gradients at the output. A subtracted distance has no lower bound, and pulls with the
    same force at any distance: about as strong as the criterion, it carries the output away and training collapses
    within some dozen iterations. The ratio is about constant and known from the first iteration; the ratio of the
    values starts small, since the negatives are close, and passes 1 when it is too late.

    Args:
        limit (float): Warn when the ratio is above this.
        bounded (bool): Whether ``max_ratio`` already bounds the term.
        warn (Callable[[str], None]): Says it, in the host's log.
        names (Names): Of the host. Default: BasicSR's.
        lower_bound (float | None): No value of the term is below this; None if it has no bound. Default: None.
        loss_weight (float | None): Weight of the term, for the remedy. Default: None, not said.
    """

    def __init__(self, limit: float, bounded: bool, warn: Callable[[str], None], names: Names = Names(),  # noqa: B008
                 lower_bound: float | None = None, loss_weight: float | None = None) -> None:
        self.limit = limit
        self.bounded = bounded
        self.warn = warn
        self.names = names
        self.loss_weight = loss_weight
        self.danger = ('It has no lower bound and can make training collapse' if lower_bound is None else
                       f'It does not fall below {lower_bound:g}, so it cannot run away, but it may steer training '
                       'more than that loss does')
        self.warned = False

    def __call__(self, ratio: float, step: int) -> None:
        """Look at the ratio of the gradients of iteration ``step``."""
        if self.warned or not ratio > self.limit:
            return
        self.warned = True
        remedy = 'max_ratio bounds it' if self.bounded else self.names.remedy(ratio, self.loss_weight)
        self.warn(f'The contrastive term pulls at the output {ratio:.2f} times as hard as the loss that it joins '
                  f'(norms of the gradients) at iteration {step}; warn_ratio is {self.limit:g}. {self.danger}: '
                  f'{remedy}. Said once.')


class RiseWatch:
    """Warns once when the criterion has risen for long while the term has grown.

    Iterations are taken in blocks of ``BLOCK``, of which only the medians of criterion and term count, so that single
    bad batches do not. The best block is the one with the lowest criterion so far. The warning comes when both medians
    have been more than ``RISE`` times those of the best block in ``PATIENCE`` blocks in a row. Medians of 100 batches
    differ by some percent; the end of a warm-up, a new learning rate or harder data change one of the two, or both for
    less long. Begins anew when a run is resumed.

    Args:
        warn (Callable[[str], None]): Says it, in the host's log.
        names (Names): Of the host. Default: BasicSR's.
    """

    BLOCK, PATIENCE, RISE = 100, 3, 1.5

    def __init__(self, warn: Callable[[str], None], names: Names = Names()) -> None:  # noqa: B008
        self.warn = warn
        self.names = names
        self.warned = False
        self._block: list[tuple[float, float]] = []
        self._best: tuple[float, float, int] | None = None
        self._risen = 0

    def __call__(self, criterion: float, term: float, step: int) -> None:
        """Look at the values of iteration ``step``; the sign of the term does not matter."""
        if self.warned:
            return
        self._block.append((abs(criterion), abs(term)))
        if len(self._block) == self.BLOCK:
            criterion, term = (median(values) for values in zip(*self._block, strict=True))
            self._block.clear()
            self._compare(criterion, term, step)

    def _compare(self, criterion: float, term: float, step: int) -> None:
        if self._best is None or criterion < self._best[0]:
            self._best, self._risen = (criterion, term, step), 0
            return
        best, best_term, best_step = self._best
        self._risen = self._risen + 1 if criterion > self.RISE * best and term > self.RISE * best_term else 0
        if self._risen < self.PATIENCE:
            return
        self.warned = True
        self.warn(f'The loss that the contrastive term joins has risen from {best:.3g} around iteration {best_step} to '
                  f'{criterion:.3g} at iteration {step} (medians of {self.BLOCK} iterations), while the term has grown '
                  f'from {best_term:.3g} to {term:.3g}: training diverges. Go back to a checkpoint from before '
                  f'iteration {best_step}, and {self.names.remedy()}. Said once.')
