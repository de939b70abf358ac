"""Options that are fine alone, but not together: what fails at the end of an epoch, a period, or a whole run."""
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import torch

from mcir_plugin.config import ConfigError, read_contrast


def problems_together(opt: Mapping[str, Any]) -> list[str]:
    """Return combinations of options that would fail. Each option must be fine alone."""
    return [*_patches(opt), *_prefetching(opt), *_periods(opt), *_logging(opt), *_generator_steps(opt)]


def doubts_together(opt: Mapping[str, Any]) -> list[str]:
    """Return combinations of options that would do nothing."""
    return [*_milestones(opt), *_validation(opt)]


def _patches(opt: Mapping[str, Any]) -> Iterator[str]:
    scale, size = opt.get('scale'), _train_set(opt).get('gt_size')
    if isinstance(scale, int) and isinstance(size, int) and scale > 0 and size % scale:
        yield (f'datasets.train.gt_size: received {size}, must be a multiple of scale ({scale}), or network output and '
               f'ground truth differ in size. Use {size // scale * scale or scale}')


def _prefetching(opt: Mapping[str, Any]) -> Iterator[str]:
    train = _train_set(opt)
    if train.get('prefetch_mode') != 'cuda':
        return
    if train.get('pin_memory') is not True:
        yield 'datasets.train.prefetch_mode: cuda needs datasets.train.pin_memory: true'
    if not torch.cuda.is_available():
        yield 'datasets.train.prefetch_mode: cuda needs a GPU, and none is visible. Use cpu or ~'


def _periods(opt: Mapping[str, Any]) -> Iterator[str]:
    scheduler, total = _train(opt).get('scheduler') or {}, _train(opt).get('total_iter')
    periods = scheduler.get('periods')
    if isinstance(total, int) and isinstance(periods, list) and all(isinstance(p, int) for p in periods) and \
            sum(periods) < total - 1:
        yield (f'train.scheduler.periods: their sum is {sum(periods)}, but training goes on to total_iter {total}; '
               'BasicSR fails where the periods end. Make them as long as total_iter')


def _logging(opt: Mapping[str, Any]) -> Iterator[str]:
    logger = opt.get('logger') or {}
    named = 'debug' not in str(opt.get('name'))
    if logger.get('use_tb_logger') and named and find_spec('tensorboard') is None:
        yield 'logger.use_tb_logger: the package tensorboard is not installed. Install it, or write false'
    if (logger.get('wandb') or {}).get('project') is not None and named:
        if find_spec('wandb') is None:
            yield 'logger.wandb.project: the package wandb is not installed. Install it, or write project: ~'
        if logger.get('use_tb_logger') is not True:
            yield 'logger.wandb.project: BasicSR sends TensorBoard logs to wandb. Write use_tb_logger: true'


def _generator_steps(opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong where a GAN trains its generator in some iterations only, mostly those of the term."""
    every, contrast = _train(opt).get('net_d_iters'), None
    with suppress(ConfigError):  # what is wrong in the blocks is said elsewhere
        contrast = read_contrast(opt)
    if contrast is None or not isinstance(every, int) or every < 1:
        return
    common = math.gcd(every, contrast.history.interval)
    if common > 1:
        yield (f'train.history_opt.interval: received {contrast.history.interval}, but with train.net_d_iters {every} '
               f'the generator is trained in one of {every} iterations only, so that the weight would be {common} '
               f'times too large. Use an interval that has no divisor in common with {every}, such as 1')


def _milestones(opt: Mapping[str, Any]) -> Iterator[str]:
    total = _train(opt).get('total_iter')
    milestones = (_train(opt).get('scheduler') or {}).get('milestones')
    if isinstance(total, int) and isinstance(milestones, list):
        late = [m for m in milestones if isinstance(m, int) and m > total]
        if late:
            yield f'train.scheduler.milestones: {late} lie beyond total_iter {total} and have no effect'


def _validation(opt: Mapping[str, Any]) -> Iterator[str]:
    sets = [phase for phase in opt.get('datasets') or {} if str(phase).split('_')[0] == 'val']
    if sets and not opt.get('val'):
        yield f'datasets.{sets[0]}: never validated, since the option file has no val block'
    if opt.get('val') and not sets:
        yield 'val: there is nothing to validate, since datasets has no val'


def _train(opt: Mapping[str, Any]) -> Mapping[str, Any]:
    return opt.get('train') or {}


def _train_set(opt: Mapping[str, Any]) -> Mapping[str, Any]:
    return (opt.get('datasets') or {}).get('train') or {}
