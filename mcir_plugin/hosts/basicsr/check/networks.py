"""Stage *networks*: every network of the option file, and the pretrained files that must fit it."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from mcir_plugin.config.errors import listed
from mcir_plugin.hosts.basicsr.check.context import Context
from mcir_plugin.hosts.basicsr.check.findings import Section, quiet
from mcir_plugin.hosts.basicsr.compat.saving import load_safely
from mcir_plugin.hosts.basicsr.lookup import misfits
from mcir_plugin.hosts.basicsr.settings import find
from mcir_plugin.hosts.state_dicts import differences


def check_networks(context: Context, section: Section) -> None:
    """Build every network and compare it with the file that it is to be initialised from."""
    for name, block in find(context.opt, 'network_*'):
        if any(misfits(ARCH_REGISTRY, block, name)):
            section.say(f'{name}: not built, see names above')
            continue
        with section.guard(name):
            with quiet():
                network = build_network(block)
            count = sum(p.numel() for p in network.parameters())
            section.say(f'{name}: {type(network).__name__}, {count:,} parameters')
            _check_pretrained(context.opt['path'], name, network, section)


def _check_pretrained(paths: Mapping[str, Any], name: str, network: nn.Module, section: Section) -> None:
    """Read the file as ``BaseModel.load_network`` does, but say everything that does not fit."""
    option, ending = f'path.pretrain_{name}', name.removeprefix('network_')
    file = paths.get(f'pretrain_{name}')
    if file is None:
        return
    with section.guard(option):
        content = load_safely(file)
        saved = _parameters(content, paths.get(f'param_key_{ending}', 'params'))
        if isinstance(saved, str):
            section.problem(f'{option}: {file} {saved}')
            return
        differing = list(differences(network.state_dict(), saved))
        if differing and paths.get(f'strict_load_{ending}', True):
            section.problem(f'{option}: {file} does not fit {type(network).__name__}: {"; ".join(differing)}. Give the '
                            f'file of this network, or correct {name}')
        elif differing:
            section.warn(f'{option}: {"; ".join(differing)}; not loaded, since strict_load_{ending} is false')
        else:
            section.say(f'{option}: {file} fits')


def _parameters(content: Any, key: str | None) -> dict[str, Tensor] | str:
    """Return the saved parameters under a key, or why there are none."""
    if not isinstance(content, Mapping):
        return f'holds a {type(content).__name__}, no parameters'
    if key is not None and key not in content and 'params' in content:
        key = 'params'  # BasicSR's own fallback
    saved = content if key is None else content.get(key)
    if not isinstance(saved, Mapping):
        return (f'holds nothing under {key!r}, but under {listed(map(repr, content), 3)}. '
                'Set path.param_key_g (~ where the parameters lie at the top)')
    if not all(isinstance(value, Tensor) for value in saved.values()):
        return f'holds more than parameters: {listed(map(repr, saved), 3)}. Set path.param_key_g'
    return {name.removeprefix('module.'): value for name, value in saved.items()}
