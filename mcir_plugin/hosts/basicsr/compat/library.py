"""Optimizers, LMDB, and losses of BasicSR that fail with today's libraries."""
from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from mcir_plugin.config import ConfigError
from mcir_plugin.hosts.basicsr.compat.swap import swapped
from mcir_plugin.losses.vgg_weights import FILE_NAMES

_open_environments: dict[str, tuple[int, Any]] = {}


def more_optimizers(host_method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``get_optimizer``: the index's 1.4.2 knows Adam only, master seven.

    Applies to names that the host refuses and ``torch.optim`` has. Can go when BasicSR looks names up there.
    """

    @wraps(host_method)
    def get_optimizer(self: Any, optim_type: str, params: Any, lr: float, **kwargs: Any) -> torch.optim.Optimizer:
        try:
            return host_method(self, optim_type, params, lr, **kwargs)
        except NotImplementedError as error:
            found = getattr(torch.optim, optim_type, None)
            if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
                known = sorted(n for n, c in vars(torch.optim).items()
                               if isinstance(c, type) and issubclass(c, torch.optim.Optimizer))
                raise ConfigError(f'train.optim_*.type must be one of {known}; received {optim_type!r}.') from error
            return found(params, lr=lr, **kwargs)

    return get_optimizer


def shared_environments(host_init: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``LmdbBackend.__init__``: lmdb >= 2 refuses to open a database twice in one process.

    A train and a val set on one LMDB, or workers forked after a validation, ask for that. Applies where lmdb refuses;
    the environment that is already open is used then. Can go when BasicSR shares its environments. Always applies:
    databases are opened to be read only and without a lock file, whatever an option file says.
    """
    import lmdb
    lmdb_open = lmdb.open

    def open_shared(path: str, **kwargs: Any) -> Any:
        key = os.path.realpath(path)
        kwargs.update(readonly=True, lock=False)
        try:
            environment = lmdb_open(path, **kwargs)
        except lmdb.Error as error:
            if 'already open' not in str(error) or key not in _open_environments:
                raise
            owner, environment = _open_environments[key]
            if owner == os.getpid():
                return environment
            environment.close()  # inherited by a fork: LMDB wants every process to open its own
            environment = lmdb_open(path, **kwargs)
        _open_environments[key] = (os.getpid(), environment)
        return environment

    @wraps(host_init)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        with swapped(lmdb, 'open', open_shared):
            host_init(self, *args, **kwargs)

    return init


def perceptual_l2(host_init: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``PerceptualLoss.__init__``: ``criterion: l2`` asks 1.4.2 for ``torch.nn.L2loss``, which never existed.

    Applies to that criterion where the attribute is missing. Can go when 1.4.3 or later is on the index.
    """

    @wraps(host_init)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if hasattr(torch.nn, 'L2loss'):
            host_init(self, *args, **kwargs)
            return
        torch.nn.L2loss = torch.nn.MSELoss
        try:
            host_init(self, *args, **kwargs)
        finally:
            del torch.nn.L2loss

    return init


def matching_vgg_file(host_init: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``VGGFeatureExtractor.__init__``: one vgg19 file in the pretrained folder is loaded for every vgg_type.

    Applies to types other than vgg19: they look for the file of their own. Can go when BasicSR does so.
    """
    from basicsr.archs import vgg_arch

    @wraps(host_init)
    def init(self: Any, layer_name_list: list[str], vgg_type: str = 'vgg19', *args: Any, **kwargs: Any) -> None:
        folder = os.path.dirname(vgg_arch.VGG_PRETRAIN_PATH)
        path = os.path.join(folder, FILE_NAMES.get(vgg_type, os.path.basename(vgg_arch.VGG_PRETRAIN_PATH)))
        with swapped(vgg_arch, 'VGG_PRETRAIN_PATH', path):
            host_init(self, layer_name_list, vgg_type, *args, **kwargs)

    return init
