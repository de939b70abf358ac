"""Whether saved parameters fit a network."""
from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from mcir_plugin.config.errors import listed


def differences(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield how saved parameters differ from a network's: missing, superfluous, of another shape."""
    missing, more = [k for k in own if k not in saved], [k for k in saved if k not in own]
    other = [f'{k} is {tuple(saved[k].shape)}, expected {tuple(own[k].shape)}' for k in own
             if k in saved and own[k].shape != saved[k].shape]
    if missing:
        yield f'{len(missing)} parameter(s) missing in the file: {listed(missing, 3)}'
    if more:
        yield f'{len(more)} unknown to the network: {listed(more, 3)}'
    if other:
        yield f'{len(other)} of another shape: {listed(other, 3)}'
