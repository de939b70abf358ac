"""What a few real training steps cost: seconds, peak memory, and the memory whose owner is known."""
from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from mcir_plugin.hosts.basicsr.summary import owns_extractor

STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


@dataclass
class Measured:
    """Some training steps of one model.

    Attributes:
        steps (list[float]): Seconds of each step; the first one warms up.
        peak (int | None): Bytes in use at the peak, above what was in use before; None where it cannot be measured.
        parts (dict[str, int]): Bytes by owner.
        losses (dict[str, float]): Log of the last step.
        attachment (list[str]): What was attached, in words; empty without the contrastive term.
    """

    steps: list[float]
    peak: int | None
    parts: dict[str, int]
    losses: dict[str, float]
    attachment: list[str]

    @property
    def seconds(self) -> float:
        """Median of the steps after the first, or the first if it was the only one."""
        return median(self.steps[1:] or self.steps)

    @property
    def saved(self) -> int:
        """Bytes of one checkpoint, roughly: weights, their average, optimizer state, negatives."""
        return sum(self.parts.get(part, 0) for part in ('weights', 'EMA', 'optimizer state', 'negatives'))


class PeakMemory:
    """Peak memory above the level at which it was made: PyTorch's allocator on a GPU, the process on Linux otherwise.

    Args:
        on_gpu (bool): Whether the model trains on a GPU.
    """

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self.base = torch.cuda.memory_allocated() if on_gpu else _of_process('VmRSS')

    def restart(self) -> None:
        """Forget the peak so far."""
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        elif self.base is not None:
            try:
                CLEAR.write_text('5')
            except OSError:
                self.base = None

    def peak(self) -> int | None:
        """Return the bytes above the base, None where the system does not tell."""
        if self.on_gpu:
            return torch.cuda.max_memory_allocated() - self.base
        return None if self.base is None else max(0, _of_process('VmHWM') - self.base)


class Stopwatch:
    """Seconds between calls, after the GPU has finished what it was given."""

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self.lap()

    def lap(self) -> float:
        """Return the seconds since the last call."""
        if self.on_gpu:
            torch.cuda.synchronize()
        now = time.perf_counter()
        passed, self.last = now - getattr(self, 'last', now), now
        return passed


def parts(model: Any) -> dict[str, int]:
    """Return the bytes that a BasicSR model holds between two steps, by owner."""
    modules = {name: value for name, value in vars(model).items() if isinstance(value, nn.Module)}
    trained = [net for name, net in modules.items() if name.startswith('net_') and not name.endswith('_ema')]
    averages = [net for name, net in modules.items() if name.startswith('net_') and name.endswith('_ema')]
    state = [value for optimizer in model.optimizers for entry in optimizer.state.values() for value in entry.values()]
    sizes = {
        'weights': _bytes(_tensors(trained)),
        'gradients': _bytes(p.grad for net in trained for p in net.parameters() if p.grad is not None),
        'optimizer state': _bytes(value for value in state if isinstance(value, Tensor)),
        'EMA': _bytes(_tensors(averages)),
        'losses': _bytes(_tensors(m for name, m in modules.items() if name.startswith('cri_'))),
    }
    if hasattr(model, 'contrast'):
        term = model.contrast.term
        sizes['negatives'] = 0 if term.bank is None else _bytes(_tensors([term.bank]))
        sizes['extractor'] = _bytes(_tensors([term.loss])) if owns_extractor(term.loss) else 0
    return {name: size for name, size in sizes.items() if size}


def _tensors(modules: Iterable[nn.Module]) -> Iterable[Tensor]:
    return (tensor for module in modules for tensor in [*module.parameters(), *module.buffers()])


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _of_process(name: str) -> int | None:
    if not STATUS.exists():
        return None
    found = next((line for line in STATUS.read_text().splitlines() if line.startswith(f'{name}:')), None)
    return int(found.split()[1]) * 1024 if found else None
