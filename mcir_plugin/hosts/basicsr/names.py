"""Everything that is looked up by name, and the arguments that go with it."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import basicsr.archs
import basicsr.data
import basicsr.losses
import basicsr.metrics
import basicsr.models  # noqa: F401  (each import fills a registry)
import torch
from basicsr.models import lr_scheduler
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
    Registry,
)

from mcir_plugin.config.errors import did_you_mean, show
from mcir_plugin.hosts.basicsr.settings import find

OWN_BLOCKS = ('train.spn_opt', 'train.history_opt')  # read strictly already
METRIC_INPUTS = {'img': None, 'img2': None}
SCHEDULERS = {'MultiStepLR': lr_scheduler.MultiStepRestartLR, 'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
              'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR}


def name_problems(opt: Mapping[str, Any]) -> list[str]:
    """Return unknown names and arguments of model type, networks, losses, optimizers, data sets and metrics.

    Args:
        opt (Mapping): The options of the whole run, whose blocks are mappings.
    """
    found = [_unknown('model_type', opt['model_type'], MODEL_REGISTRY)] * (
        lookup(MODEL_REGISTRY, opt['model_type']) is None)
    found += [_unknown(f'{where}.type', block['type'], DATASET_REGISTRY) for where, block in find(opt, 'datasets.*')
              if block.get('type') and lookup(DATASET_REGISTRY, block['type']) is None]
    return [*found, *_losses(opt), *_networks(opt), *_metrics(opt), *_optimizers(opt), *_schedulers(opt)]


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
        yield _unknown(f'{where}.type', name, registry)
        return
    yield from _arguments(found, {**_without_type(block), **(given or {})}, where)


def lookup(registry: Registry, name: Any) -> Any:
    """Return what is registered under a name, None if nothing is; BasicSR tries a second spelling."""
    known = dict(iter(registry))  # a Registry has keys(), but no [name]
    return known.get(str(name)) or known.get(f'{name}_basicsr')


def _losses(opt: Mapping[str, Any]) -> Iterator[str]:
    for where, block in find(opt, 'train.*_opt'):
        if where not in OWN_BLOCKS and isinstance(block, Mapping) and 'type' in block:
            yield from misfits(LOSS_REGISTRY, block, where)


def _networks(opt: Mapping[str, Any]) -> Iterator[str]:
    for where, block in find(opt, 'network_*'):
        yield from misfits(ARCH_REGISTRY, block, where)


def _metrics(opt: Mapping[str, Any]) -> Iterator[str]:
    for where, block in find(opt, 'val.metrics.*'):
        found = lookup(METRIC_REGISTRY, block.get('type'))
        taken = inspect.signature(found).parameters if found else METRIC_INPUTS
        given = {name: None for name in METRIC_INPUTS if name in taken}
        yield from misfits(METRIC_REGISTRY, block, where, given)


def _optimizers(opt: Mapping[str, Any]) -> Iterator[str]:
    for where, block in find(opt, 'train.optim_*'):
        found = getattr(torch.optim, str(block.get('type')), None) if block else None
        if isinstance(found, type):
            yield from _arguments(found, {**_without_type(block), 'params': None}, where)


def _schedulers(opt: Mapping[str, Any]) -> Iterator[str]:
    block = (opt.get('train') or {}).get('scheduler') or {}
    found = SCHEDULERS.get(str(block.get('type')))
    if found:
        yield from _arguments(found, {**_without_type(block), 'optimizer': None}, 'train.scheduler')


def _without_type(block: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != 'type'}


def _arguments(found: Callable[..., Any], given: Mapping[str, Any], where: str) -> Iterator[str]:
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


def _unknown(where: str, name: Any, registry: Registry) -> str:
    known = [key.removesuffix('_basicsr') for key, _ in registry]
    return (f'{where}: received {show(name)}, but nothing of this name is registered{did_you_mean(name, known)}. '
            'If another package brings it, name the modules that register it, for example imports: [hat.archs, '
            'hat.models]')
