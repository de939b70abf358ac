"""At which iterations the term acts, and with which share of its weight."""
from __future__ import annotations

import math
from dataclasses import dataclass

SHAPES = ('constant', 'linear', 'cosine', 'lr')


@dataclass(frozen=True)
class Schedule:
    """Start, linear warm-up, interval, decay and end of the contrastive term.

    With s the iteration, a = start_iter + warmup_iter, e = end_iter, f = end_factor and p = (s - a) / (e - a), the
    weight is multiplied with ``interval * warm * shape``:

    - ``warm`` grows linearly from 0 to 1 between ``start_iter`` and a;
    - ``shape`` is 1 for ``constant``; 1 - (1 - f) p for ``linear``; f + (1 - f) (1 + cos(pi p)) / 2 for ``cosine``,
      both beginning at a; and lr / lr_0 for ``lr``, the learning rate relative to its initial value.

    The published term is constant; its later relative SEC-Depth (AAAI 2026) warms it up. The decays are ours: the
    distance has no lower bound, so a weight that shrinks with the steps of the optimizer keeps its share of them.

    Args:
        interval (int): The term acts every S-th iteration with S times its weight: the same mean gradient at 1/S of
            the cost ("lazy" application). Default: 1.
        start_iter (int): The term is silent up to and including this iteration. Default: 0.
        warmup_iter (int): The weight grows linearly from 0 to 1 over this many iterations after ``start_iter``.
            Default: 0, full weight at once, as published.
        shape (str): ``constant``, ``linear``, ``cosine`` or ``lr``. Default: ``constant``.
        end_iter (int | None): The term is silent after this iteration; ``linear`` and ``cosine`` reach their last
            value there and need it. Default: None, no end.
        end_factor (float): f, in [0, 1), for ``linear`` and ``cosine``. Default: 0.

    Raises:
        ValueError: If a value is out of range.
    """

    interval: int = 1
    start_iter: int = 0
    warmup_iter: int = 0
    shape: str = 'constant'
    end_iter: int | None = None
    end_factor: float = 0.0

    def __post_init__(self) -> None:
        if self.interval < 1 or self.start_iter < 0 or self.warmup_iter < 0:
            raise ValueError(f'interval must be >= 1, start_iter and warmup_iter >= 0; received {self}.')
        if self.shape not in SHAPES:
            raise ValueError(f'shape must be one of {", ".join(SHAPES)}; received {self.shape!r}.')
        if self.shape in ('linear', 'cosine') and self.end_iter is None:
            raise ValueError(f'shape {self.shape!r} needs end_iter, the iteration at which it has decayed.')
        if self.end_iter is not None and self.end_iter <= self.start_iter + self.warmup_iter:
            raise ValueError(f'end_iter must be more than start_iter + warmup_iter; received {self}.')
        if not 0 <= self.end_factor < 1:
            raise ValueError(f'end_factor must be in [0, 1); received {self.end_factor}.')

    @property
    def needs_lr(self) -> bool:
        """Whether :meth:`factor` reads the learning rate."""
        return self.shape == 'lr'

    def ended(self, step: int) -> bool:
        """Return whether the term is silent from iteration ``step`` on, for good."""
        return self.end_iter is not None and step > self.end_iter

    def share(self, step: int, lr_ratio: float | None = None) -> float:
        """Return the share of the full weight at iteration ``step``, without regard to the interval.

        Args:
            step (int): Iteration, counted from 1.
            lr_ratio (float | None): The learning rate over its initial value, for ``lr``.

        Raises:
            ValueError: If the shape is ``lr`` and ``lr_ratio`` is missing.
        """
        if step <= self.start_iter or self.ended(step):
            return 0.0
        warm = min(1.0, (step - self.start_iter) / self.warmup_iter) if self.warmup_iter else 1.0
        return warm * self._shape_at(step, lr_ratio)

    def factor(self, step: int, lr_ratio: float | None = None) -> float:
        """Return what the weight is multiplied with at iteration ``step`` (counted from 1); 0 where the term rests."""
        return 0.0 if step % self.interval else self.interval * self.share(step, lr_ratio)

    def _shape_at(self, step: int, lr_ratio: float | None) -> float:
        if self.shape == 'constant':
            return 1.0
        if self.shape == 'lr':
            if lr_ratio is None:
                raise ValueError("The weight follows the learning rate (shape 'lr'): give lr_ratio, the learning rate "
                                 'of this step divided by the initial one.')
            return float(lr_ratio)
        begin = self.start_iter + self.warmup_iter
        progress = max(0.0, (step - begin) / (self.end_iter - begin))
        left = 1 - progress if self.shape == 'linear' else (1 + math.cos(math.pi * progress)) / 2
        return self.end_factor + (1 - self.end_factor) * left
