"""What cannot be built or fed, and the checks that several networks need."""
from __future__ import annotations

from torch import Tensor

from mcir_plugin.errors import McirError


class ArchError(McirError, ValueError):
    """A network got an argument or an image that it cannot take."""


def check_integer(name: str, value: object, at_least: int = 1) -> int:
    """Return an argument that must be an integer.

    Raises:
        ArchError: It is none, or it is too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ArchError(f'{name} must be an integer >= {at_least}, received {value!r}.')
    return value


def check_image(x: Tensor, channels: int, network: str) -> None:
    """Refuse what is no batch of images with the channels of the network.

    Raises:
        ArchError: ``x`` is not of shape (N, channels, H, W).
    """
    if x.ndim != 4 or x.shape[1] != channels:
        raise ArchError(f'{network} takes images of shape (N, {channels}, H, W), received {tuple(x.shape)}.')
