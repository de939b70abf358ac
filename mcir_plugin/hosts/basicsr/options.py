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
from functools import wraps
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
)
from mcir_plugin.hosts.basicsr.compat.swap import swapped
from mcir_plugin.hosts.basicsr.evaluation.defaults import complete_test_options, require_known_metrics
from mcir_plugin.hosts.basicsr.evaluation.lpips_metric import prepare_lpips
from mcir_plugin.hosts.basicsr.evaluation.metrics import OWN_METRICS
from mcir_plugin.hosts.basicsr.extractor import require_extractor
from mcir_plugin.hosts.basicsr.known_keys import warn_unknown_keys

NOTES: list[str] = []  # said as soon as BasicSR's log is open
RESOLVED: dict[str, Any] = {}  # the options of this run, as they were handed to BasicSR


def option_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser with BasicSR's flags, ``--local-rank`` in both spellings, and ``--import``."""
    parser = argparse.ArgumentParser(prog=prog, add_help=False)
    parser.add_argument('-opt', required=True)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument('--auto_resume', '--auto-resume', action='store_true')
    parser.add_argument('--debug', action='store_true')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    parser.add_argument('--force_yml', '--force-yml', nargs='+', default=[])
    parser.add_argument('--import', dest='imports', nargs='+', default=[])
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
        parsed = parse_resolved(host_parse, opt, args, root_path, is_train)
        contrast = read_contrast(opt) if is_train else None
        if contrast:
            require_extractor(contrast.spn, opt)
        return parsed, args

    return parse_options


def resolve(args: argparse.Namespace, is_train: bool) -> dict[str, Any]:
    """Return the checked options of a run: file, bases, overrides; notes for the log go to ``NOTES``.

    Raises:
        ConfigError: If the file, an override, an import or a key of our blocks is wrong.
    """
    opt = load_options(args.opt)
    apply_overrides(opt, args.force_yml)
    import_modules([*_listed(opt.get('imports')), *args.imports])
    _require_blocks(opt, is_train)
    NOTES[:] = warn_unknown_keys(opt)
    contrast = read_contrast(opt) if is_train else None
    NOTES.extend(contrast.notes if contrast else ())
    NOTES.extend(read_recipe(opt).notes if is_train else ())
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
    """
    with _resolved_file(opt, args) as argv, swapped(sys, 'argv', argv):
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


def _require_blocks(opt: dict[str, Any], is_train: bool) -> None:
    blocks = ['datasets', 'network_g', 'path'] + (['train', 'logger'] if is_train else [])
    problems = [f'{key}: the block is missing from the option file (or empty).' for key in blocks
                if not isinstance(opt.get(key), dict)]
    problems += [f'{key}: the option file must give it.' for key in ('name', 'model_type') if not opt.get(key)]
    if problems:
        raise ConfigError('\n'.join(problems))
    opt.setdefault('num_gpu', 'auto')


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError('imports: must be a list of module names, such as [hat.archs, hat.models]; '
                          f'received {value!r}.')
    return names
