"""From a few measured steps to the time and the memory of a whole run, with and without the contrastive term."""
from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from basicsr.utils import sizeof_fmt
from torch import Tensor

from mcir_plugin.hosts.basicsr.check.context import Context
from mcir_plugin.hosts.basicsr.check.findings import Section

FULL = 0.9  # of a GPU's memory: more leaves too little for fragmentation and validation


def say_cost(context: Context, section: Section) -> None:
    """Report batch, losses, time and memory of the measured steps."""
    latest = context.spn or context.plain
    section.say('batch: ' + ', '.join(f'{name} {" x ".join(map(str, value.shape))}'
                                      for name, value in context.batch.items() if isinstance(value, Tensor)))
    section.say('losses of the last step: ' + ', '.join(f'{name} {value:.3e}' for name, value in latest.losses.items()
                                                        if name.startswith('l_')))
    for line in (*time_lines(context), *_memory_lines(context)):
        section.say(line)
    peak = latest.peak
    if context.opt['num_gpu'] != 0:
        total = torch.cuda.get_device_properties(0).total_memory
        if peak > FULL * total:
            section.warn(f'the steps take {peak / total:.0%} of the memory of the GPU; a validation may not fit')


def time_lines(context: Context) -> Iterator[str]:
    """Yield the time per step and of the whole run, in words."""
    plain, spn = context.plain, context.spn
    total = int(context.opt['train']['total_iter'])
    where = 'GPU' if context.opt['num_gpu'] != 0 else 'CPU'
    how = f'estimate from {max(1, len(plain.steps) - 1)} step(s) on this {where}, without data loading and validation'
    if spn is None:
        yield f'time per step: {plain.seconds:.3f} s, without SPN as the file asks ({how})'
        yield f'time of {total:,} iterations: {_duration(plain.seconds * total)} (estimate)'
        return
    label = _label(context)
    extra = max(0., spn.seconds - plain.seconds)  # anything else is noise
    mean = plain.seconds + extra / context.contrast.history.interval
    acting = acting_iterations(context.contrast.history, total)
    yield (f'time per step: {plain.seconds:.3f} s without {label}, {mean:.3f} s with {label}, ratio '
           f'{mean / plain.seconds:.2f} ({how})')
    yield (f'time of {total:,} iterations: {_duration(plain.seconds * total)} without {label}, '
           f'{_duration(plain.seconds * total + extra * acting)} with {label} (estimate)')


def _label(context: Context) -> str:
    """Return the name of the contrastive term for the report: SPN, CR, ..."""
    return context.contrast.spn.type.removesuffix('Loss') if context.contrast else 'SPN'


def acting_iterations(history: Any, total: int) -> int:
    """Return in how many of ``total`` iterations the contrastive term acts."""
    total = min(total, history.weight_schedule['end_iter'] or total)
    return total // history.interval - min(history.start_iter, total) // history.interval


def _memory_lines(context: Context) -> Iterator[str]:
    label = _label(context)
    kinds = [(f'without {label}', context.plain)] + ([(f'with {label}', context.spn)] if context.spn else [])
    where = 'GPU memory' if context.opt['num_gpu'] != 0 else 'process'
    if all(measured.peak is not None for _, measured in kinds):
        # a process may reuse what it has freed before, so its growth can be less than what the model holds
        peaks = ', '.join(f'{sizeof_fmt(max(m.peak, sum(m.parts.values())))} {kind}' for kind, m in kinds)
        yield f'memory: {peaks} (estimate, growth of the {where} at the peak of these steps)'
    for kind, measured in kinds:
        known = ', '.join(f'{name} {sizeof_fmt(size)}' for name, size in measured.parts.items())
        yield f'memory {kind} by owner: {sizeof_fmt(sum(measured.parts.values()))} ({known}), and activations on top'


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=max(1, round(seconds))))
