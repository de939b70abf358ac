"""At which iterations the term acts, and with which share of its weight."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Start, linear warm-up and interval of the contrastive term.

    Args:
        interval (int): The term acts every S-th iteration with S times its weight: the same mean gradient at 1/S of
            the cost ("lazy" application). Default: 1.
        start_iter (int): The term is silent up to and including this iteration. Default: 0.
        warmup_iter (int): The weight grows linearly from 0 to 1 over this many iterations after ``start_iter``.
            Default: 0, full weight at once, as published.

    Raises:
        ValueError: If a value is out of range.
    """

    interval: int = 1
    start_iter: int = 0
    warmup_iter: int = 0

    def __post_init__(self) -> None:
        if self.interval < 1 or self.start_iter < 0 or self.warmup_iter < 0:
            raise ValueError(f'interval must be >= 1, start_iter and warmup_iter >= 0; received {self}.')

    def factor(self, step: int) -> float:
        """Return what the weight is multiplied with at iteration ``step`` (counted from 1); 0 where the term rests."""
        if step <= self.start_iter or step % self.interval:
            return 0.0
        warm = min(1.0, (step - self.start_iter) / self.warmup_iter) if self.warmup_iter else 1.0
        return self.interval * warm
