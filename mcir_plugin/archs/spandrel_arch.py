"""Any network of the spandrel package, for training: SwinIR, HAT, DAT, SCUNet, Uformer, MixDehazeNet and more.

spandrel (https://github.com/chaiNNer-org/spandrel, MIT; the networks have licences of their own, mostly MIT and
Apache-2.0) finds out the architecture of a weight file and runs it. Only its network classes are used here: they are
ordinary modules with the published keys. Its descriptors are not: they run without gradient and clamp. ::

    network_g: {type: Spandrel, arch: HAT, upscale: 4, ...}  ->  spandrel.architectures.HAT.HAT(upscale=4, ...)

The result is the network itself, without a wrapper, so published weights load strictly.
"""
from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import nn

from mcir_plugin.archs.errors import ArchError
from mcir_plugin.config.errors import did_you_mean, show

PACKAGE = 'spandrel.architectures'


def Spandrel(arch: str, **kwargs: Any) -> nn.Module:
    """Build a network of spandrel by the name of its class.

    Args:
        arch (str): Name of the class, such as ``HAT`` or ``SwinIR``.
        **kwargs: Arguments of the class; an unknown one is an error that lists them.

    Returns:
        nn.Module: An untrained network. What it takes and returns is up to its architecture; most are made for RGB
        images of shape (N, 3, H, W) in [0, 1].

    Raises:
        ArchError: spandrel is not installed, there is no such network, or an argument is unknown or missing.
    """
    known = spandrel_networks()
    if arch not in known:
        raise ArchError(f'arch: received {show(arch)}, but spandrel has no such network{did_you_mean(arch, known)}. '
                        f'Networks: {", ".join(sorted(known))}.')
    _check_arguments(arch, inspect.signature(known[arch]).parameters, kwargs)
    return known[arch](**kwargs)


def spandrel_networks() -> dict[str, Callable[..., nn.Module]]:
    """Return the network classes of spandrel by name.

    Raises:
        ArchError: spandrel cannot be imported.
    """
    try:
        package = import_module(PACKAGE)
    except ImportError as error:
        raise ArchError(f'Networks of type Spandrel need the package spandrel, which cannot be imported ({error}). '
                        'Install it: pip install spandrel') from error
    folders = (item.name for item in pkgutil.iter_modules(package.__path__) if not item.name.startswith('_'))
    exported = (vars(import_module(f'{PACKAGE}.{folder}')) for folder in folders)
    return {name: names[name] for names in exported for name in names['__all__'] if _is_network(names[name])}


def _is_network(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, nn.Module)


def _check_arguments(arch: str, taken: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> None:
    problems = [f'{arch} takes no argument {name}{did_you_mean(name, taken)}' for name in given if name not in taken]
    problems += [f'{arch} needs the argument {name}' for name, parameter in taken.items()
                 if parameter.default is parameter.empty and name not in given]
    if problems:
        shown = ', '.join(name if p.default is p.empty else f'{name}={p.default!r}' for name, p in taken.items())
        raise ArchError(f'{"; ".join(problems)}. Its arguments: {shown}.')
