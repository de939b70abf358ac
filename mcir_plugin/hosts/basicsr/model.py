"""The mixin that gives any BasicSR model type its history, without writing a training step again."""
from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from torch import distributed

from mcir_plugin.config import ContrastConfig, read_contrast
from mcir_plugin.contrast import ContrastTerm
from mcir_plugin.errors import McirError
from mcir_plugin.hosts import term
from mcir_plugin.hosts.basicsr import extractor, guard, resume, summary, weight_maps
from mcir_plugin.hosts.basicsr.compat.saving import extra_state
from mcir_plugin.hosts.criterion import CompositeCriterion, StepContrast
from mcir_plugin.hosts.guard import RatioWatch, RiseWatch
from mcir_plugin.hosts.late import LateValues
from mcir_plugin.hosts.learning_rate import relative_lr
from mcir_plugin.hosts.weighting import require_weight
from mcir_plugin.losses import LOSSES

CRITERIA = ('cri_pix', 'cri_perceptual')
CRITERION, GRADIENTS = 'criterion', 'gradients'  # among late values: what the term joins, and how they compare


class NothingToAttachError(McirError, ValueError):
    """The model type has no criterion that the contrastive term could join."""


class HistoryMixin:
    """Adds the contrastive term, its log, its state. Mixed in before a model class, see :func:`with_history`.

    Attributes:
        contrast (StepContrast): The term and the state of the running step.
        files (tuple[str, ...]): Names of the samples of the running step.
        joined (str): Name in the log of what the term joins.
    """

    contrast: StepContrast
    files: tuple[str, ...] = ()
    joined = 'l_pix'
    _told = False
    _late: tuple[LateValues, guard.Step] | None = None

    def init_training_settings(self) -> None:
        """Let the model build its losses and optimizers, then wrap the first criterion there is."""
        super().init_training_settings()
        self._attach_history()

    def _attach_history(self) -> None:
        config = read_contrast(self.opt)
        name = next((c for c in CRITERIA if getattr(self, c, None) is not None), None)
        if name is None or not hasattr(self, 'net_g'):
            raise NothingToAttachError(
                f'model_type {self.opt["model_type"]} compares no output with a ground truth (no pixel or perceptual '
                'criterion), so spn_opt has nothing to join. Remove train.spn_opt, or add train.pixel_opt if the '
                'model type supports it.')
        if config.history.uncertainty is not None:
            require_weight(getattr(self, name), name, 'train.history_opt.uncertainty')
        self.contrast = StepContrast(build_term(self, config), self.net_g,
                                     lambda: relative_lr(self.optimizers, self.net_g),
                                     lambda: guard.require_finite_sum(self))
        guard.require_finite_start(self)
        setattr(self, name, CompositeCriterion(getattr(self, name), self.contrast))
        self._watch = RatioWatch(config.history.warn_ratio, config.history.max_ratio is not None,
                                 get_root_logger().warning, lower_bound=self.contrast.term.loss.lower_bound,
                                 loss_weight=self.contrast.term.loss.loss_weight)
        self._rise = RiseWatch(get_root_logger().warning)
        summary.log_attachment(self, name, config)

    def feed_data(self, data: Any) -> None:
        """Remember the names of the samples, for messages."""
        self.files = guard.files_of(data)
        super().feed_data(data)

    def optimize_parameters(self, current_iter: int) -> None:
        """Run the model's own step between :meth:`StepContrast.begin` and :meth:`StepContrast.finish`."""
        self.contrast.begin(current_iter)
        resume.DATA.count(self)
        super().optimize_parameters(current_iter)
        self.contrast.finish()
        weight_maps.write(self)

    def reduce_loss_dict(self, loss_dict: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Log the criterion and the term apart: ``l_pix`` keeps its meaning, ``l_spn`` joins it.

        Values stay tensors, which nobody has to wait for, except where BasicSR is about to print them.
        """
        self._judge()
        contrast, joined = self.contrast, self._joined_name(loss_dict)
        split = summary.split_losses(loss_dict, joined, contrast, self._logs_now())
        own = {CRITERION: contrast.value} if contrast.paired else {}
        if contrast.added is not None and contrast.term.record.measured:
            own[GRADIENTS] = contrast.term.record.grad_ratio
        self._late = LateValues(contrast.step, {**split, **own}), guard.step_of(self)
        if self._late[0].arrived or self._logs_now():
            self._judge()
        return self._printed(split, joined) if self._logs_now() else OrderedDict(split)

    def _printed(self, split: dict[str, torch.Tensor], joined: str | None) -> dict[str, float]:
        """Return what is printed: BasicSR's means over all GPUs, the size of the term, ages."""
        log_dict = super().reduce_loss_dict(split)
        if self.contrast.paired:
            value = self.contrast.value.item() if joined is None else log_dict[joined]
            log_dict['spn/ratio'] = abs(log_dict['l_spn']) / max(abs(value), 1e-12)
            log_dict.update(summary.gradients(self.contrast))
        return OrderedDict({**log_dict, **summary.ages(self.contrast)})

    def _judge(self) -> None:
        """Stop at a loss that is not finite, warn of a term that outgrows its criterion."""
        if self._late is None:
            return
        (late, step), self._late = self._late, None
        losses = late.read()
        criterion, ratio = losses.pop(CRITERION, None), losses.pop(GRADIENTS, None)
        guard.require_finite(self, losses, step)
        if ratio is not None:
            self._watch(ratio, late.step)
        if step.trace.added is not None:
            self._rise(criterion, losses['l_spn'], late.step)

    def _joined_name(self, loss_dict: dict[str, torch.Tensor]) -> str | None:
        """Return the name in the log of the value that holds criterion plus term; say once if there is none."""
        name = next((k for k, v in loss_dict.items() if summary.is_same(v, self.contrast.total)), None)
        self.joined = name or self.joined
        if name is None and self.contrast.paired and not self._told:
            self._told = True
            get_root_logger().warning('The model does not log the value of its criterion by itself (a sum, or scaled): '
                                      'what it logs includes l_spn. Said once.')
        return name

    def _logs_now(self) -> bool:
        return self.contrast.step % self.opt['logger']['print_freq'] == 0

    def save(self, epoch: int, current_iter: int) -> None:
        """Save, but nothing that the last step has made NaN."""
        self._judge()
        super().save(epoch, current_iter)

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Save the history and every rank's random state inside BasicSR's training state."""
        extra = {} if current_iter == -1 else {resume.KEY: resume.collect(self.contrast.term, self.opt)}
        with extra_state(extra):
            super().save_training_state(epoch, current_iter)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Restore optimizers, schedulers and the history."""
        super().resume_training(resume_state)
        resume.restore(self.contrast.term, resume_state)


def build_term(model: Any, config: ContrastConfig) -> ContrastTerm:
    """Build bank, loss and schedule for a model from its options."""
    with summary.quiet():
        built = extractor.of_model(config.spn, model)
        loss = LOSSES[config.spn.type](**config.spn.kwargs(built))  # not the registry's: a package may have this name
        loss.to(model.device)
        return term.build_term(model.net_g, config.history, loss, shared_seed(model.opt),
                               lambda: build_network(model.opt['network_g']))


def shared_seed(opt: dict[str, Any]) -> int:
    """Return rank 0's ``manual_seed``: where the option file gives none, BasicSR draws another one on each rank."""
    seed = [opt['manual_seed']]
    if opt['dist']:
        distributed.broadcast_object_list(seed, 0)
    return seed[0]


def with_history(cls: type) -> type:
    """Return the model class with a history; its name and its training step stay what they are.

    Raises:
        NothingToAttachError: If the class is known to have no criterion against a ground truth.
    """
    if cls.__name__ == 'StyleGAN2Model':
        raise NothingToAttachError('model_type StyleGAN2Model generates images from noise: there is no ground truth '
                                   'and no past output for the same input. Remove train.spn_opt.')
    get_root_logger().info(f'Model [{cls.__name__}] trains with a contrastive term (mcir_plugin).')
    return type(cls.__name__, (HistoryMixin, cls), {'__doc__': cls.__doc__})
