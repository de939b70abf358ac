"""Stops a BasicSR run at the first NaN or infinity, with a snapshot."""
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mcir_plugin.hosts.basicsr.compat.saving import save_atomically
from mcir_plugin.hosts.guard import TrainingDivergedError

Images = dict[str, Tensor]


def images_of(model: Any) -> Images:
    """Return the batch and the output of the step that the model is in."""
    return {name: getattr(model, name).detach() for name in ('lq', 'gt', 'output') if hasattr(model, name)}


def require_finite(model: Any, losses: Mapping[str, float], step: int, images: Images) -> None:
    """Stop training if a logged term is not finite, after saving what is needed to look into it.

    Args:
        model (BaseModel): Its network and history go into the snapshot.
        losses (Mapping[str, float]): The terms of an iteration, in the order in which the model computes them.
        step (int): That iteration. On a GPU this is noticed one iteration later, or where losses are printed.
        images (dict[str, Tensor]): Its batch and output.

    Raises:
        TrainingDivergedError: Naming the first such term, the iteration and the snapshot.
    """
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if not bad:
        return
    path = Path(model.opt['path']['experiments_root']) / f'diverged_iter_{step}_rank{model.opt["rank"]}.pth'
    save_atomically(_snapshot(model, losses, step, images), path)
    others = f' (then {", ".join(bad[1:])})' if bad[1:] else ''
    raise TrainingDivergedError(
        f'{bad[0]} is {losses[bad[0]]} at iteration {step}{others}. Its batch and output, and weights and history as '
        f'they are now, are saved in {path}. Usual remedies: a lower learning rate; if l_spn is the first, a lower '
        'spn_opt.loss_weight or history_opt.max_ratio. Continue from the last good checkpoint with --auto_resume.')


def _snapshot(model: Any, losses: Mapping[str, float], step: int, images: Images) -> dict[str, Any]:
    network = model.get_bare_model(model.net_g)
    return {'iter': step, 'losses': dict(losses), **{name: image.cpu() for name, image in images.items()},
            'params': network.state_dict(), 'history': model.contrast.term.state_dict()}
