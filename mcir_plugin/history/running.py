"""How a past copy is stored and how it is run: precision, device, memory layout."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mcir_plugin.history.copies import first_tensor


class Running:
    """Stores copies of one network and runs them.

    Copies stored in another precision or on another device than the network's are loaded, one at a time, into a network
    at full precision beside the one under training.

    Args:
        like (nn.Module): A copy as it was made, with the network's precision and device.
        build (Callable): Makes one more such network; called only where stored copies cannot run themselves.
        dtype (torch.dtype | str | None): Precision in which parameters are stored. None: the network's.
        device (torch.device | str | None): Where copies are stored. None: with the network.
        precision (torch.dtype | str | None): Precision in which copies run, under ``torch.autocast``. None: as stored.
        channels_last (bool): Run convolutions in the memory layout (N, H, W, C).

    Raises:
        ValueError: If a precision is no floating point type, or one that PyTorch cannot compute in on this device.
    """

    def __init__(self, like: nn.Module, build: Callable[[], nn.Module], dtype: torch.dtype | str | None,
                 device: torch.device | str | None, precision: torch.dtype | str | None, channels_last: bool) -> None:
        tensor = first_tensor(like)
        self.dtype = floating('dtype', dtype)
        self.device = device
        self.precision = computable('precision', precision, tensor.device)
        self.channels_last = channels_last
        self._type = tensor.device.type
        wanted = torch.empty(0, device=device or tensor.device).device  # 'cuda' becomes 'cuda:0', the current one
        runs_itself = self.dtype in (None, tensor.dtype) and wanted == tensor.device
        self._shared = None if runs_itself else self._laid_out(build().requires_grad_(False).eval())

    def store(self, copy: nn.Module) -> nn.Module:
        """Return the copy as it is kept."""
        for parameter in copy.parameters():
            if self.dtype and parameter.is_floating_point():
                parameter.data = parameter.data.to(self.dtype)
        return self._laid_out(copy.to(self.device) if self.device else copy)

    def run(self, copy: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what the stored copy makes of the inputs."""
        network = self._loaded(copy)
        if self.channels_last:
            inputs = tuple(map(_by_pixel, inputs))
        with self._autocast():
            return network(*inputs, **kwargs)

    def _loaded(self, copy: nn.Module) -> nn.Module:
        if self._shared is None:
            return copy
        targets = [*self._shared.parameters(), *self._shared.buffers()]
        for target, stored in zip(targets, [*copy.parameters(), *copy.buffers()], strict=True):
            target.copy_(stored, non_blocking=True)
        return self._shared

    def _laid_out(self, network: nn.Module) -> nn.Module:
        return network.to(memory_format=torch.channels_last) if self.channels_last else network

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._type, self.precision) if self.precision else nullcontext()


def floating(name: str, dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Return the floating point type of this name; anything else is a ValueError that begins with ``name``."""
    resolved = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not (isinstance(resolved, torch.dtype) and resolved.is_floating_point):
        raise ValueError(f"{name} must be 'float32', 'bfloat16' or 'float16'; received {dtype!r}.")
    return resolved


def computable(name: str, dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype | None:
    """Return the floating point type of this name, in which this version of PyTorch can convolve on the device.

    PyTorch 2.1 cannot in float16 on a CPU, where its autocast also falls back to float32 with no more than a warning.

    Raises:
        ValueError: Beginning with ``name``, if it cannot, or if it is no floating point type.
    """
    resolved = floating(name, dtype)
    try:
        if resolved is not None:
            tiny = torch.zeros(1, 1, 3, 3, dtype=resolved, device=device)
            nn.functional.conv2d(tiny, tiny)
    except RuntimeError as error:
        raise ValueError(f'{name}: PyTorch {torch.__version__} cannot compute in {dtype} on {device.type} ({error}). '
                         'Use bfloat16 or full precision.') from error
    return resolved


def _by_pixel(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value
