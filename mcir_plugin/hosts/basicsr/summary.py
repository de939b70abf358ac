"""What the log says: the attachment at the start, the terms of each step."""
from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from mcir_plugin.config import ContrastConfig
from mcir_plugin.hosts.criterion import StepContrast


@contextmanager
def quiet() -> Iterator[None]:
    """Keep BasicSR's logger below warnings silent: N copies need no N lines."""
    logger = get_root_logger()
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


def log_attachment(model: Any, criterion: str, config: ContrastConfig) -> None:
    """Say in a few lines what was attached and what it costs."""
    get_root_logger().info('Model-contrastive training (MCIR):\n\t' + '\n\t'.join(describe(model, criterion, config)))


def describe(model: Any, criterion: str, config: ContrastConfig) -> list[str]:
    """Return the lines of the plan: criterion, history, schedule, extractor, memory, forward passes."""
    bank, loss = model.contrast.term.bank, model.contrast.term.loss
    spn, history = config.spn, config.history
    drawn = bank.draw.count
    joined = type(getattr(model, criterion).criterion).__name__
    return [
        f'joins: {criterion} ({joined}); total = {joined} - {spn.loss_weight:g} * mean distance to the negatives',
        f'history: {bank.num_negatives} past copies of {type(bank.network).__name__}, refresh {_refresh(history)}, '
        f'decay {_short(history.decay)}, init_noise {history.init_noise:g}',
        f'per step: {drawn} of {bank.num_negatives} negatives, every {history.interval} iteration(s), after iteration '
        f'{history.start_iter}, warm-up {history.warmup_iter}, max_ratio {history.max_ratio}',
        f'extractor: {spn.vgg_type}, weights {spn.vgg_weights or "found"}, layers '
        + ', '.join(f'{name} {weight:g}' for name, weight in spn.layer_weights.items())
        + f', criterion {spn.criterion}',
        f'extra memory: {_megabytes(bank):.1f} MB of copies, {_megabytes(loss):.1f} MB of extractor',
        f'extra passes per scored step: {drawn} forwards of the network and {drawn} of the extractor without gradient, '
        '1 forward and backward of the extractor',
    ]


def split_losses(loss_dict: dict[str, Tensor], joined: str | None, contrast: StepContrast,
                 with_distances: bool) -> dict[str, Tensor]:
    """Return the loss dict with the criterion's own value under its name and the term under ``l_spn``.

    Args:
        loss_dict (dict[str, Tensor]): As the model collected it; ``joined`` holds criterion plus term.
        joined (str | None): Name under which the model logs the composite's value, None if it does not.
        contrast (StepContrast): The running step.
        with_distances (bool): Add the negatives' distances ``spn/dist_k``, k counted from 1.
    """
    split = OrderedDict(loss_dict)
    if not contrast.paired:
        return split
    value, record = contrast.value.detach(), contrast.term.record
    if joined is not None:
        split[joined] = value
    split['l_spn'] = torch.zeros_like(value) if record.term is None else record.term.to(value)
    if with_distances:
        split.update({f'spn/dist_{k + 1}': record.distances[k].to(value) for k in sorted(record.distances)})
    return split


def is_same(logged: Any, total: Tensor | None) -> bool:
    """Return whether a logged value is the joined total, itself or detached: both share their memory."""
    return isinstance(logged, Tensor) and total is not None and logged.data_ptr() == total.data_ptr()


def ages(contrast: StepContrast) -> dict[str, float]:
    """Return ``spn/age_k``: iterations since negative k was refreshed."""
    return {f'spn/age_{k + 1}': float(age) for k, age in enumerate(contrast.term.bank.ages(contrast.step))}


def _refresh(history: Any) -> str:
    params = {k: v for k, v in history.refresh.items() if k != 'type'}
    every = f' every {_short(history.update_iter)} iterations' if history.update_iter else ''
    return f'{history.refresh["type"]}{every}' + (f' {params}' if params else '')


def _short(values: tuple[float, ...]) -> str:
    return f'{values[0]:g}' if len(set(values)) == 1 else ', '.join(f'{v:g}' for v in values)


def _megabytes(module: nn.Module) -> float:
    return sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()]) / 2**20
