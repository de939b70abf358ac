"""From one option file to one resolved file per variant and seed; everything is checked before anything is trained."""
from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcir_plugin.config import ConfigError, apply_overrides, dump_options, load_options
from mcir_plugin.config.contrast import FLAT_NAMES, HISTORY_KEY, SPN_KEY
from mcir_plugin.config.errors import raise_if_any, show
from mcir_plugin.hosts.basicsr.check import reading
from mcir_plugin.hosts.basicsr.compare.validation import require_metrics
from mcir_plugin.hosts.basicsr.compare.variants import Blocks, resolve_variants


@dataclass(frozen=True)
class PlannedRun:
    """One training of a comparison.

    Attributes:
        variant (str): Its name.
        seed (int): Its ``manual_seed``.
        folder (Path): Its experiment folder.
        options (Path): Its resolved option file.
        opt (dict): What that file holds.
    """

    variant: str
    seed: int
    folder: Path
    options: Path
    opt: dict[str, Any]


def read_recipe_file(path: str, overrides: Iterable[str], imports: Iterable[str]) -> dict[str, Any]:
    """Return the options that all runs share, with ``--set`` and ``--import`` in them.

    Raises:
        ConfigError: If the file or an override cannot be used, or the file lacks what a comparison needs.
    """
    opt = load_options(path)
    try:
        apply_overrides(opt, overrides)
    except ConfigError as error:
        raise ConfigError(*(text.replace('--force_yml', '--set') for text in error.problems)) from error
    raise_if_any(f'{key}: received {show(opt.get(key))}, must be a mapping of options. A comparison trains by an '
                 'ordinary option file of basicsr train'
                 for key in ('train', 'val', 'datasets', 'path', 'network_g', 'logger')
                 if not isinstance(opt.get(key), Mapping))
    raise_if_any(_unusable(opt))
    require_metrics(opt)
    listed = opt.get('imports') or []
    opt['imports'] = [*([listed] if isinstance(listed, str) else listed), *imports]
    return opt


def plan_runs(opt: Mapping[str, Any], variants: list[str], seeds: list[int], folder: Path) -> list[PlannedRun]:
    """Return all runs, seed by seed, so that an interrupted comparison is complete for its first seeds.

    Args:
        opt (Mapping): What :func:`read_recipe_file` returned.
        variants (list[str]): As on the command line.
        seeds (list[int]): At least one, each once.
        folder (Path): Where the comparison lies.

    Raises:
        ConfigError: If a variant or a seed cannot be used.
    """
    raise_if_any(f'--seeds: {seed} is given twice. Give every seed once' for seed in sorted(set(seeds))
                 if seeds.count(seed) > 1)
    blocks = resolve_variants(variants, opt)
    return [_planned(opt, name, blocks[name], seed, folder) for seed in seeds for name in blocks]


def write_options(runs: list[PlannedRun]) -> None:
    """Write the option file of every run, after making sure that no run exists with other options.

    Raises:
        ConfigError: If one does; nothing is written then.
    """
    raise_if_any(problem for run in runs for problem in _changed(run))
    for run in runs:
        run.options.parent.mkdir(parents=True, exist_ok=True)
        partial = run.options.with_name(f'.{run.options.name}.{os.getpid()}.part')
        partial.write_text(dump_options(run.opt), encoding='utf-8')
        os.replace(partial, run.options)


def _unusable(opt: Mapping[str, Any]) -> Iterator[str]:
    name, gpus = opt.get('name'), opt.get('num_gpu')
    if not isinstance(name, str) or not name or os.sep in name:
        yield f'name: received {show(name)}, must be the name of the experiment'
    if isinstance(gpus, int) and gpus > 1:
        yield (f'num_gpu: received {gpus}, but a comparison trains every run on one GPU, where basicsr train has '
               f'batches of {gpus} times batch_size_per_gpu. Give --set num_gpu=1 and, to keep the batch, multiply '
               f'datasets:train:batch_size_per_gpu by {gpus}; --gpus spreads runs over GPUs')
    for key in (SPN_KEY, HISTORY_KEY):
        if not isinstance(opt['train'].get(key), Mapping | None):
            yield f'train.{key}: received {show(opt["train"][key])}, must be a mapping of options'
    if opt['path'].get('resume_state'):
        yield ('path.resume_state: a comparison trains every run from its start. Remove it; to start from given '
               'weights use path.pretrain_network_g')
    for where, block in (('train', opt['train']), *((f'train.{key}', opt['train'].get(key))
                                                     for key in (SPN_KEY, HISTORY_KEY))):
        for flat in FLAT_NAMES if isinstance(block, Mapping) else ():
            if flat in block:
                yield (f'{where}.{flat}: a comparison exchanges whole blocks. Write it as train.{HISTORY_KEY}.'
                       f'{FLAT_NAMES[flat]}')


def _planned(opt: Mapping[str, Any], variant: str, blocks: Blocks, seed: int, folder: Path) -> PlannedRun:
    own = reading.without_term(copy.deepcopy(dict(opt)))
    own['name'] = f'{opt["name"]}_{variant}_seed{seed}'
    own['manual_seed'] = seed
    own['num_gpu'] = 0 if opt.get('num_gpu') == 0 else 1
    own['path'] = {**own['path'], 'experiments_root': str(folder)}
    own['train'].update({key: copy.deepcopy(block) for key, block in blocks.items() if block is not None})
    return PlannedRun(variant, seed, folder / own['name'], folder / 'options' / f'{own["name"]}.yml', own)


def _changed(run: PlannedRun) -> Iterator[str]:
    if not run.options.is_file():
        return
    before = load_options(run.options)
    if before != load_text(run.opt):
        differing = ', '.join(differing_keys([before, run.opt])[:5])
        yield (f'{run.options}: this run was started with other options ({differing}). Undo the change, or choose '
               'another folder with --output; nothing was trained or overwritten')


def load_text(opt: Mapping[str, Any]) -> Any:
    """Return options as they are read back from a file: tuples as lists, and so on."""
    with tempfile.TemporaryDirectory(prefix='mcir_') as folder:
        path = Path(folder, 'options.yml')
        path.write_text(dump_options(opt), encoding='utf-8')
        return load_options(path)


def differing_keys(opts: list[Mapping[str, Any]]) -> list[str]:
    """Return the paths of the options, such as ``train.total_iter``, that are not the same in all."""
    flat = [dict(_flat(opt, '')) for opt in opts]
    missing = object()
    return [key for key in dict.fromkeys(key for one in flat for key in one)
            if any(one.get(key, missing) != flat[0].get(key, missing) for one in flat)]


def _flat(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        yield where, value
        return
    for key, item in value.items():
        yield from _flat(item, f'{where}.{key}' if where else str(key))
