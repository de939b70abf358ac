"""Flags of ``basicsr compare`` and ``basicsr report``. Imports no torch."""
from __future__ import annotations

import argparse

COMPARE = ('Train variants of the contrastive term by one recipe, each with the same seeds, and report what they '
           'change (paired differences with intervals, cost, curves, images). Finished runs are kept, interrupted ones '
           'go on.')
REPORT = 'Report on existing experiment folders as basicsr compare does; final weights are evaluated where need be.'


def add_compare_flags(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``basicsr compare``."""
    parser.description = COMPARE
    parser.add_argument('-opt', '--opt', required=True, metavar='FILE.yml', help='option file: the recipe of all runs')
    parser.add_argument('--variants', nargs='+', default=['none', 'spn'], metavar='NAME',
                        help='none, spn, random, cr, ..., a preset, or NAME=FILE.yml; the first is the baseline')
    parser.add_argument('--seeds', nargs='+', type=_seed, default=[0, 1, 2], metavar='N',
                        help='seeds of every variant (default: 0 1 2)')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY:SUB=VALUE',
                        help='change or add options of all runs, e.g. train:total_iter=10000')
    parser.add_argument('--gpus', nargs='+', metavar='N',
                        help='train on these GPUs, counted from 0 among the visible ones, one run on each at a time')
    parser.add_argument('--output', metavar='FOLDER', help='where all goes (default: experiments/compare_<name>)')
    parser.add_argument('--import', dest='imports', nargs='+', action='extend', default=[], metavar='MODULE',
                        help='import modules that register archs, data, models or metrics')
    parser.add_argument('--dry_run', '--dry-run', action='store_true', help='check everything, list the runs, and stop')


def add_report_flags(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``basicsr report``."""
    parser.description = REPORT
    parser.add_argument('runs', nargs='+', metavar='RUN',
                        help='experiment folder, LABEL=FOLDER, or folder of a comparison; the first is the baseline')
    parser.add_argument('--output', metavar='FOLDER', help='where the report goes (default: report)')
    parser.add_argument('--title', help='heading of the report')
    parser.add_argument('--gpus', nargs='+', metavar='N', help='evaluate on these GPUs')


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f'received {text}, must be from 0 to 4294967295')
    return value
