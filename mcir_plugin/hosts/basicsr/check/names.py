"""Stage *names*: everything that is looked up by name, and the arguments that go with it."""
from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import basicsr.archs
import basicsr.data
import basicsr.losses
import basicsr.metrics
import basicsr.models  # noqa: F401  (each import fills a registry)
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
)

from mcir_plugin.hosts.basicsr.check.context import Context
from mcir_plugin.hosts.basicsr.check.findings import Section, quiet
from mcir_plugin.hosts.basicsr.check.settings import find
from mcir_plugin.hosts.basicsr.lookup import lookup, misfits, unknown
from mcir_plugin.hosts.basicsr.model import with_history

OWN_BLOCKS = ('train.spn_opt', 'train.history_opt')  # read strictly already
METRIC_INPUTS = {'img': None, 'img2': None}


def check_names(context: Context, section: Section) -> None:
    """Report unknown names and arguments of model type, networks, losses, data sets and metrics."""
    opt = context.opt
    model = lookup(MODEL_REGISTRY, opt['model_type'])
    if model is None:
        section.problem(unknown('model_type', opt['model_type'], MODEL_REGISTRY))
    elif context.contrast:
        with section.guard(), quiet():
            with_history(model)
    for where, block in find(opt, 'datasets.*'):
        if block.get('type') and lookup(DATASET_REGISTRY, block['type']) is None:
            section.problem(unknown(f'{where}.type', block['type'], DATASET_REGISTRY))
    for text in (*_losses(opt), *_networks(opt), *_metrics(opt)):
        section.problem(text)


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
