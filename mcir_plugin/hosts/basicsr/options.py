"""Option files in front of BasicSR's own parser: inheritance, safe YAML, strict keys, ``imports``.

The file is resolved first, then BasicSR parses the resolved file, so that paths, seeds, distribution and debug mode
stay its own business.
"""
from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from mcir_plugin.config import (
    ConfigError,
    apply_overrides,
    dump_options,
    load_options,
    read_contrast,
    read_evaluation,
    read_recipe,
    retention_notes,
)
from mcir_plugin.config.errors import raise_if_any, show
from mcir_plugin.data.bad_images import read_bad_image_options
from mcir_plugin.hosts.basicsr.compat.swap import swapped
from mcir_plugin.hosts.basicsr.evaluation.defaults import complete_test_options, require_known_metrics
from mcir_plugin.hosts.basicsr.evaluation.lpips_metric import prepare_lpips
from mcir_plugin.hosts.basicsr.evaluation.metrics import OWN_METRICS
from mcir_plugin.hosts.basicsr.explain import explain, explained
from mcir_plugin.hosts.basicsr.extractor import require_extractor
from mcir_plugin.hosts.basicsr.known_keys import warn_unknown_keys
from mcir_plugin.hosts.basicsr.names import name_problems
from mcir_plugin.hosts.basicsr.settings import shape_problems, value_problems
from mcir_plugin.hosts.basicsr.together import problems_together
from mcir_plugin.hosts.basicsr.watch.loaders import absent_data

NOTES: list[str] = []  # said as soon as BasicSR's log is open
RESOLVED: dict[str, Any] = {}  # the options of this run, as they were handed to BasicSR


def option_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser with BasicSR's flags, ``--local-rank`` in both spellings, and ``--import``."""
    parser = argparse.ArgumentParser(prog=prog, add_help=False)
    parser.add_argument('-opt', '--opt', required=True)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument('--auto_resume', '--auto-resume', action='store_true')
    parser.add_argument('--debug', action='store_true')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    parser.add_argument('--force_yml', '--force-yml', nargs='+', action='extend', default=[])
    parser.add_argument('--import', dest='imports', nargs='+', action='extend', default=[])
    return parser


