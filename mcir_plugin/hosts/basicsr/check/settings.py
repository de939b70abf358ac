"""Options that BasicSR's training loop reads without checking: shape of the blocks, values of the numbers."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from mcir_plugin.config.kinds import Choice, Kind, Many, Maybe, NameOr, Number, Text
from mcir_plugin.hosts.basicsr.check.findings import Section

_ANY, _ABOVE_ZERO, _FROM_ZERO = Number(), Number(above=0), Number(minimum=0)
_COUNT, _COUNT_FROM_ZERO = Number(1, integer=True), Number(0, integer=True)

FILLED_BLOCKS = ('datasets.*', 'network_*', 'val.metrics.*')
BLOCKS = ('datasets', 'datasets.*.io_backend', 'path', 'train', 'train.optim_*', 'train.scheduler', 'train.*_opt',
          'val', 'val.metrics', 'logger', 'logger.wandb', 'dist_params')

REQUIRED = (  # (block, option): what the loop itself would miss, some of it only after hours
    ('datasets', 'train'),
    ('datasets.*', 'name'),
    ('datasets.*', 'type'),
    ('datasets.train', 'batch_size_per_gpu'),
    ('datasets.train', 'num_worker_per_gpu'),
    ('train', 'total_iter'),
    ('val', 'val_freq'),
    ('val', 'save_img'),
    ('val.metrics.*', 'type'),
    ('logger', 'print_freq'),
    ('logger', 'save_checkpoint_freq'),
    ('logger', 'use_tb_logger'),
)

VALUES: tuple[tuple[str, Kind], ...] = (
    ('name', Text()),
    ('model_type', Text()),
    ('network_*.type', Text()),
    ('datasets.*.type', Text()),
    ('train.*_opt.type', Text()),
    ('num_gpu', NameOr('auto', _COUNT_FROM_ZERO)),
    ('manual_seed', Maybe(Number(0, 2**32 - 1, integer=True))),
    ('scale', Maybe(_ABOVE_ZERO)),
    ('datasets.*.gt_size', Maybe(Many(_COUNT))),
    ('datasets.*.num_frame', Number(integer=True)),  # -1 for all of a clip
    ('datasets.train.batch_size_per_gpu', _COUNT),
    ('datasets.train.num_worker_per_gpu', _COUNT_FROM_ZERO),
    ('datasets.train.dataset_enlarge_ratio', _ABOVE_ZERO),
    ('datasets.train.num_prefetch_queue', Maybe(_COUNT)),
    ('datasets.train.prefetch_mode', Maybe(Choice(('cpu', 'cuda')))),
    ('train.total_iter', Number(1)),
    ('train.warmup_iter', _ANY),
    ('train.ema_decay', Number(0, 1)),
    ('train.net_d_iters', _ABOVE_ZERO),
    ('train.net_d_init_iters', _FROM_ZERO),
    ('train.optim_*.lr', _FROM_ZERO),
    ('train.optim_*.betas', Many(Number(minimum=0, below=1))),
    ('train.optim_*.weight_decay', _FROM_ZERO),
    ('train.optim_*.momentum', _FROM_ZERO),
    ('train.optim_*.eps', _FROM_ZERO),
    ('train.scheduler.milestones', Maybe(Many(_FROM_ZERO))),
    ('train.scheduler.periods', Many(_ABOVE_ZERO)),
    ('train.scheduler.restarts', Many(_FROM_ZERO)),
    ('train.scheduler.restart_weights', Many(_ANY)),
    ('train.scheduler.gamma', _ANY),
    ('train.scheduler.eta_min', _ANY),
    ('train.*_opt.perceptual_weight', _ANY),
    ('train.*_opt.style_weight', _ANY),
    ('train.pixel_opt.loss_weight', _ANY),
    ('train.gan_opt.loss_weight', _ANY),
    ('train.perceptual_opt.layer_weights.*', _ANY),
    ('val.val_freq', _ABOVE_ZERO),
    ('val.metrics.*.type', Text()),
    ('logger.print_freq', _ABOVE_ZERO),
    ('logger.save_checkpoint_freq', _ABOVE_ZERO),
)


def check_shape(opt: Mapping[str, Any], section: Section) -> bool:
    """Report blocks that are not mappings; returns whether all are."""
    wrong = [where for pattern in (*FILLED_BLOCKS, *BLOCKS) for where, value in find(opt, pattern)
             if not isinstance(value, Mapping) and (value is not None or pattern in FILLED_BLOCKS)]
    for where in wrong:
        section.problem(f'{where}: must be a mapping of options')
    return not wrong


def check_values(opt: Mapping[str, Any], section: Section) -> None:
    """Report options that the training loop would miss, and values that it could not use."""
    for block, option in REQUIRED:
        for where, value in find(opt, block):
            if value is not None and option not in value:
                section.problem(f'{where}.{option}: the option file must give it')
    for pattern, kind in VALUES:
        for where, value in find(opt, pattern):
            with section.guard():
                kind.parse(value, where)


def find(opt: Any, pattern: str, where: str = '') -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything that a pattern such as ``train.optim_*.lr`` meets."""
    first, _, rest = pattern.partition('.')
    for key, value in opt.items() if isinstance(opt, Mapping) else ():
        if fnmatchcase(str(key), first):
            path = f'{where}.{key}' if where else str(key)
            if rest:
                yield from find(value, rest, path)
            else:
                yield path, value
