"""Stage *options*: from the command line to the options that BasicSR's models receive."""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import basicsr.utils.options
import torch

from mcir_plugin.config import ConfigError, read_contrast
from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr import options
from mcir_plugin.hosts.basicsr.check.context import Context, place_among_processes
from mcir_plugin.hosts.basicsr.check.findings import Section, quiet
from mcir_plugin.hosts.basicsr.explain import HostError
from mcir_plugin.hosts.basicsr.settings import shape_problems, value_problems
from mcir_plugin.hosts.basicsr.together import doubts_together, problems_together

OWN_OPTIONS = ('spn_opt', 'history_opt', 'neg_iter', 'neg_decay', 'neg_start')


def read_options(context: Context, section: Section) -> None:
    """Read the option file and report everything that is wrong with it at once."""
    args = context.args
    raw = options.read_options(args)
    shape = shape_problems(raw)
    for text in shape or value_problems(raw, said=options.said_of_path(args)):
        section.problem(text)
    if not shape:
        fine = not section.problems
        for text in problems_together(raw) if fine else ():
            section.problem(text)
        for text in doubts_together(raw) if fine else ():
            section.warn(text)
        raw = _read_own_blocks(context, raw, section)
        with _guarded(section, fine):
            _resolve(context, raw, section)
    if place_among_processes(args.launcher)[1] is None:
        section.warn(f'--launcher {args.launcher} is given, but no launcher started this process: epochs, time and '
                     'memory are those of a single process')


def without_term(opt: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the same run as BasicSR would train it, without the contrastive term."""
    return {**opt, 'train': {name: value for name, value in opt['train'].items() if name not in OWN_OPTIONS}}


def _read_own_blocks(context: Context, raw: dict[str, Any], section: Section) -> dict[str, Any]:
    """Read the blocks of this package; where they are wrong, the rest is examined without them."""
    if options.wrong_length(section.problems):
        context.contrast_unread = True
        return without_term(raw)
    try:
        context.contrast = read_contrast(raw)
    except ConfigError as error:
        for problem in error.problems:
            section.problem(problem)
        context.contrast_unread = True
        return without_term(raw)
    return raw


@contextmanager
def _guarded(section: Section, fine: bool) -> Iterator[None]:
    """Report what is raised; values that are known to be wrong have consequences, which nobody needs to read."""
    try:
        yield
    except Exception as error:
        if fine or (isinstance(error, McirError) and not isinstance(error, HostError)):
            with section.guard():
                raise


def _resolve(context: Context, raw: dict[str, Any], section: Section) -> None:
    with quiet():
        given = {'force_yml': [], 'launcher': 'none'}  # overrides are in, and nothing is distributed here
        args = argparse.Namespace(**{**vars(context.args), **given})
        resolved = options.complete(raw, args, True)
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
