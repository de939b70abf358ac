"""What every host watches: the first NaN or infinity, and a contrastive term that outgrows its criterion."""
from __future__ import annotations

from collections.abc import Callable

from mcir_plugin.errors import McirError


class TrainingDivergedError(McirError, FloatingPointError):
    """A loss term became NaN or infinite."""


class RatioWatch:
    """Warns once when the term exceeds a multiple of the criterion that it joins.

    A subtracted distance has no lower bound: a term of the criterion's own size can outweigh it and training collapses.
    A ratio or a hinge cannot run away, but may weigh more than it was meant to.

    Args:
        limit (float): Warn when |l_spn| > limit * |criterion|.
        bounded (bool): Whether ``max_ratio`` already bounds the term.
        warn (Callable[[str], None]): Says it, in the host's log.
        spn (str): Where the host's options have the loss. Default: ``train.spn_opt``.
        history (str): Where they have the history. Default: ``train.history_opt``.
        lower_bound (float | None): No value of the term is below this; None if it has no bound. Default: None.
    """

    def __init__(self, limit: float, bounded: bool, warn: Callable[[str], None], spn: str = 'train.spn_opt',
                 history: str = 'train.history_opt', lower_bound: float | None = None) -> None:
        self.limit = limit
        self.warn = warn
        self.remedy = ('max_ratio bounds it' if bounded else
                       f'lower {spn}.loss_weight, or bound the term with {history}.max_ratio: 0.1')
        self.danger = ('It has no lower bound and can make training collapse' if lower_bound is None else
                       f'It does not fall below {lower_bound:g}, so it cannot run away, but it may steer training '
                       'more than that loss does')
        self.warned = False

    def __call__(self, ratio: float, step: int) -> None:
        """Look at the ratio of iteration ``step``."""
        if self.warned or not ratio > self.limit:
            return
        self.warned = True
        self.warn(
            f'The contrastive term is {ratio:.2f} times the loss that it joins at iteration {step} (warn_ratio '
            f'{self.limit}). {self.danger}: {self.remedy}. Said once.')
