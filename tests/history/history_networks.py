"""Small networks with one peculiarity each, and a seeded walk that stands for training."""
from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn


class Mixed(nn.Module):
    """A convolution, batch statistics, an index table and a buffer that is not saved: (N, 3, H, W) to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer('table', torch.arange(6).view(2, 3))
        self.register_buffer('on', torch.tensor(True))
        self.register_buffer('mask', torch.zeros(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.mask.view(1, 3, 1, 1)


class Tied(nn.Module):
    """Uses one weight twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


class Locked(nn.Linear):
    """Cannot be deep-copied."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.lock = threading.Lock()


class Compiled(nn.Module):
    """Wraps a network as ``torch.compile`` does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._orig_mod = network

    def forward(self, *args: Any) -> Any:
        return self._orig_mod(*args)


@torch.no_grad()
def walk(network: nn.Module, generator: torch.Generator) -> None:
    """Take one random step with all parameters and floating-point buffers, and count one up in the others."""
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            tensor += 0.05 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        elif tensor.dtype != torch.bool:
            tensor += 1


def values(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of all parameters and buffers, also of those that are not saved."""
    return {name: tensor.detach().clone() for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
