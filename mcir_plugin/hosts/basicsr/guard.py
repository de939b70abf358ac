"""Stops a run at the first NaN or infinity, and warns about a contrastive term that outgrows its criterion."""
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.utils import get_root_logger

from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr.compat.saving import save_atomically


class TrainingDivergedError(McirError, FloatingPointError):
    """A loss term became NaN or infinite."""


def require_finite(model: Any, losses: Mapping[str, float], step: int) -> None:
    """Stop training if a logged term is not finite, after saving what is needed to look into it.

    Args:
        model (BaseModel): Its batch, output, network and history go into the snapshot.
        losses (Mapping[str, float]): The terms of this iteration, in the order in which the model computes them.
        step (int): Iteration.

    Raises:
        TrainingDivergedError: Naming the first such term, the iteration and the snapshot.
    """
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if not bad:
        return
    path = Path(model.opt['path']['experiments_root']) / f'diverged_iter_{step}_rank{model.opt["rank"]}.pth'
    save_atomically(_snapshot(model, losses, step), path)
    others = f' (then {", ".join(bad[1:])})' if bad[1:] else ''
    raise TrainingDivergedError(
        f'{bad[0]} is {losses[bad[0]]} at iteration {step}{others}. Batch, output, weights after this step and the '
        f'history before it are saved in {path}. Usual remedies: a lower learning rate; if l_spn is the first, a lower '
        'spn_opt.loss_weight or history_opt.max_ratio. Continue from the last good checkpoint with --auto_resume.')


def _snapshot(model: Any, losses: Mapping[str, float], step: int) -> dict[str, Any]:
    tensors = {name: getattr(model, name).detach().cpu() for name in ('lq', 'gt', 'output') if hasattr(model, name)}
    network = model.get_bare_model(model.net_g)
    return {'iter': step, 'losses': dict(losses), **tensors, 'params': network.state_dict(),
            'history': model.contrast.term.state_dict()}


class RatioWatch:
    """Warns once when the term exceeds a multiple of the criterion that it joins.

    A subtracted distance has no lower bound: a term of the criterion's own size can outweigh it and training collapses.

    Args:
        limit (float): Warn when |l_spn| > limit * |criterion|.
        bounded (bool): Whether ``max_ratio`` already bounds the term.
    """

    def __init__(self, limit: float, bounded: bool) -> None:
        self.limit = limit
        self.bounded = bounded
        self.warned = False

    def __call__(self, ratio: float, step: int) -> None:
        """Look at the ratio of iteration ``step``."""
        if self.warned or not ratio > self.limit:
            return
        self.warned = True
        remedy = ('max_ratio bounds it' if self.bounded else
                  'lower train.spn_opt.loss_weight, or bound the term with train.history_opt.max_ratio: 0.1')
        get_root_logger().warning(
            f'The contrastive term is {ratio:.2f} times the loss that it joins at iteration {step} (warn_ratio '
            f'{self.limit}). It has no lower bound and can make training collapse: {remedy}. Said once.')
