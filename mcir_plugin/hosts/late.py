"""Losses of a step, read without making the host wait for the GPU."""
from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class LateValues:
    """Numbers on their way from the GPU: asked for in one step, read in the next, when they have long arrived.

    Reading a loss at once (``.item()``) would let the GPU run dry in every step.

    Args:
        step (int): The iteration that they belong to.
        values (Mapping[str, Tensor]): Tensors by name, each reduced to its mean.
    """

    def __init__(self, step: int, values: Mapping[str, Tensor]) -> None:
        self.step = step
        self.names = tuple(values)
        stacked = torch.stack([value.detach().double().mean() for value in values.values()])
        self._event: torch.cuda.Event | None = None
        self._numbers = stacked
        if stacked.is_cuda:
            self._numbers = torch.empty(stacked.shape, dtype=stacked.dtype, pin_memory=True)
            self._numbers.copy_(stacked, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    @property
    def arrived(self) -> bool:
        """Whether reading is free already, as it is without a GPU."""
        return self._event is None

    def read(self) -> dict[str, float]:
        """Return the numbers; waits for the step that they belong to, not for what was begun after it."""
        if self._event is not None:
            self._event.synchronize()
        return dict(zip(self.names, self._numbers.tolist(), strict=True))
