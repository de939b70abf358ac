"""``basicsr check``: the stages in their order, and the verdict."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from mcir_plugin.hosts.basicsr import resume
from mcir_plugin.hosts.basicsr.check import data, files, names, networks, plan, reading, steps
from mcir_plugin.hosts.basicsr.check.context import Context, place_among_processes
from mcir_plugin.hosts.basicsr.check.findings import Section
from mcir_plugin.hosts.basicsr.options import option_parser


class Stage(NamedTuple):
    """One step of the check. ``last`` stages run only if nothing was wrong before them."""

    title: str
    run: Callable[[Context, Section], None]
    last: bool = False


STAGES = (
    Stage('options', reading.read_options),
    Stage('names', names.check_names),
    Stage('files', files.check_files),
    Stage('networks', networks.check_networks),
    Stage('data', data.check_data),
    Stage('feature extractor', files.check_extractor),
    Stage('first steps', steps.check_steps, last=True),
    Stage('plan', plan.show_plan, last=True),
)


def check(arguments: list[str]) -> int:
    """Examine an option file as ``basicsr train`` would use it, and print what was found.

    Nothing is created in the current folder, nothing is renamed, and no distributed training is started; of several
    processes only the first one examines.

    Args:
        arguments (list[str]): The flags of ``basicsr train``.

    Returns:
        int: 0 without problems, 2 with problems.
    """
    args = option_parser('basicsr check').parse_args(arguments)
    rank, processes = place_among_processes(args.launcher)
    if rank != 0:
        return 0
    sections: list[Section] = []
    context = Context(args, os.getcwd(), processes or 1)
    for stage in STAGES:
        sections.append(_run(stage, context, sections))
        sys.stdout.write(sections[-1].text())
        sys.stdout.flush()
    resume.DATA.pending = None  # a state may have been loaded, but nothing is going to be trained
    problems, warnings = (sum(len(found) for found in group) for group in
                          ([s.problems for s in sections], [s.warnings for s in sections]))
    sys.stdout.write(f'check: {_verdict(problems, warnings)}\n')
    return 2 if problems else 0


def _run(stage: Stage, context: Context, before: list[Section]) -> Section:
    section = Section(stage.title)
    if before and context.opt is None:
        section.skipped = 'the options could not be read'
    elif stage.last and any(done.problems or done.skipped for done in before):
        section.skipped = 'there are problems above'
    else:
        with section.guard():
            stage.run(context, section)
    return section


def _verdict(problems: int, warnings: int) -> str:
    if problems:
        return f'{problems} problem{"s" * (problems != 1)}'
    return f'no problems ({warnings} warning{"s" * (warnings != 1)})'
