"""Building data sets and loaders: what BasicSR would notice late, never, or by an exception about something else."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any

import basicsr.train
from torch.utils.data import Dataset

from mcir_plugin.config.errors import raise_if_any
from mcir_plugin.data.bad_images import read_bad_image_options
from mcir_plugin.data.options import block_name
from mcir_plugin.hosts.basicsr.compat.swap import swapped
from mcir_plugin.hosts.basicsr.explain import explained
from mcir_plugin.hosts.basicsr.settings import find
from mcir_plugin.hosts.basicsr.watch.dataset import WatchedDataset
from mcir_plugin.hosts.basicsr.watch.errors import BadImageError
from mcir_plugin.hosts.basicsr.watch.ledger import Ledger

LARGEST_EPOCH = 10**8  # BasicSR keeps the order of an epoch in memory, at 40 bytes a sample


def watched(host_build: Callable[[dict[str, Any]], Dataset]) -> Callable[..., Dataset]:
    """Wrap ``build_dataset``: errors name the data set, it must hold images, and its samples are watched.

    Raises:
        McirError: (by the wrapped function) if the data set cannot be built or is empty.
    """

    @wraps(host_build)
    def build_dataset(dataset_opt: dict[str, Any], folder: Path | None = None) -> Dataset:
        where, is_train = block_name(dataset_opt), dataset_opt['phase'] == 'train'
        options = read_bad_image_options(dataset_opt, where, is_train)
        with explained(f'{where}{_roots(dataset_opt)}'):
            dataset = host_build(dataset_opt)
            count = len(dataset)
        if not count:
            raise BadImageError(f'{where}{_roots(dataset_opt)}: there are no images')
        path = folder / f'bad_images_{dataset_opt["phase"]}.txt' if folder else None
        return WatchedDataset(dataset, where, options, Ledger(path))

    return build_dataset


def loaders_with_steps(host_create: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Wrap ``create_train_val_dataloader``: bad images are listed in the run's folder, an epoch must have steps.

    Raises:
        McirError: (by the wrapped function) if there is nothing to train on.
    """

    @wraps(host_create)
    def create(opt: dict[str, Any], logger: Any) -> tuple[Any, ...]:
        build = partial(basicsr.train.build_dataset, folder=Path(opt['path']['experiments_root']))
        with swapped(basicsr.train, 'build_dataset', build), explained('datasets'):
            result = host_create(opt, logger)
        raise_if_any(epoch_problems(*result[:2]))
        return result

    return create


def epoch_problems(loader: Any, sampler: Any) -> Iterator[str]:
    """Yield why nothing would be trained in an epoch, or why its order does not fit into memory.

    Args:
        loader (DataLoader): Of the training set.
        sampler (EnlargedSampler): Its sampler.
    """
    if sampler.total_size > LARGEST_EPOCH:
        yield (f'datasets.train.dataset_enlarge_ratio: an epoch would have {sampler.total_size:,} samples, more than '
               f'{LARGEST_EPOCH:,}, whose order BasicSR keeps in memory. Use a smaller one')
    elif len(loader) == 0:
        yield (f'datasets.train.batch_size_per_gpu: an epoch has {len(sampler)} samples, fewer than a batch '
               f'({loader.batch_size}), and BasicSR drops incomplete batches: nothing would be trained. Use a smaller '
               'batch_size_per_gpu or a larger dataset_enlarge_ratio')


def absent_data(opt: Mapping[str, Any], root: str) -> Iterator[str]:
    """Yield folders and lists of images that do not exist.

    Args:
        opt (Mapping): The options of the whole run.
        root (str): Folder in which the command was started.
    """
    for phase, block in opt['datasets'].items():
        if (block.get('io_backend') or {}).get('type') == 'memcached':
            continue  # its paths are keys
        for where, value in [*find(block, 'dataroot_*'), *find(block, 'meta_info_file'), *find(block, 'pair_list')]:
            for path in value if isinstance(value, list) else [value]:
                if isinstance(path, str) and not os.path.exists(os.path.expanduser(path)):
                    yield (f'datasets.{phase}.{where}: there is no such file or folder: {path!r} (looked for from '
                           f'{root}). Correct the path; "basicsr check" says more')


def _roots(block: Mapping[str, Any]) -> str:
    roots = [str(value) for _, value in find(block, 'dataroot_*') if value]
    return f', {" and ".join(roots)}' if roots else ''
