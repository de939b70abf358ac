"""What the log says: the attachment at the start, the terms of each step."""
from __future__ import annotations

import io
import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from mcir_plugin.config import ContrastConfig, HistoryOptions
from mcir_plugin.history import HistoryBank
from mcir_plugin.hosts import extractor
from mcir_plugin.hosts.criterion import StepContrast
from mcir_plugin.losses import FeatureLoss


@contextmanager
def quiet() -> Iterator[None]:
    """Keep BasicSR's logger below warnings and what it prints silent: N copies need no N lines."""
    logger = get_root_logger()
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        with redirect_stdout(io.StringIO()):
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
    drawn = 0 if bank is None else bank.draw.count
    joined = type(getattr(model, criterion).criterion).__name__
    return [
        f'joins: {criterion} ({joined}); total = {joined} {loss.formula()}',
        _history(bank, history) if bank is not None else f'history: none, {spn.type} compares with other images',
        f'per step: {drawn} of {model.contrast.term.num_negatives} negatives, every {history.interval} iteration(s), '
        f'after iteration {history.start_iter}, warm-up {history.warmup_iter}, weight {_weight(history)}, '
        f'max_ratio {history.max_ratio}',
        *_uncertainty(history, joined),
        f'extractor: {extractor.describe(spn)}, layers '
        + ', '.join(f'{name} {weight:g}' for name, weight in spn.layer_weights.items())
        + f', criterion {spn.criterion}',
        f'extra memory: {0 if bank is None else _megabytes(bank):.1f} MB of copies, '
        f'{_megabytes(loss) if owns_extractor(loss) else 0:.1f} MB of extractor',
        f'extra passes per scored step: {drawn} forwards of the network and {drawn + loss.own_images} of the extractor '
        'without gradient, 1 forward and backward of the extractor',
    ]


def owns_extractor(loss: FeatureLoss) -> bool:
    """Return whether the extractor is there for the loss alone, and not a network that the model trains anyway."""
    return getattr(loss.extractor, 'frozen', True)


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


def gradients(contrast: StepContrast) -> dict[str, float]:
    """Return ``spn/grad_ratio``, the gradient of the term over that of what it joins, as it was measured last."""
    ratio = contrast.term.record.grad_ratio
    return {} if ratio is None else {'spn/grad_ratio': ratio.item()}


def ages(contrast: StepContrast) -> dict[str, float]:
    """Return ``spn/age_k``, iterations since past copy k was refreshed, and what the refresh rule has measured."""
    ages = {f'spn/age_{k + 1}': float(age) for k, age in enumerate(contrast.term.ages(contrast.step))}
    return {**ages, **{f'spn/{name}': value for name, value in contrast.term.measured().items()}}


def _history(bank: HistoryBank, history: HistoryOptions) -> str:
    return (f'history: {len(bank.copies)} past copies of {type(bank.network).__name__}{_inputs(history)}, refresh '
            f'{_refresh(history)}, decay {_short(history.decay)}, init_noise {history.init_noise:g}')


def _inputs(history: HistoryOptions) -> str:
    if history.degrade is None:
        return ''
    degraded = history.num_negatives - history.degrade['with_input']
    return f' on {history.num_negatives} inputs, {degraded} of them degraded by {history.degrade["type"]}'


def _weight(history: HistoryOptions) -> str:
    end = history.weight_schedule['end_iter']
    return history.weight_schedule['type'] + (f' until {end}' if end else '')


def _uncertainty(history: HistoryOptions, joined: str) -> Iterator[str]:
    if history.uncertainty is not None:
        yield (f'pixels: {joined} is weighted by the spread of the negatives, strength '
               f'{history.uncertainty["strength"]:g}')


def _refresh(history: HistoryOptions) -> str:
    params = {k: v for k, v in history.refresh.items() if k != 'type'}
    every = f' every {_short(history.update_iter)} iterations' if history.update_iter else ''
    return f'{history.refresh["type"]}{every}' + (f' {params}' if params else '')


def _short(values: tuple[float, ...]) -> str:
    return f'{values[0]:g}' if len(set(values)) == 1 else ', '.join(f'{v:g}' for v in values)


def _megabytes(module: nn.Module) -> float:
    return sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()]) / 2**20