def parser_with_inheritance(host_parse: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``parse_options``: it reads YAML with the full loader and runs ``--force_yml`` through ``exec``.

    Always applies. Can go when BasicSR reads options safely; inheritance and strict keys stay ours.

    Raises:
        ConfigError: (by the wrapped function) if the options are wrong.
        FeatureWeightsError: If the extractor cannot be had; before any data is loaded.
    """

    @wraps(host_parse)
    def parse_options(root_path: str, is_train: bool = True) -> tuple[dict[str, Any], argparse.Namespace]:
        args = option_parser().parse_args()
        opt = resolve(args, is_train)
        require_known_metrics(opt)
        raise_if_any(name_problems(opt))
        parsed = parse_resolved(host_parse, opt, args, root_path, is_train)
        contrast = read_contrast(opt) if is_train else None
        if contrast:
            require_extractor(contrast.spn, opt)
        raise_if_any(absent_data(parsed, root_path))
        return parsed, args

    return parse_options


def resolve(args: argparse.Namespace, is_train: bool) -> dict[str, Any]:
    """Return the checked options of a run: file, bases, overrides; notes for the log go to ``NOTES``.

    Raises:
        ConfigError: If the file, an override, an import, or a key of our blocks or of BasicSR's own is wrong.
    """
    opt = read_options(args)
    raise_if_any(shape_problems(opt, is_train))
    problems = value_problems(opt, is_train, said_of_path(args))
    raise_if_any(problems if wrong_length(problems) else [*problems, *_own_problems(opt, is_train)])
    raise_if_any(problems_together(opt) if is_train else ())
    return complete(opt, args, is_train)


def read_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the option file and the overrides of a command line say, unchecked.

    Raises:
        ConfigError: If they cannot be read.
    """
    opt = load_options(args.opt)
    apply_overrides(opt, args.force_yml)
    return opt


def wrong_length(problems: list[str]) -> bool:
    """Say whether the length of the training is among the problems; then others would be said of schedules in it."""
    return any(text.startswith('train.total_iter') for text in problems)


def said_of_path(args: argparse.Namespace) -> set[str]:
    """Return the options of ``path`` that the command line gives."""
    return {entry.partition('=')[0].strip().removeprefix('path:') for entry in args.force_yml
            if entry.startswith('path:')}


def complete(opt: dict[str, Any], args: argparse.Namespace, is_train: bool) -> dict[str, Any]:
    """Import what the options name, add what follows from them, and note what the user should know.

    Args:
        opt (dict): Options whose values are known to be usable.
        args (argparse.Namespace): The command line.
        is_train (bool): Training or testing.

    Raises:
        ConfigError: If an import or a block of ours is wrong.
    """
    import_modules([*_listed(opt.get('imports')), *args.imports])
    opt.setdefault('num_gpu', 'auto')
    NOTES[:] = warn_unknown_keys(opt)
    contrast = read_contrast(opt) if is_train else None
    NOTES.extend(contrast.notes if contrast else ())
    NOTES.extend(read_recipe(opt).notes if is_train else ())
    NOTES.extend(retention_notes(opt) if is_train else ())
    if not is_train:
        complete_test_options(opt)
    read_evaluation(opt, OWN_METRICS)
    prepare_lpips((opt.get('val') or {}).get('metrics'))
    if opt['num_gpu'] != 0 and not torch.cuda.is_available():
        if opt['num_gpu'] != 'auto':
            NOTES.append(f'num_gpu is {opt["num_gpu"]}, but no GPU is visible: running on the CPU (num_gpu: 0).')
        opt['num_gpu'] = 0
    RESOLVED.clear()
    RESOLVED.update(opt)
    return opt


def parse_resolved(host_parse: Callable[..., Any], opt: dict[str, Any], args: argparse.Namespace, root_path: str,
                   is_train: bool = True) -> dict[str, Any]:
    """Have BasicSR's own parser complete resolved options: paths, seed, phases, debug mode, distribution.

    Args:
        host_parse (Callable): BasicSR's ``parse_options``.
        opt (dict): What :func:`resolve` returned.
        args (argparse.Namespace): The command line.
        root_path (str): Folder under which ``experiments`` or ``results`` lie.
        is_train (bool): Training or testing. Default: True.

    Raises:
        HostError: If BasicSR's parser fails.
    """
    with _resolved_file(opt, args) as argv, swapped(sys, 'argv', argv), explained('option file'):
        parsed, _ = host_parse(root_path, is_train)
    _own_experiments_root(parsed, opt)
    return parsed


def import_modules(names: list[str]) -> None:
    """Import third-party modules, which register their archs, data and models; the current folder is searched too.

    Raises:
        ConfigError: If one cannot be imported.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(f'imports: {name!r} cannot be imported ({error}). Install the package, or start the '
                              'command in the folder that holds it.') from error
        except Exception as error:  # whatever the code of the module raises
            raise ConfigError(f'imports: {name!r} failed while it was imported: {"; ".join(explain(error))}') from error


def save_resolved(host_copy: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``copy_opt_file``: beside the user's file, keep the options that it resolved to."""
    from basicsr.utils.dist_util import master_only

    @wraps(host_copy)
    @master_only
    def copy_opt_file(opt_file: str, experiments_root: str) -> None:
        host_copy(opt_file, experiments_root)
        path = Path(experiments_root, f'resolved_{Path(opt_file).name}')
        partial = path.with_suffix('.tmp')
        partial.write_text(dump_options(dict(RESOLVED)), encoding='utf-8')
        partial.replace(path)

    return copy_opt_file


@contextmanager
def _resolved_file(opt: dict[str, Any], args: argparse.Namespace) -> Iterator[list[str]]:
    """Write the resolved options where BasicSR's parser can read them; yield its command line."""
    with tempfile.TemporaryDirectory(prefix='mcir_') as folder:
        path = Path(folder, 'options.yml')
        path.write_text(dump_options(opt), encoding='utf-8')
        flags = [flag for flag, given in (('--auto_resume', args.auto_resume), ('--debug', args.debug)) if given]
        yield [sys.argv[0], '-opt', str(path), '--launcher', args.launcher, '--local_rank', str(args.local_rank),
               *flags]


def _own_experiments_root(parsed: dict[str, Any], opt: dict[str, Any]) -> None:
    """Honour ``path.experiments_root`` and ``path.results_root``, which the index's 1.4.2 overwrites."""
    key = 'experiments_root' if parsed['is_train'] else 'results_root'
    wanted = opt.get('path', {}).get(key)
    found = parsed['path'][key]
    if wanted and found != (own := os.path.join(os.path.expanduser(wanted), parsed['name'])):
        for name, value in parsed['path'].items():
            if isinstance(value, str) and (value == found or value.startswith(found + os.sep)):
                parsed['path'][name] = own + value[len(found):]


def _own_problems(opt: dict[str, Any], is_train: bool) -> list[str]:
    """Return what is wrong in the blocks of this package, to be said together with the rest."""
    problems: list[str] = []
    reads = [partial(read_bad_image_options, block, f'datasets.{phase}', phase == 'train')
             for phase, block in opt['datasets'].items()]
    reads += [partial(read_contrast, opt), partial(read_recipe, opt)] if is_train else []
    for read in reads:
        try:
            read()
        except ConfigError as error:
            problems += error.problems
    return problems


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError('imports: must be a list of module names, such as [hat.archs, hat.models]; '
                          f'received {show(value)}.')
    raise_if_any(f'imports: received {show(name)}, which is no name of a module, such as hat.archs' for name in names
                 if not all(part.isidentifier() for part in name.split('.')))
    return names
