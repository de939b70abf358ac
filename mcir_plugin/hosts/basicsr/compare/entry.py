"""The commands ``basicsr compare`` and ``basicsr report``."""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mcir_plugin.cli.compare import add_compare_flags, add_report_flags
from mcir_plugin.config import ConfigError
from mcir_plugin.config.errors import raise_if_any
from mcir_plugin.hosts.basicsr.compare.checking import check_runs
from mcir_plugin.hosts.basicsr.compare.evaluate import is_evaluated
from mcir_plugin.hosts.basicsr.compare.folders import Folder, find_folders, read_comparison, require_comparable
from mcir_plugin.hosts.basicsr.compare.logs import last_iteration
from mcir_plugin.hosts.basicsr.compare.order import write_order
from mcir_plugin.hosts.basicsr.compare.pictures import draw_images
from mcir_plugin.hosts.basicsr.compare.plan import PlannedRun, plan_runs, read_recipe_file, write_options
from mcir_plugin.hosts.basicsr.compare.schedule import Job, RunsFailedError, run_jobs
from mcir_plugin.hosts.basicsr.options import import_modules
from mcir_plugin.report import require_matplotlib, write_report
from mcir_plugin.report.page import conclusion, protocol_rows


def compare(arguments: list[str]) -> int:
    """Train every variant with every seed by one recipe, then report.

    Args:
        arguments (list[str]): Those after ``basicsr compare``.

    Returns:
        int: 0; what is wrong is raised.

    Raises:
        McirError: The input is wrong (nothing has been trained then), or runs failed.
    """
    parser = argparse.ArgumentParser(prog='basicsr compare')
    add_compare_flags(parser)
    args = parser.parse_args(arguments)
    require_matplotlib()
    opt = read_recipe_file(args.opt, args.set, args.imports)
    _check_gpus(args.gpus, opt.get('num_gpu'))
    folder = Path(args.output or Path('experiments', f'compare_{opt["name"]}'))
    runs = plan_runs(opt, args.variants, args.seeds, folder)
    import_modules(opt['imports'])
    for warning in check_runs(runs):
        print(f'WARNING: {warning}', file=sys.stderr)
    if args.dry_run:
        print('\n'.join(f'{run.variant}, seed {run.seed}: {run.folder}' for run in runs))
        return 0
    with _alone(folder):
        write_order(folder, runs)
        write_options(runs)
        title, target = f'Comparison {opt["name"]}', folder / 'report'
        try:
            _train(runs, args.gpus, int(opt['train']['total_iter']))
        except RunsFailedError:
            _report_complete(runs, title, target)
            raise
        _report(_folders(runs), title, target)
    return 0


def report(arguments: list[str]) -> int:
    """Make the report of a comparison from experiment folders; what is not evaluated yet is evaluated first.

    Args:
        arguments (list[str]): Those after ``basicsr report``.

    Returns:
        int: 0; what is wrong is raised.

    Raises:
        McirError: The input is wrong, or an evaluation failed.
    """
    parser = argparse.ArgumentParser(prog='basicsr report')
    add_report_flags(parser)
    args = parser.parse_args(arguments)
    require_matplotlib()
    _check_gpus(args.gpus, None)
    folders = find_folders(args.runs)
    target = Path(args.output or 'report')
    jobs = [Job(f'{folder.variant} seed {folder.seed}', (str(folder.options), str(folder.path), '--evaluate-only'),
                folder.path / 'evaluation.txt', 1, lambda: 0) for folder in folders if not is_evaluated(folder.path)]
    run_jobs(jobs, args.gpus, 'evaluating')
    _report(folders, args.title or 'Comparison', target)
    return 0


def _train(runs: list[PlannedRun], gpus: list[str] | None, steps: int) -> None:
    open_runs = [run for run in runs if not is_evaluated(run.folder)]
    if len(open_runs) < len(runs):
        print(f'{len(runs) - len(open_runs)} of {len(runs)} runs are finished already.', file=sys.stderr)
    run_jobs([_job(run, steps) for run in open_runs], gpus, 'training')


def _job(run: PlannedRun, steps: int) -> Job:
    return Job(f'{run.variant} seed {run.seed}', (str(run.options), str(run.folder)),
               run.folder.parent / 'output' / f'{run.folder.name}.txt', steps, lambda: last_iteration(run.folder))


def _folders(runs: list[PlannedRun]) -> list[Folder]:
    return [Folder(run.variant, run.seed, run.folder, run.options, run.opt) for run in runs]


def _report_complete(runs: list[PlannedRun], title: str, target: Path) -> None:
    """Report the variants all of whose runs are there, so that one that fails does not hide what the others gave."""
    failed = list(dict.fromkeys(run.variant for run in runs if not is_evaluated(run.folder)))
    if runs[0].variant in failed:
        print(f'There is no report: {runs[0].variant}, with which the others are compared, is not complete.')
        return
    _report(_folders([run for run in runs if run.variant not in failed]), title, target,
            f'Left out, because runs of theirs failed: {", ".join(failed)}.')


def _report(folders: list[Folder], title: str, target: Path, *remarks: str) -> None:
    require_comparable(folders)
    comparison = read_comparison(folders, title)
    results = comparison.results()
    target.mkdir(parents=True, exist_ok=True)
    images, without = draw_images(comparison, folders, results, target)
    comparison = replace(comparison, remarks=(*remarks, *comparison.remarks, *without))
    written = write_report(comparison, results, images, target)
    print('\n'.join(conclusion(results)))
    print('\n'.join([*(f'{name}: {title}' for name, title, _ in protocol_rows(comparison)), *comparison.remarks]))
    print(f'report: {written}')


def _check_gpus(gpus: list[str] | None, num_gpu: object) -> None:
    if gpus and num_gpu == 0:
        raise ConfigError('--gpus: the option file says num_gpu: 0, so no GPU would be used. Remove --gpus or num_gpu')
    raise_if_any(f'--gpus: received {gpu}, which is no number of a GPU, or given twice' for gpu in gpus or ()
                 if not gpu.isdigit() or (gpus or []).count(gpu) > 1)
    if gpus:
        import torch
        found = torch.cuda.device_count()
        raise_if_any(f'--gpus: there is no GPU {gpu}; this machine shows {found}' for gpu in gpus if int(gpu) >= found)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second command out of the folder while this one works in it; the system forgets the lock with us."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.name != 'posix':
        yield
        return
    import fcntl
    with (folder / '.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f'{folder}: another basicsr compare is working in this folder. Wait for it, or choose '
                              'another folder with --output') from error
        yield
