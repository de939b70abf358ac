"""``basicsr convert``: a published weight file in, a file that BasicSR loads out."""
from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from mcir_plugin.cli.convert import add_flags
from mcir_plugin.config import ConfigError, load_options
from mcir_plugin.config.errors import listed, show
from mcir_plugin.config.yaml_text import parse_yaml
from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr.check.findings import quiet
from mcir_plugin.hosts.basicsr.compat.saving import CheckpointError, load_safely, save_atomically
from mcir_plugin.hosts.basicsr.containers import TOP, ContainerError, Parameters, find_parameters
from mcir_plugin.hosts.basicsr.lookup import misfits
from mcir_plugin.hosts.basicsr.options import _listed, import_modules
from mcir_plugin.hosts.state_dicts import differences

REFUSED = re.compile(r'(?:GLOBAL|Unsupported class) ([\w.]+)')  # in the messages of torch 2.1 to 2.15


class ConvertError(McirError, ValueError):
    """A weight file cannot be converted as asked."""


def convert(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments (list[str]): Those after ``basicsr convert``.

    Returns:
        int: 0; what is wrong is raised.

    Raises:
        McirError: The input is wrong. Nothing has been written then.
    """
    parser = argparse.ArgumentParser(prog='basicsr convert')
    add_flags(parser)
    args = parser.parse_args(arguments)
    source, target = Path(args.source), Path(args.target)
    _check_paths(source, target, args.force)
    network = _network(args)
    try:
        found = find_parameters(_read(source), args.key)
    except ContainerError as error:
        raise ContainerError(f'{source}: {error}') from error
    if network is not None:
        _check_fit(network, found.tensors, source)
    save_atomically({'params': found.tensors}, target)
    print(_report(source, target, found, network))
    return 0


def _check_paths(source: Path, target: Path, force: bool) -> None:
    if not source.is_file():
        raise ConvertError(f'IN: {source} is no file.')
    if not target.parent.is_dir():
        raise ConvertError(f'OUT: the folder {target.parent} does not exist. Make it first.')
    if target.exists() and (target.is_dir() or target.samefile(source)):
        raise ConvertError(f'OUT: {target} is {"a folder" if target.is_dir() else "IN itself"}. Give another file.')
    if target.exists() and not force:
        raise ConvertError(f'OUT: {target} exists. Give another file, or --force to replace it.')


def _read(source: Path) -> Any:
    try:
        return load_safely(source)
    except CheckpointError as error:
        refused = REFUSED.search(str(error.__cause__))
        if not refused:
            raise ConvertError(f'{source} cannot be read as a weight file: it is truncated, damaged, or not written by '
                               f'torch.save ({type(error.__cause__).__name__}).') from error
        hint = ('NumPy numbers can be read safely with torch 2.4 or later; this is '
                f'{torch.__version__}.' if refused[1].startswith('numpy.') and not _takes_numpy_numbers() else
                'Ask its author for a plain state dict.')
        raise ConvertError(f'{source} holds Python objects ({refused[1]}), which could run code. It is refused, and '
                           f'nothing in it was run. {hint}') from error


def _takes_numpy_numbers() -> bool:
    return hasattr(torch.serialization, 'add_safe_globals')


def _network(args: argparse.Namespace) -> nn.Module | None:
    if args.opt is not None:
        opt = load_options(args.opt)
        import_modules(_listed(opt.get('imports')))
        return _build(opt.get('network_g'), f'network_g of {args.opt}')
    return None if args.network is None else _build(parse_yaml(args.network, '--network'), '--network')


def _build(block: Any, where: str) -> nn.Module:
    if not isinstance(block, Mapping) or 'type' not in block:
        raise ConfigError(f'{where}: received {show(block)}, must be a mapping with a type, such as '
                          '{type: NAFNet, width: 32}')
    problems = list(misfits(ARCH_REGISTRY, block, where))
    if problems:
        raise ConfigError(*problems)
    with quiet():
        return build_network(dict(block))


def _check_fit(network: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Load strictly, as BasicSR will; a network's own way of reading old names counts."""
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        texts = list(differences(network.state_dict(), tensors)) or [str(error)]
        raise ConvertError(f'{source} does not fit {type(network).__name__}: {"; ".join(texts)}. Correct the network, '
                           'or choose other parameters with --key. Nothing was written.') from error


def _report(source: Path, target: Path, found: Parameters, network: nn.Module | None) -> str:
    count = sum(tensor.numel() for tensor in found.tensors.values())
    place = '' if found.key == TOP else f', found under {found.key}'
    prefix = f', prefix {found.prefix} removed' if found.prefix else ''
    lines = [f'{source}: {len(found.tensors)} tensors, {count:,} numbers{place}{prefix}']
    if found.left_out:
        lines.append(f'left out: {listed(found.left_out, 10)}')
    lines.append('not compared with a network (--network, --opt)' if network is None else
                 f'fits {type(network).__name__}, strictly')
    lines.append(f'written: {target}. Use it by path.pretrain_network_g: {target}')
    return '\n'.join(lines)
