"""Stages *files* and *feature extractor*: what must be on the disk before training starts."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import basicsr.train

from mcir_plugin.hosts.basicsr.check.context import Context
from mcir_plugin.hosts.basicsr.check.findings import Section, quiet
from mcir_plugin.hosts.basicsr.extractor import require_extractor
from mcir_plugin.hosts.basicsr.settings import find

STOCK_LISTS = 'basicsr/data/meta_info'
REPOSITORY = 'https://github.com/XPixelGroup/BasicSR/tree/master/'


def check_files(context: Context, section: Section) -> None:
    """Look for data folders, lists of images, the state to resume, and a writable place for experiments."""
    for text in (*_folders(context.opt, context.root), *_lists(context.opt, context.root)):
        section.problem(text)
    with section.guard('path.resume_state'):
        _load_state(context, section)
    for text in _unwritable(context):
        section.problem(text)


def check_extractor(context: Context, section: Section) -> None:
    """Load the weights of the SPN loss's feature extractor, which are downloaded if they are nowhere."""
    if context.contrast is None:
        section.say('not looked for, see options above' if context.contrast_unread else
                    'none: the option file has no train.spn_opt')
        return
    section.say(require_extractor(context.contrast.spn, context.opt))


def experiment_folders(context: Context) -> list[Path]:
    """Return the folders that a new run makes, and moves aside if they exist."""
    opt = context.opt
    folders = [Path(opt['path']['experiments_root'])]
    if opt['logger'].get('use_tb_logger') and 'debug' not in opt['name']:
        folders.append(Path(context.root, 'tb_logger', opt['name']))
    return folders


def _folders(opt: dict[str, Any], root: str) -> Iterator[str]:
    for where, value in find(opt, 'datasets.*.dataroot_*'):
        for folder in value if isinstance(value, list) else [value]:
            if folder is not None and not Path(str(folder)).is_dir():
                yield f'{where}: there is no folder {str(folder)!r} (looked for from {root}). Correct the path'


def _lists(opt: dict[str, Any], root: str) -> Iterator[str]:
    names = ('meta_info_file', 'meta_info', 'pair_list')
    for where, name in (found for option in names for found in find(opt, f'datasets.*.{option}')):
        if name is None or Path(str(name)).is_file():
            continue
        text = f'{where}: there is no file {str(name)!r} (looked for from {root})'
        if STOCK_LISTS in str(name):
            text += ('. The wheel of BasicSR on the package index does not carry its lists; take '
                     f'{Path(name).name} from {REPOSITORY}{STOCK_LISTS}')
        yield text


def _load_state(context: Context, section: Section) -> None:
    """Load the state that training would continue from; its networks become the ones to load."""
    with quiet():
        context.resume_state = state = basicsr.train.load_resume_state(context.opt)
    if state is None:
        return
    file = context.opt['path']['resume_state']
    section.say(f'state to resume: {file}')
    if state['iter'] >= context.opt['train']['total_iter']:
        section.warn(f'{file} was saved at iteration {state["iter"]}: nothing is left to train')


def _unwritable(context: Context) -> Iterator[str]:
    for folder in experiment_folders(context):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(existing, os.W_OK):
            yield f'{existing}: training writes to {folder}, but this folder is not writable'
