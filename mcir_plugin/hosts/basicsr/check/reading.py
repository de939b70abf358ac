"""Stage *options*: from the command line to the options that BasicSR's models receive."""
from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import basicsr.utils.options
import torch

from mcir_plugin.config import ConfigError, apply_overrides, dump_options, load_options, read_contrast
from mcir_plugin.hosts.basicsr import options
from mcir_plugin.hosts.basicsr.check.context import Context, place_among_processes
from mcir_plugin.hosts.basicsr.check.findings import Section, quiet
from mcir_plugin.hosts.basicsr.check.settings import check_shape, check_values
from mcir_plugin.hosts.basicsr.check.together import check_together

OWN_OPTIONS = ('spn_opt', 'history_opt', 'neg_iter', 'neg_decay', 'neg_start')


def read_options(context: Context, section: Section) -> None:
    """Read the option file and report everything that is wrong with it at once."""
    args = context.args
    raw = load_options(args.opt)
    apply_overrides(raw, args.force_yml)
    if check_shape(raw, section):
        check_values(raw, section)
        check_together(raw, section)
        raw = _read_own_blocks(context, raw, section)
        with section.guard():
            _resolve(context, raw, section)
    if place_among_processes(args.launcher)[1] is None:
        section.warn(f'--launcher {args.launcher} is given, but no launcher started this process: epochs, time and '
                     'memory are those of a single process')


def without_term(opt: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the same run as BasicSR would train it, without the contrastive term."""
    return {**opt, 'train': {name: value for name, value in opt['train'].items() if name not in OWN_OPTIONS}}


def _read_own_blocks(context: Context, raw: dict[str, Any], section: Section) -> dict[str, Any]:
    """Read the blocks of this package; where they are wrong, the rest is examined without them."""
    try:
        context.contrast = read_contrast(raw)
    except ConfigError as error:
        for problem in error.problems:
            section.problem(problem)
        context.contrast_unread = True
        return without_term(raw)
    return raw


def _resolve(context: Context, raw: dict[str, Any], section: Section) -> None:
    with quiet(), _written(raw) as path:
        given = {'opt': path, 'force_yml': [], 'launcher': 'none'}  # overrides are in, and nothing is distributed here
        args = argparse.Namespace(**{**vars(context.args), **given})
        resolved = options.resolve(args, True)
        notes = list(options.NOTES)
        options.NOTES.clear()
        opt = options.parse_resolved(basicsr.utils.options.parse_options, resolved, args, context.root)
    for note in notes:
        section.warn(note)
    context.opt = {**opt, 'root_path': context.root, 'world_size': context.processes}
    if context.args.launcher != 'none':
        context.opt['num_gpu'] = min(opt['num_gpu'], 1)  # each process has one
    elif opt['num_gpu'] > (visible := torch.cuda.device_count()) and visible:
        section.warn(f'num_gpu is {opt["num_gpu"]}, but {visible} GPU(s) are visible: without a launcher BasicSR puts '
                     f'{opt["num_gpu"]} times batch_size_per_gpu on them. Use num_gpu: auto, or a launcher')


@contextmanager
def _written(opt: dict[str, Any]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix='mcir_check_') as folder:
        path = Path(folder, 'options.yml')
        path.write_text(dump_options(opt), encoding='utf-8')
        yield str(path)
