"""Names that BasicSR looks up in its registries, and the arguments that go with them."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from basicsr.utils.registry import Registry

from mcir_plugin.config.errors import did_you_mean, show


def misfits(registry: Registry, block: Any, where: str, given: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yield what is wrong with a block that names a class or function and its arguments.

    Args:
        registry (Registry): Where BasicSR looks the name up.
        block (Mapping): ``type`` and the arguments.
        where (str): Option path of the block.
        given (Mapping | None): Arguments that BasicSR adds.
    """
    name = block.get('type')
    found = lookup(registry, name)
    if found is None:
        yield unknown(f'{where}.type', name, registry)
        return
    yield from argument_misfits(found, {**{k: v for k, v in block.items() if k != 'type'}, **(given or {})}, where)


def lookup(registry: Registry, name: Any) -> Any:
    """Return what is registered under a name, None if nothing is; BasicSR tries a second spelling."""
    known = dict(iter(registry))  # a Registry has keys(), but no [name]
    return known.get(str(name)) or known.get(f'{name}_basicsr')


def argument_misfits(found: Callable[..., Any], given: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield arguments that a class or function does not take, and those that it needs and does not get."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # written in C, or with a signature of its own making
        return
    taken = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    open_ended = any(p.kind == p.VAR_KEYWORD for p in parameters)
    for name in given:
        if name not in taken and not open_ended:
            yield (f'{where}.{name}: {found.__name__} takes no such argument{did_you_mean(name, taken)}. '
                   f'It takes {", ".join(taken)}')
    for p in parameters:
        if p.name in taken and p.default is p.empty and p.name not in given:
            yield f'{where}.{p.name}: {found.__name__} needs it'


def unknown(where: str, name: Any, registry: Registry) -> str:
    """Return what is wrong with a name that is not registered."""
    known = [key.removesuffix('_basicsr') for key, _ in registry]
    return (f'{where}: received {show(name)}, but nothing of this name is registered{did_you_mean(name, known)}. '
            'If another package brings it, name the modules that register it, for example imports: [hat.archs, '
            'hat.models]')
