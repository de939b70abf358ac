"""Stage *options*: from the command line to the options that BasicSR's models receive."""
from __future__ import annotations

import argparse

import basicsr.utils.options
import torch

from mcir_plugin.config import apply_overrides, load_options, read_contrast
from mcir_plugin.hosts.basicsr import options
from mcir_plugin.hosts.basicsr.check.context import Context, place_among_processes
from mcir_plugin.hosts.basicsr.check.findings import Section, quiet
from mcir_plugin.hosts.basicsr.check.settings import check_shape, check_values
from mcir_plugin.hosts.basicsr.check.together import check_together


def read_options(context: Context, section: Section) -> None:
    """Read the option file and report everything that is wrong with it at once."""
    args = context.args
    with section.guard():
        raw = load_options(args.opt)
        apply_overrides(raw, args.force_yml)
        if check_shape(raw, section):
            check_values(raw, section)
            check_together(raw, section)
        _resolve(context, section)
    if place_among_processes(args.launcher)[1] is None:
        section.warn(f'--launcher {args.launcher} is given, but no launcher started this process: epochs, time and '
                     'memory are those of a single process')


def _resolve(context: Context, section: Section) -> None:
    with quiet():
        resolved = options.resolve(context.args, True)
    for note in options.NOTES:
        section.warn(note)
    options.NOTES.clear()
    alone = argparse.Namespace(**{**vars(context.args), 'launcher': 'none'})
    with quiet():
        opt = options.parse_resolved(basicsr.utils.options.parse_options, resolved, alone, context.root)
    context.contrast = read_contrast(resolved)
    context.opt = {**opt, 'root_path': context.root}
    if context.args.launcher != 'none':
        context.opt['num_gpu'] = min(opt['num_gpu'], 1)  # each process has one
    elif opt['num_gpu'] > (visible := torch.cuda.device_count()) and visible:
        section.warn(f'num_gpu is {opt["num_gpu"]}, but {visible} GPU(s) are visible: without a launcher BasicSR puts '
                     f'{opt["num_gpu"]} times batch_size_per_gpu on them. Use num_gpu: auto, or a launcher')
