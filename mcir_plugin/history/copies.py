"""Making frozen copies of a network: bare modules, fresh initialisations, exact buffers."""
from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn


def bare_network(network: nn.Module) -> nn.Module:
    """Return the network inside DataParallel, DistributedDataParallel and torch.compile wrappers."""
    while True:
        if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            network = network.module
        elif hasattr(network, '_orig_mod'):
            network = network._orig_mod
        else:
            return network


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block under a seed of its own; the random states of PyTorch's CPU, NumPy and Python stay as they were."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
        random.seed(seed)
        np.random.seed(seed % 2**32)
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])


def fresh_copy(network: nn.Module, factory: Callable[[], nn.Module] | None, seed: int) -> nn.Module:
    """Return a randomly initialised network of the same structure, on the same device.

    Args:
        network (nn.Module): The bare network.
        factory (Callable | None): Builds the network anew. None: a deep copy whose modules are re-initialised by their
            own ``reset_parameters``; parameters without such a method keep the values of ``network``.
        seed (int): Seed of the initialisation; global random states are left alone.

    Raises:
        TypeError: If the network cannot be deep-copied and no factory is given.
        ValueError: If the factory builds something else.
    """
    with seeded(seed):
        # on the CPU, whose generator is seeded: a GPU's differs between ranks and belongs to the run
        fresh = _deep_copy(network).cpu() if factory is None else factory()
        if factory is None:
            for module in fresh.modules():
                if hasattr(module, 'reset_parameters'):
                    module.reset_parameters()
    expected = {name: p.shape for name, p in network.named_parameters()}
    if expected != {name: p.shape for name, p in fresh.named_parameters()}:
        raise ValueError('The factory builds a network with other parameters than the one under training.')
    return fresh.to(first_tensor(network).device)


def _deep_copy(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except Exception as error:
        raise TypeError(f'{type(network).__name__} cannot be deep-copied ({error}). Give HistoryBank '
                        'factory=..., a function without arguments that builds the same network anew.') from error


def first_tensor(network: nn.Module) -> Tensor:
    """Return any parameter or buffer, or an empty CPU tensor for a network without either."""
    return next((t for group in (network.parameters(), network.buffers()) for t in group), torch.empty(0))


@torch.no_grad()
def first_copy(network: nn.Module, init_noise: float, factory: Callable[[], nn.Module] | None, seed: int) -> nn.Module:
    """Return init_noise * (a fresh initialisation) + (1 - init_noise) * network, for parameters that are trained."""
    copy = fresh_copy(network, factory, seed)
    for past, current in zip(copy.parameters(), network.parameters(), strict=True):
        if init_noise and current.requires_grad:
            past.mul_(init_noise).add_(current, alpha=1 - init_noise)
        else:
            past.copy_(current)
    copy_exactly(network, copy)
    return copy


@torch.no_grad()
def average(past: nn.Module, network: nn.Module, decay: float) -> None:
    """Apply past <- decay * past + (1 - decay) * network to parameters, in one pass; what is not averaged is copied."""
    old = averaged_parameters(past)
    if old:
        new = [c.to(p) for p, c in zip(old, averaged_parameters(network), strict=True)]
        torch._foreach_lerp_(old, new, 1 - decay)
    copy_exactly(network, past)


def averaged_parameters(network: nn.Module) -> list[Tensor]:
    """Return the parameters that can be averaged (floating point or complex), in a fixed order."""
    return [p.detach() for p in network.parameters() if p.is_floating_point() or p.is_complex()]


@torch.no_grad()
def copy_exactly(source: nn.Module, target: nn.Module) -> None:
    """Copy what is not averaged: buffers (BatchNorm statistics, index tables) and integer parameters.

    Under DistributedDataParallel BatchNorm statistics differ between ranks; rank 0's are taken, so that the copies
    stay equal on all ranks.
    """
    pairs = [(a, b) for a, b in zip(source.buffers(), target.buffers(), strict=True)]
    pairs += [(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True)
              if not (a.is_floating_point() or a.is_complex())]
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    for original, copied in pairs:
        value = original.detach().clone() if distributed else original
        if distributed:
            torch.distributed.broadcast(value, 0)
        copied.copy_(value)
