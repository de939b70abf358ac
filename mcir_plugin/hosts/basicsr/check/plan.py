"""Stage *plan*: what a training run with these options would do."""
from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from basicsr.utils import sizeof_fmt

from mcir_plugin.config import read_retention
from mcir_plugin.hosts.basicsr import compat
from mcir_plugin.hosts.basicsr.check.context import Context
from mcir_plugin.hosts.basicsr.check.files import experiment_folders
from mcir_plugin.hosts.basicsr.check.findings import Section
from mcir_plugin.hosts.basicsr.compat.imports import MISSING


def show_plan(context: Context, section: Section) -> None:
    """Say what will run on what, for how long, and where the results go."""
    section.say(f'model: {context.opt["model_type"]} with {context.opt["network_g"]["type"]}, '
                f'{_device(context)}')
    for line in (*_training(context), *_validation(context)):
        section.say(line)
    for line in (context.spn.attachment if context.spn else ['contrastive term: none, train.spn_opt is not given']):
        section.say(line)
    _checkpoints(context, section)
    _folders(context, section)
    section.say(f'compatibility patches in force: {", ".join(_patches())}')


def _device(context: Context) -> str:
    gpus = context.opt['num_gpu']
    device = 'on the CPU' if gpus == 0 else f'on {gpus} GPU(s)'
    return f'{device}, {context.processes} process(es)'


def _training(context: Context) -> Iterator[str]:
    block, train = context.opt['datasets']['train'], context.opt['train']
    ratio, batch = block.get('dataset_enlarge_ratio', 1), block['batch_size_per_gpu']
    total, images = int(train['total_iter']), context.images['train']
    per_epoch = math.ceil(images * ratio / (batch * context.processes))
    yield f'training set: {block["name"]}, {images:,} images, dataset_enlarge_ratio {ratio}, batch {batch} per process'
    yield f'length: {total:,} iterations, {math.ceil(total / per_epoch):,} epochs of {per_epoch:,}'
    yield f'optimizer {_words(train.get("optim_g"))}; scheduler {_words(train.get("scheduler"))}'


def _words(block: dict | None) -> str:
    return ', '.join(f'{name} {value}' for name, value in (block or {}).items() if name != 'type').join(
        [f'{(block or {}).get("type")} (', ')'])


def _validation(context: Context) -> Iterator[str]:
    sets = [f'{block["name"]} ({context.images[phase]:,} images)' for phase, block in context.opt['datasets'].items()
            if block['phase'] != 'train']
    val = context.opt.get('val')
    if not (sets and val):
        yield 'validation: none'
        return
    metrics = ', '.join(val.get('metrics') or ()) or 'no metrics'
    yield f'validation: every {val["val_freq"]:g} iterations on {", ".join(sets)}; {metrics}'


def _checkpoints(context: Context, section: Section) -> None:
    every = context.opt['logger']['save_checkpoint_freq']
    each, count = (context.spn or context.plain).saved, kept_checkpoints(context.opt)
    folder = next(path for path in experiment_folders(context)[0].parents if path.exists())
    free = shutil.disk_usage(folder).free
    section.say(f'checkpoints: every {every:g} iterations, {count} of about {sizeof_fmt(each)} (estimate) are kept')
    if each * count > free:
        section.warn(f'{count} checkpoints need about {sizeof_fmt(each * count)}, but {sizeof_fmt(free)} are free in '
                     f'{folder}. Free space, save less often (logger.save_checkpoint_freq), or keep fewer '
                     '(logger.keep_last)')


def kept_checkpoints(opt: Mapping[str, Any]) -> int:
    """Return how many checkpoints lie there at the end; the final weights, ``net_g_latest``, count as one more."""
    every, keep = int(opt['logger']['save_checkpoint_freq']), read_retention(opt)
    written = int(opt['train']['total_iter']) // every
    if keep.keep_last is None or written <= keep.keep_last:
        return written + 1
    older = written - keep.keep_last
    return keep.keep_last + (older * every // math.lcm(every, keep.keep_every) if keep.keep_every else 0) + 1


def _folders(context: Context, section: Section) -> None:
    experiment = experiment_folders(context)[0]
    section.say(f'experiment: {experiment}')
    state = context.resume_state
    if state is not None:
        section.say(f'resume: from iteration {state["iter"]}, {context.opt["path"]["resume_state"]}')
        return
    section.say('resume: no, ' + ('--auto_resume finds no training state' if context.args.auto_resume else
                                  'a new run begins'))
    for folder in experiment_folders(context):
        if folder.exists():
            _archiving(folder, section)


def _archiving(folder: Path, section: Section) -> None:
    text = f'{folder} exists: it will be renamed to {folder.name}_archived_<time>'
    states = [path.stem for path in folder.glob('training_states/*.state')]
    if states:
        section.warn(f'{text}. It holds {len(states)} training state(s), up to iteration '
                     f'{max(states, key=float)}: to continue that run, add --auto_resume')
    else:
        section.say(text)


def _patches() -> Iterator[str]:
    if getattr(sys.modules.get(MISSING), '__file__', None) is None and MISSING in sys.modules:
        yield f'module {MISSING}'
    for owner, name, _ in compat.patches():
        if hasattr(getattr(owner, name), 'mended_by_mcir'):
            yield f'{owner.__name__.removeprefix("basicsr.")}.{name}'
