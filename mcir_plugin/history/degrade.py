"""One past network, N inputs: negatives from degraded copies of the input."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mcir_plugin.history.degradations import DEGRADATIONS, Draws, Strengths


class Degrade:
    """Makes the inputs of N negatives, which one past network turns into negatives, from one input.

    DCKD (AAAI 2025, arXiv 2412.08939) does so with N = 5: the input itself and four noisy versions of it, clipped to
    the image range. See :mod:`mcir_plugin.history.degradations` for the kinds, and for what is ours.

    Every step draws anew. The state is one generator on the CPU, seeded alike on all ranks, from which each degraded
    copy takes what decides shapes, and a seed; to the seed the rank is added. So all ranks do the same work, their
    noise is independent, and the state of one of them, on whatever device, restores all.

    Args:
        type (str): ``noise``, ``blur``, ``resize`` or ``mix`` (all three). Default: ``noise``.
        num_negatives (int): N. Default: 5, published.
        seed (int): Seed of the generator. Default: 0.
        with_input (bool): The first of the N is the input itself. Default: True, as released.
        clip (bool): Clip degraded images to [0, 1]; switch it off where inputs are normalised differently.
            Default: True, as released.
        **strengths (Any): See :class:`Strengths`.

    Raises:
        ValueError: If the type is unknown, a value is out of range, or nothing would be degraded.
        TypeError: If a strength is unknown.
    """

    def __init__(self, type: str = 'noise', num_negatives: int = 5, seed: int = 0, with_input: bool = True,
                 clip: bool = True, **strengths: Any) -> None:
        if type not in DEGRADATIONS:
            raise ValueError(f'degrade must be one of {", ".join(DEGRADATIONS)}; received {type!r}.')
        if num_negatives < 1 + with_input:
            raise ValueError(f'degrade needs num_negatives of at least {1 + with_input}; received {num_negatives}.')
        self.function = DEGRADATIONS[type]
        self.num_negatives, self.with_input, self.clip = num_negatives, with_input, clip
        self.strengths = Strengths(**{name: tuple(value) if isinstance(value, (list, tuple)) else value
                                      for name, value in strengths.items()})
        self.generator = torch.Generator().manual_seed(seed)

    def inputs(self, index: int, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict]:
        """Return the arguments with which the network makes negative ``index``: the first image is degraded.

        Args:
            index (int): 0 to N - 1, in this order.
            inputs (tuple): Positional arguments of the network.
            kwargs (Mapping): Its keyword arguments.

        Raises:
            ValueError: If there is no image among them.
        """
        if index == 0 and self.with_input:
            return inputs, dict(kwargs)
        named = {**dict(enumerate(inputs)), **kwargs}
        key = next((key for key, value in named.items() if _is_image(value)), None)
        if key is None:
            raise ValueError('degrade found no image among the inputs of the network: a floating point tensor of shape '
                             '(N, C, H, W) or (N, T, C, H, W).')
        named[key] = self(named[key])
        return tuple(named.pop(i) for i in range(len(inputs))), named

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Return a degraded copy of an image of shape (N, C, H, W) or (N, T, C, H, W)."""
        seed = int(torch.randint(2**62, (), generator=self.generator)) + _rank()
        draws = Draws(self.generator, torch.Generator(image.device).manual_seed(seed))
        with torch.autocast(image.device.type, enabled=False):
            degraded = self.function(image.flatten(0, -4), draws, self.strengths).reshape(image.shape)
        return degraded.clamp(0, 1) if self.clip else degraded

    def get_state(self) -> Tensor:
        """Return the state of the generator, a uint8 tensor."""
        return self.generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Restore the state of the generator."""
        self.generator.set_state(state.cpu())


def build_degrade(degrade: str | Mapping[str, Any] | Degrade | None, num_negatives: int | None,
                  seed: int) -> Degrade | None:
    """Build a degradation from a name or a mapping with ``type``; None and instances pass through.

    Args:
        degrade (str | Mapping | Degrade | None): ``noise``, ``{'type': 'noise', 'noise_sigma': (1, 30)}``, ...
        num_negatives (int | None): N. Default: 5.
        seed (int): Seed of the generator.
    """
    if degrade is None or isinstance(degrade, Degrade):
        return degrade
    params = {'type': degrade} if isinstance(degrade, str) else dict(degrade)
    return Degrade(num_negatives=5 if num_negatives is None else num_negatives, seed=seed, **params)


def _is_image(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() >= 4 and value.is_floating_point()


def _rank() -> int:
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if ready else 0
