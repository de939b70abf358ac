"""Counts what the history counts: steps of the optimizer that trains the network, not iterations."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mcir_plugin.config import ConfigError


class StepCounter:
    """Counts an optimizer's steps where they happen.

    Gradient accumulation makes fewer steps than iterations, and a gradient scaler leaves out steps that overflow.

    Args:
        optim_wrapper (BaseOptimWrapper): Of the runner, or a dict of several.
        network (nn.Module): The network under training.

    Raises:
        ConfigError: If no optimizer trains the network.
    """

    def __init__(self, optim_wrapper: Any, network: nn.Module) -> None:
        wrapper = next((w for w in _wrappers(optim_wrapper) if _trains(w.optimizer, network)), None)
        if wrapper is None:
            raise ConfigError(f'HistoryNegativeHook.network: no optimizer trains a parameter of this '
                              f'{type(network).__name__}, so it has no history. Name the network that is trained')
        self.count = 0
        self.optimizer: Optimizer = wrapper.optimizer
        self.accumulative_counts = int(getattr(wrapper, '_accumulative_counts', 1))
        self._seen = 0
        self._handle = wrapper.optimizer.register_step_post_hook(self._count)

    def taken(self) -> bool:
        """Return whether the optimizer has stepped since the last question."""
        taken, self._seen = self.count > self._seen, self.count
        return taken

    def resume(self, count: int) -> None:
        """Go on counting from ``count`` steps."""
        self.count = self._seen = count

    def detach(self) -> None:
        """Let go of the optimizer."""
        self._handle.remove()

    def _count(self, *_: Any) -> None:
        self.count += 1


def _wrappers(optim_wrapper: Any) -> Iterator[Any]:
    yield from getattr(optim_wrapper, 'optim_wrappers', {'': optim_wrapper}).values()


def _trains(optimizer: Optimizer, network: nn.Module) -> bool:
    own = {id(parameter) for parameter in network.parameters()}
    return any(id(parameter) in own for group in optimizer.param_groups for parameter in group['params'])
