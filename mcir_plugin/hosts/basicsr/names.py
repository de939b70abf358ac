"""Everything of an option file that is looked up by name, and the arguments that go with it."""
from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
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
)

from mcir_plugin.hosts.basicsr.lookup import argument_misfits, lookup, misfits, unknown
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
    found = [unknown('model_type', opt['model_type'], MODEL_REGISTRY)] * (
        lookup(MODEL_REGISTRY, opt['model_type']) is None)
    found += [unknown(f'{where}.type', block['type'], DATASET_REGISTRY) for where, block in find(opt, 'datasets.*')
              if block.get('type') and lookup(DATASET_REGISTRY, block['type']) is None]
    return [*found, *_losses(opt), *_networks(opt), *_metrics(opt), *_optimizers(opt), *_schedulers(opt)]


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
            yield from argument_misfits(found, {**_without_type(block), 'params': None}, where)


def _schedulers(opt: Mapping[str, Any]) -> Iterator[str]:
    block = (opt.get('train') or {}).get('scheduler') or {}
    found = SCHEDULERS.get(str(block.get('type')))
    if found:
        yield from argument_misfits(found, {**_without_type(block), 'optimizer': None}, 'train.scheduler')


def _without_type(block: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != 'type'}
