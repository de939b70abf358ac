"""Stops a Runner at the first NaN or infinity: says where it comes from, and keeps a snapshot."""
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from torch import nn

from mcir_plugin.config import ConfigError
from mcir_plugin.hosts.criterion import StepContrast
from mcir_plugin.hosts.diagnosis import broken_state, first_cause
from mcir_plugin.hosts.guard import Names, TrainingDivergedError
from mcir_plugin.hosts.mmengine.attachment import PIXEL, TERM, TOTAL
from mcir_plugin.hosts.mmengine.options import WHERE
from mcir_plugin.hosts.snapshot import write_snapshot


def names_of(network: str) -> Names:
    """Return how mmengine calls what messages speak of."""
    return Names(network, f'{WHERE}.spn', f'{WHERE}.history', 'clip_grad of the optim_wrapper', 'resume=True')


class FiniteGuard:
    """Watches the losses of one training.

    Args:
        runner (Runner): Counts the iterations; snapshots go to its ``work_dir``.
        contrast (StepContrast): The term and the running step.
        network (nn.Module): The network under training.
        names (Names): As messages call it.

    Raises:
        ConfigError: If the weights of the network or of the extractor are not finite before training.
    """

    def __init__(self, runner: Any, contrast: StepContrast, network: nn.Module, names: Names) -> None:
        self.runner = runner
        self.contrast = contrast
        self.network = network
        self.names = names
        broken = {names.network: broken_state(network),
                  f'{names.spn}.vgg_weights': broken_state(contrast.term.loss.extractor)}
        problems = [f'{option}: its weights are not finite: {found}. Load others' for option, found in broken.items()
                    if found]
        if problems:
            raise ConfigError(*problems)

    def inspect(self) -> None:
        """Stop before the gradients are computed, where reading the loss costs nothing: without a GPU."""
        total, added, value = self.contrast.total, self.contrast.added, self.contrast.value
        if total.device.type == 'cpu' and not torch.isfinite(total).all():
            term = {} if added is None else {TERM: float(added.detach().mean())}
            self.require({PIXEL: float(value.detach().mean()), **term}, before_step=True)

    def require(self, losses: Mapping[str, float], before_step: bool = False) -> None:
        """Stop if a loss is not finite, after saving what is needed to look into it.

        Args:
            losses (Mapping[str, float]): Of the running step.
            before_step (bool): Whether the optimizer has not stepped yet. Default: False.

        Raises:
            TrainingDivergedError: Naming the first such loss, where it comes from, the step and the snapshot.
        """
        bad = sorted((name for name, value in losses.items() if not math.isfinite(value)), key=TOTAL.__eq__)
        if not bad:
            return
        trace, term = self.contrast.trace(), self.contrast.term
        cause = first_cause(trace, term, self.network, self.names, before_step)
        what, remedy = cause or (f'in {bad[0]} itself', f'a lower learning rate, {self.names.clip}')
        parts = {'cause': what, 'losses': dict(losses), 'inputs': trace.inputs, 'gt': trace.gt, 'output': trace.pred,
                 'params': self.network.state_dict(), 'history': term.state_dict()}
        saved = write_snapshot(Path(self.runner.work_dir), self.runner.iter + 1, get_rank(), parts)
        raise TrainingDivergedError(
            f'{bad[0]} is {losses[bad[0]]} at iteration {self.runner.iter + 1}. The first value that is not finite is '
            f'{what}. Remedies: {remedy}. {saved} The history and the checkpoints do not hold this step. Continue from '
            f'the last good checkpoint with {self.names.go_on}.')
