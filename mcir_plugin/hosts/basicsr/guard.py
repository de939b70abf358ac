"""Stops a BasicSR run at the first NaN or infinity: says where it comes from, and keeps a snapshot."""
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mcir_plugin.config import ConfigError
from mcir_plugin.hosts.diagnosis import Trace, broken_state, first_cause
from mcir_plugin.hosts.guard import Names, TrainingDivergedError
from mcir_plugin.hosts.snapshot import write_snapshot

Images = dict[str, Tensor]


class Step(NamedTuple):
    """What is kept of a step until its losses have been read: references.

    Attributes:
        trace (Trace): For the diagnosis.
        images (dict[str, Tensor]): Batch and output, for the snapshot.
    """

    trace: Trace
    images: Images


def step_of(model: Any) -> Step:
    """Return what is to be kept of the step that the model is in."""
    images = {name: getattr(model, name).detach() for name in ('lq', 'gt', 'output') if hasattr(model, name)}
    return Step(model.contrast.trace()._replace(files=model.files), images)


def files_of(data: Any) -> tuple[str, ...]:
    """Return the names of the samples in a batch from the loader, as far as the data set gives them."""
    names = data.get('lq_path') or data.get('gt_path') or data.get('key') if isinstance(data, Mapping) else None
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


def require_finite_start(model: Any) -> None:
    """Refuse weights that are not finite before training begins.

    Raises:
        ConfigError: Naming the file and the parameters.
    """
    broken = {'path.pretrain_network_g': ('net_g', broken_state(model.get_bare_model(model.net_g))),
              'train.spn_opt.vgg_weights': ('the feature extractor', broken_state(model.contrast.term.loss.extractor))}
    opt = {'path.pretrain_network_g': model.opt['path'].get('pretrain_network_g'),
           'train.spn_opt.vgg_weights': model.opt['train']['spn_opt'].get('vgg_weights')}
    problems = [f'{option}: received {opt[option]}, but with it the weights of {what} are not finite: {names}. Use '
                'another file' for option, (what, names) in broken.items() if names]
    if problems:
        raise ConfigError(*problems)


def require_finite_sum(model: Any) -> None:
    """Stop before the gradients are computed, where reading the loss costs nothing: without a GPU.

    Raises:
        TrainingDivergedError: As :func:`require_finite`; the weights and the history are still those of the step.
    """
    contrast = model.contrast
    if contrast.total.device.type == 'cpu' and not torch.isfinite(contrast.total).all():
        added = {} if contrast.added is None else {'l_spn': float(contrast.added.detach().mean())}
        losses = {model.joined: float(contrast.value.detach().mean()), **added}
        require_finite(model, losses, step_of(model), before_step=True)


def require_finite(model: Any, losses: Mapping[str, float], step: Step, before_step: bool = False) -> None:
    """Stop training if a term is not finite, after saving what is needed to look into it.

    Args:
        model (BaseModel): Its network and history go into the snapshot.
        losses (Mapping[str, float]): The terms of an iteration, in the order in which the model computes them.
        step (Step): That iteration. On a GPU this is noticed one iteration later, or where losses are printed.
        before_step (bool): Whether the optimizer has not stepped yet. Default: False.

    Raises:
        TrainingDivergedError: Naming the first such term, where it comes from, the iteration and the snapshot.
    """
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if not bad:
        return
    trace, network = step.trace, model.get_bare_model(model.net_g)
    cause = first_cause(trace, model.contrast.term, network, before_step=before_step)
    what, remedy = cause or (f'in {bad[0]} itself', f'a lower learning rate, {Names().clip}')
    parts = {'cause': what, 'losses': dict(losses), 'files': trace.files,
             **{name: image.cpu() for name, image in step.images.items()}, 'params': network.state_dict(),
             'history': model.contrast.term.state_dict()}
    saved = write_snapshot(Path(model.opt['path']['experiments_root']), trace.step, model.opt['rank'], parts)
    others = f' (then {", ".join(bad[1:])})' if bad[1:] else ''
    raise TrainingDivergedError(
        f'{bad[0]} is {losses[bad[0]]} at iteration {trace.step}{others}. The first value that is not finite is '
        f'{what}. Remedies: {remedy}. {saved} Weights and history are as {"before" if before_step else "after"} the '
        'update. Continue from the last good checkpoint with --auto_resume.')
