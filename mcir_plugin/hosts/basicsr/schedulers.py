"""The plain cosine learning rate of torch, under the names by which option files ask for it."""
from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mcir_plugin.config import ConfigError, read_recipe
from mcir_plugin.config.errors import did_you_mean
from mcir_plugin.config.recipe import COSINE_NAMES

HOST_NAMES = ('MultiStepLR', 'MultiStepRestartLR', 'CosineAnnealingRestartLR')


class CosineLR(LRScheduler):
    """Cosine without restarts, as a function of the iteration alone::

        eta_min + (lr - eta_min) * (1 + cos(pi * k / T_max)) / 2,   k = (iterations done) // interval

    These are the values of ``torch.optim.lr_scheduler.CosineAnnealingLR``, which beyond ``T_max`` rises and falls with
    the period 2 T_max. That class computes each value from the one before; BasicSR's warm-up writes other values in
    between, from which it would go on.

    Args:
        optimizer (Optimizer): Its learning rates are set.
        T_max (int): Changes from the initial learning rate to ``eta_min``.
        eta_min (float): Lowest learning rate. Default: 0.
        interval (int): Iterations between two changes; those of an epoch for a cosine per epoch (DehazeFormer).
            Default: 1.
        last_epoch (int): Iterations done, less one, where a scheduler is made in the middle. Default: -1.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0., interval: int = 1,
                 last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        self.interval = interval
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the learning rate of every parameter group."""
        changes = self.last_epoch // self.interval
        share = (1 + math.cos(math.pi * changes / self.T_max)) / 2
        return [self.eta_min + (lr - self.eta_min) * share for lr in self.base_lrs]


def more_schedulers(host_method: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap ``BaseModel.setup_schedulers``, which has a cosine with restarts only.

    Raises:
        ConfigError: (by the wrapped method) if nobody knows the scheduler.
    """

    @wraps(host_method)
    def setup_schedulers(self: Any) -> None:
        cosine = read_recipe(self.opt).cosine
        if cosine is not None:
            self.schedulers += [CosineLR(optimizer, cosine.T_max, cosine.eta_min, cosine.interval)
                                for optimizer in self.optimizers]
            return
        name = self.opt['train']['scheduler'].get('type')
        try:
            host_method(self)
        except NotImplementedError as error:
            known = (*HOST_NAMES, *COSINE_NAMES)
            raise ConfigError(f'train.scheduler.type: received {name!r}, must be one of {", ".join(known)}'
                              f'{did_you_mean(name, known)}') from error

    return setup_schedulers
