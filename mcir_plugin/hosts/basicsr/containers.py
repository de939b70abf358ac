"""The parameters in a published weight file, however they are wrapped."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mcir_plugin.config.errors import did_you_mean, show
from mcir_plugin.errors import McirError

TOP = '.'  # the key of parameters that are not wrapped
PREFIXES = ('module.', '_orig_mod.')  # of DataParallel and of torch.compile
MAX_DEPTH = 3


class ContainerError(McirError, ValueError):
    """A file holds no parameters, or several sets and none was chosen."""


@dataclass(frozen=True)
class Parameters:
    """One set of parameters.

    Attributes:
        tensors (dict): By name, without prefixes.
        key (str): Where they lay, such as ``state_dict`` or ``model.state_dict``; ``.`` if they were not wrapped.
        prefix (str): What all names began with, such as ``module.``.
        left_out (list): Other entries, by name.
    """

    tensors: dict[str, Tensor]
    key: str
    prefix: str
    left_out: list[str]


def find_parameters(content: Any, key: str | None = None) -> Parameters:
    """Find the parameters in the content of a file.

    Args:
        content (Any): What ``torch.load`` returned.
        key (str | None): Which set; needed if there are several. Default: the only one.

    Raises:
        ContainerError: There are none, none of this key, or several and no key.
    """
    if not isinstance(content, Mapping):
        raise ContainerError(f'it holds a {type(content).__name__}, no mapping with parameters.')
    sets = parameter_sets(content)
    key = _chosen(sets, key, content)
    prefix = _common_prefix(sets[key])
    tensors = {name.removeprefix(prefix): tensor.detach().clone() for name, tensor in sets[key].items()}
    taken = sets[key] if key == TOP else (key.partition('.')[0], )
    return Parameters(tensors, key, prefix, [str(name) for name in content if name not in taken])


def parameter_sets(content: Mapping[Any, Any], where: str = '', depth: int = 0) -> dict[str, dict[str, Tensor]]:
    """Return every set of named tensors, by its key.

    Single tensors beside a set, such as a step or a random state, are told from parameters by their names: those of
    parameters have a point, except in networks of a single layer.
    """
    below = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Mapping)}
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in below.items() if depth < MAX_DEPTH else ():
        found.update(parameter_sets(value, f'{where}.{name}' if where else name, depth + 1))
    own = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if own and (not found or any('.' in name for name in own)):
        found[where or TOP] = own
    return found


def _chosen(sets: Mapping[str, Mapping[str, Tensor]], key: str | None, content: Mapping[Any, Any]) -> str:
    held = ', '.join(f'{name} ({len(tensors)} tensors)' for name, tensors in sets.items())
    if not sets:
        entries = ', '.join(show(name) for name in list(content)[:10])
        raise ContainerError(f'it holds no parameters, only {entries or "an empty mapping"}.')
    if key is not None and key not in sets:
        raise ContainerError(f'--key {key}: it holds no parameters of this key{did_you_mean(key, sets)}, but {held}.')
    if key is None and len(sets) > 1:
        raise ContainerError(f'it holds several sets of parameters: {held}. Choose one, such as --key {list(sets)[0]}.')
    return key or next(iter(sets))


def _common_prefix(names: Iterable[str]) -> str:
    """Return the wrappers' prefixes that every name has, in any number and order."""
    names, prefix = list(names), ''
    while step := next((p for p in PREFIXES if all(name.startswith(prefix + p) for name in names)), ''):
        prefix += step
    return prefix
