"""Front of the ``basicsr`` command: train, test, check, convert, compare, report."""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

from mcir_plugin import __version__
from mcir_plugin.cli import compare, convert
from mcir_plugin.errors import McirError

SAFE_LOADING, UNSAFE_LOADING = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
RUNNERS = {
    'train': ('mcir_plugin.hosts.basicsr.entry', 'train'),
    'test': ('mcir_plugin.hosts.basicsr.entry', 'test'),
    'check': ('mcir_plugin.hosts.basicsr.check', 'check'),
    'convert': ('mcir_plugin.hosts.basicsr.convert', 'convert'),
    'compare': ('mcir_plugin.hosts.basicsr.compare', 'compare'),
    'report': ('mcir_plugin.hosts.basicsr.compare', 'report'),
}
HELP = {
    'train': 'train by an option file; with train.spn_opt, against history negatives',
    'test': 'validate by an option file',
    'check': 'find what would fail later, in seconds and without training',
    'convert': 'turn a published weight file into one that BasicSR loads',
    'compare': 'train several variants by one recipe and report what they change',
    'report': 'the same report from existing experiment folders',
}
FLAGS = {  # of commands that do not take those of a run
    'convert': convert.add_flags,
    'compare': compare.add_compare_flags,
    'report': compare.add_report_flags,
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog='basicsr', description='BasicSR with model-contrastive training (mcir-plugin).')
    parser.add_argument('--version', action='version', version=f'mcir-plugin {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar=f'{{{",".join(HELP)}}}')
    for name, text in HELP.items():
        FLAGS.get(name, _add_run_flags)(commands.add_parser(name, help=text, description=text.capitalize() + '.'))
    return parser


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', '--opt', required=True, metavar='FILE.yml', help='option file; may inherit by _base_')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='job launcher: none, pytorch (torchrun) or slurm')
    parser.add_argument('--auto_resume', '--auto-resume', action='store_true',
                        help='continue from the newest checkpoint of this experiment, if there is one')
    parser.add_argument('--debug', action='store_true', help='log every iteration, validate and save every 8th')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by launchers')
    parser.add_argument('--force_yml', '--force-yml', nargs='+', action='extend', default=[], metavar='KEY:SUB=VALUE',
                        help='change or add options, e.g. train:spn_opt:type=SPNLoss')
    parser.add_argument('--import', dest='imports', nargs='+', action='extend', default=[], metavar='MODULE',
                        help='import modules that register archs, data or models, e.g. hat.archs hat.models')


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        int: 0 on success, 2 if the input is wrong; the message says what to do.

    Raises:
        SystemExit: With status 75 if a signal has stopped a training in good order, see docs/promises.md.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    command = build_parser().parse_args(arguments).command
    rest = arguments[arguments.index(command) + 1:]
    try:
        with plain_checkpoints():
            return _runner(command)(rest) or 0
    except McirError as error:
        print(f'basicsr {command}: {error}', file=sys.stderr)
        return 2


def _runner(command: str) -> Callable[[list[str]], int | None]:
    module, function = RUNNERS[command]
    try:
        return getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != 'basicsr':
            raise
        raise McirError('BasicSR is not installed here, and this command runs it. Install it: pip install '
                        "'basicsr>=1.4.2'. MMEngine's Runner and loops of your own do not need it.") from error


@contextmanager
def plain_checkpoints() -> Iterator[None]:
    """Have PyTorch refuse pickled objects in every file that is loaded inside the block, whoever loads it.

    BasicSR's own calls are safe without it; this is for packages that a run imports, and for processes that it starts.
    Whoever trusts all of his files can set ``TORCH_FORCE_WEIGHTS_ONLY_LOAD=0``.
    """
    if {SAFE_LOADING, UNSAFE_LOADING} & set(os.environ):
        yield
        return
    os.environ[SAFE_LOADING] = '1'
    try:
        yield
    finally:
        os.environ.pop(SAFE_LOADING, None)
