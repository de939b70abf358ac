"""What BasicSR's own options may be. BasicSR reads them without checking, some of them only after hours.

A pattern such as ``train.optim_*.lr`` meets every option of this path that the file gives; a mapping is met as a whole
by a pattern without its last part. What other packages add is not listed and passes.
"""
from __future__ import annotations

from mcir_plugin.config.kinds import Choice, Fixed, Flag, Kind, Many, Maybe, NameOr, Number, Text
from mcir_plugin.config.path_kinds import FileName, FilePath
from mcir_plugin.data.options import FileTemplate

_ANY, _ABOVE_ZERO, _FROM_ZERO, _SHARE = Number(), Number(above=0), Number(minimum=0), Number(0, 1)
_COUNT, _COUNT_FROM_ZERO = Number(1, integer=True), Number(0, integer=True)
_PATH = Maybe(FilePath())
_REDUCTION = Choice(('mean', 'sum'))  # with none there is no number to minimise

TRAINING, TEST = ('train', 'val'), ('test', 'val')  # how the names of data sets begin, by command
BLOCKS_NEEDED = ('datasets', 'network_g', 'path')
BLOCKS_NEEDED_IN_TRAINING = ('train', 'logger')
NAMES_NEEDED = ('name', 'model_type')
FILLED_BLOCKS = ('datasets.*', 'network_*', 'val.metrics.*')
BLOCKS = ('datasets', 'datasets.*.io_backend', 'path', 'train', 'train.optim_*', 'train.scheduler', 'train.*_opt',
          'val', 'val.metrics', 'logger', 'logger.wandb', 'dist_params')

REQUIRED = (  # (block, option)
    ('datasets.*', 'name'),
    ('datasets.*', 'type'),
    ('datasets.*.io_backend', 'type'),
    ('network_*', 'type'),
    ('val.metrics.*', 'type'),
)
REQUIRED_IN_TRAINING = (
    ('datasets', 'train'),
    ('datasets.train', 'batch_size_per_gpu'),
    ('datasets.train', 'num_worker_per_gpu'),
    ('train', 'total_iter'),
    ('train', 'optim_g'),
    ('train', 'scheduler'),
    ('train.optim_*', 'type'),
    ('train.optim_*', 'lr'),
    ('train.scheduler', 'type'),
    ('val', 'val_freq'),
    ('val', 'save_img'),
    ('logger', 'print_freq'),
    ('logger', 'save_checkpoint_freq'),
    ('logger', 'use_tb_logger'),
)

VALUES: tuple[tuple[str, Kind], ...] = (
    ('name', FileName('the name of the run')),
    ('model_type', Text()),
    ('num_gpu', NameOr('auto', Number(0, 4096, integer=True))),
    ('manual_seed', Maybe(Number(0, 2**32 - 1, integer=True))),
    ('scale', Maybe(_ABOVE_ZERO)),
    ('find_unused_parameters', Flag()),
    ('dist_params.backend', Text()),
    ('dist_params.port', Number(1, 65535, integer=True)),
    ('network_*.type', Text()),
    ('datasets.*.name', FileName('the name of the data set')),
    ('datasets.*.type', Text()),
    ('datasets.*.dataroot_gt', _PATH),
    ('datasets.*.dataroot_lq', _PATH),
    ('datasets.*.meta_info_file', _PATH),
    ('datasets.*.io_backend.type', Choice(('disk', 'lmdb', 'memcached'))),
    ('datasets.*.io_backend.readonly', Fixed(True)),
    ('datasets.*.io_backend.lock', Fixed(False)),
    ('datasets.*.filename_tmpl', FileTemplate()),
    ('datasets.*.gt_size', Maybe(Many(_COUNT))),
    ('datasets.*.num_frame', Number(integer=True)),  # -1 for all of a clip
    ('datasets.*.mean', Maybe(Many(_ANY))),
    ('datasets.*.std', Maybe(Many(_ABOVE_ZERO))),
    ('datasets.*.color', Maybe(Text())),
    *((f'datasets.*.{name}', Flag()) for name in (
        'use_hflip', 'use_rot', 'use_shuffle', 'random_reverse', 'flip_sequence', 'cache_data', 'test_mode')),
    ('datasets.*.pin_memory', Flag()),
    ('datasets.*.persistent_workers', Flag()),
    ('datasets.train.batch_size_per_gpu', _COUNT),
    ('datasets.train.num_worker_per_gpu', Number(0, 512, integer=True)),
    ('datasets.train.dataset_enlarge_ratio', _ABOVE_ZERO),
    ('datasets.train.num_prefetch_queue', Maybe(_COUNT)),
    ('datasets.train.prefetch_mode', Maybe(Choice(('cpu', 'cuda')))),
    ('path.pretrain_network_*', _PATH),
    ('path.strict_load_*', Flag()),
    ('path.param_key_*', Maybe(Text())),
    ('path.resume_state', _PATH),
    ('path.experiments_root', _PATH),
    ('path.results_root', _PATH),
    ('train.total_iter', Number(1)),
    ('train.warmup_iter', _ANY),
    ('train.ema_decay', _SHARE),
    ('train.net_d_iters', _ABOVE_ZERO),
    ('train.net_d_init_iters', _FROM_ZERO),
    ('train.fix_flow', Maybe(_FROM_ZERO)),
    ('train.flow_lr_mul', _FROM_ZERO),
    ('train.dcn_lr_mul', _FROM_ZERO),
    ('train.tsa_iter', Maybe(_FROM_ZERO)),
    ('train.optim_*.type', Text()),
    ('train.optim_*.lr', _FROM_ZERO),
    ('train.optim_*.betas', Many(Number(minimum=0, below=1), alone=False, count=2)),
    ('train.optim_*.weight_decay', _FROM_ZERO),
    ('train.optim_*.momentum', _FROM_ZERO),
    ('train.optim_*.eps', _FROM_ZERO),
    ('train.scheduler.type', Text()),
    ('train.scheduler.milestones', Many(_FROM_ZERO, alone=False)),
    ('train.scheduler.periods', Many(_ABOVE_ZERO, alone=False)),
    ('train.scheduler.restarts', Many(_FROM_ZERO, alone=False)),
    ('train.scheduler.restart_weights', Many(_ANY, alone=False)),
    ('train.scheduler.gamma', _ANY),
    ('train.scheduler.eta_min', _ANY),
    ('train.*_opt.type', Text()),
    ('train.pixel_opt.loss_weight', _ANY),
    ('train.pixel_opt.reduction', _REDUCTION),
    ('train.gan_opt.loss_weight', _ANY),
    ('train.*_opt.perceptual_weight', _ANY),
    ('train.*_opt.style_weight', _ANY),
    ('train.perceptual_opt.layer_weights.*', _ANY),
    ('val.val_freq', _ABOVE_ZERO),
    ('val.save_img', Flag()),
    ('val.pbar', Flag()),
    ('val.suffix', Maybe(FileName('an ending of file names'))),
    ('val.metrics.*.type', Text()),
    ('val.metrics.*.crop_border', _COUNT_FROM_ZERO),
    ('val.metrics.*.test_y_channel', Flag()),
    ('val.metrics.*.better', Choice(('higher', 'lower'))),
    ('logger.print_freq', _ABOVE_ZERO),
    ('logger.save_checkpoint_freq', _ABOVE_ZERO),
    ('logger.use_tb_logger', Flag()),
    ('logger.wandb.project', Maybe(Text())),
    ('logger.wandb.resume_id', Maybe(Text())),
)
