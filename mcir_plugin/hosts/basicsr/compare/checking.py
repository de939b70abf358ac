"""What ``basicsr check`` would say of the runs of a comparison, before any of them is started."""
from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mcir_plugin.config import dump_options
from mcir_plugin.config.contrast import HISTORY_KEY, SPN_KEY
from mcir_plugin.config.errors import listed, raise_if_any
from mcir_plugin.hosts.basicsr.check import data, files, names, networks, reading
from mcir_plugin.hosts.basicsr.check.context import Context
from mcir_plugin.hosts.basicsr.check.findings import Section
from mcir_plugin.hosts.basicsr.compare.plan import PlannedRun
from mcir_plugin.hosts.basicsr.compare.samples import repeated_names
from mcir_plugin.hosts.basicsr.compare.validation import validation_sets


def check_results(context: Context, section: Section) -> None:
    """Stage *results*: whether the images of a validation set can be told apart when they are saved."""
    for dataset in validation_sets(context.opt):
        twice = repeated_names(context.opt, dataset)
        if twice:
            section.problem(f'validation set {dataset}: several inputs are called {listed(twice, 3)}. BasicSR saves '
                            'results by the name without its folder: rename them, or use PairedRestorationDataset')


OF_THE_RECIPE = (names.check_names, files.check_files, networks.check_networks, data.check_data, check_results)
OF_A_VARIANT = (names.check_names, files.check_extractor)


def check_runs(runs: list[PlannedRun]) -> list[str]:
    """Examine the recipe once and every variant, as ``basicsr check`` does, without the first steps.

    Returns:
        list[str]: Warnings: what is probably not meant.

    Raises:
        ConfigError: With all problems.
    """
    first = {run.variant: run for run in reversed(runs)}
    problems: dict[str, None] = {}
    warnings: dict[str, None] = {}
    for number, run in enumerate(reversed(first.values())):
        section = _examined(run, OF_THE_RECIPE + OF_A_VARIANT[1:] if number == 0 else OF_A_VARIANT)
        for found, texts in ((problems, section.problems), (warnings, section.warnings)):
            found.update(dict.fromkeys(f'variant {run.variant}: {text}' if _is_own(text) else text for text in texts))
    raise_if_any(problems)
    return list(warnings)


def _examined(run: PlannedRun, stages: Iterable[Any]) -> Section:
    with tempfile.TemporaryDirectory(prefix='mcir_') as folder:
        path = Path(folder, 'options.yml')
        path.write_text(dump_options(run.opt), encoding='utf-8')
        args = argparse.Namespace(opt=str(path), launcher='none', auto_resume=False, debug=False, local_rank=0,
                                  force_yml=[], imports=[])
        context, section = Context(args, os.getcwd()), Section('options')
        with section.guard():
            reading.read_options(context, section)
        for stage in stages if context.opt is not None and not section.problems else ():
            with section.guard():
                stage(context, section)
    return section


def _is_own(text: str) -> bool:
    return text.startswith((f'train.{SPN_KEY}', f'train.{HISTORY_KEY}'))
