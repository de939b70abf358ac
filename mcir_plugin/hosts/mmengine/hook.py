"""The hook that gives a network in any mmengine model its history."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor, nn

from mcir_plugin.config import ConfigError, HistoryOptions
from mcir_plugin.config.contrast import never_acts
from mcir_plugin.config.errors import raise_if_any
from mcir_plugin.contrast import ContrastTerm
from mcir_plugin.hosts.criterion import StepContrast
from mcir_plugin.hosts.extractor import build_extractor
from mcir_plugin.hosts.guard import RatioWatch, RiseWatch
from mcir_plugin.hosts.learning_rate import relative_lr
from mcir_plugin.hosts.mmengine.attachment import TERM, Attachment, bare_model, find_losses, find_network
from mcir_plugin.hosts.mmengine.guard import FiniteGuard, names_of
from mcir_plugin.hosts.mmengine.options import WHERE, read_names, read_options
from mcir_plugin.hosts.mmengine.registry import MODELS, SCOPE
from mcir_plugin.hosts.mmengine.steps import StepCounter
from mcir_plugin.hosts.picture import is_due, picture
from mcir_plugin.hosts.term import build_term

KEY = 'mcir_plugin'  # our entry in checkpoints


@HOOKS.register_module()
class HistoryNegativeHook(Hook):
    """Trains a network of the model with history negatives (MCIR, AAAI 2024, arXiv 2309.06023).

    The first of ``losses`` that is asked about an output of the network answers with the contrastive term added.
    The history starts with the weights as they are when training starts (loaded or resumed ones included), and is
    refreshed after steps of the optimizer: with gradient accumulation, all iteration numbers in ``history`` count
    steps. It is saved in checkpoints under ``mcir_plugin``. ``loss_spn``, ``spn/ratio``, ``spn/dist_k`` and
    ``spn/age_k`` (steps since the last refresh of negative k) appear in the log and in every visualization backend.

    Args:
        network (str): Dotted name of the network inside the model. Default: ``generator``.
        losses (str | Sequence[str]): Names of the losses, ``nn.Module`` attributes of the model that are called with
            output and ground truth. Default: ``pixel_loss``.
        spn (Mapping | None): The loss, ``type`` and options as of ``train.spn_opt``. Default: :class:`SPNLoss` with the
            published ones.
        history (Mapping | None): The history, options as of ``train.history_opt``; ``momentum``, the share of the
            network in an update as mmengine counts it, is read as ``decay = 1 - momentum``. Default: the published
            ones (decay 0.1, momentum 0.9).

    Raises:
        ConfigError: If an option is wrong; when training starts, if the model has no such network or loss, or the
            weight of the term could not follow its schedule.
        WeightError: When training starts, if ``uncertainty`` is asked for and a loss takes no pixel weight.
        FeatureWeightsError: When training starts, if there are no usable weights for the feature extractor.
        StateError: When training is resumed with another number of negatives.
        TrainingDivergedError: At the first loss that is NaN or infinite.

    Examples:
        >>> custom_imports = dict(imports=['mcir_plugin.hosts.mmengine'])
        >>> custom_hooks = [dict(type='HistoryNegativeHook', spn=dict(type='SPNLoss', loss_weight=1e-3),
        ...                      history=dict(update_iter=[100, 200, 500, 1000], momentum=0.9))]
    """

    priority = 'NORMAL'  # after RuntimeInfoHook, before LoggerHook and CheckpointHook

    def __init__(self, network: str = 'generator', losses: str | Sequence[str] = 'pixel_loss',
                 spn: Mapping[str, Any] | None = None, history: Mapping[str, Any] | None = None) -> None:
        if not isinstance(network, str) or not network:
            raise ConfigError(f"{WHERE}.network: received {network!r}, must be a name such as 'generator'")
        self.network = network
        self.losses = read_names(losses)
        self.config = read_options(spn, history)
        self.contrast: StepContrast | None = None
        self._attachment: Attachment | None = None
        self._saved: dict[str, Any] | None = None

    def before_train(self, runner: Any) -> None:
        """Build the history from the loaded weights, or restore it, and attach the term to the model."""
        self.after_train(runner)
        self._require_place(runner)
        model = bare_model(runner.model)
        network = find_network(model, self.network)
        losses = find_losses(model, self.losses)
        self.steps = StepCounter(runner.optim_wrapper, network)
        history = self._history_within(runner)
        self.contrast = StepContrast(self._build_term(runner, network, history), network,
                                     lambda: relative_lr([self.steps.optimizer], network),
                                     lambda: self._guard.inspect())
        self._guard = FiniteGuard(runner, self.contrast, network, names_of(self.network))
        self._attachment = Attachment(model, losses, self.contrast)
        self._watch = RatioWatch(history.warn_ratio, history.max_ratio is not None, runner.logger.warning,
                                 self._guard.names, self.contrast.term.loss.lower_bound,
                                 self.contrast.term.loss.loss_weight)
        self._rise = RiseWatch(runner.logger.warning, self._guard.names)
        self._idle = False
        self._restore(runner)
        term = self.contrast.term
        copies = [] if term.bank is None else term.bank.copies
        past = f'{len(copies)} past copies of {self.network} ({type(network).__name__})' if copies else 'no history'
        runner.logger.info(f'{WHERE}: {", ".join(losses)} of {type(model).__name__} is joined by '
                           f'{term.loss.formula()}; {past}.')

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Listen to the network and the losses."""
        self.contrast.begin(self.steps.count + 1)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, Any] | None = None) -> None:
        """Stop at NaN; log; refresh the history if the optimizer has stepped."""
        scalars = {name: float(v.detach()) for name, v in (outputs or {}).items() if isinstance(v, Tensor)}
        self._guard.require(scalars)
        self._log(runner.message_hub, outputs or {})
        stepped = self.steps.taken()
        if stepped and not self.contrast.asked and not self._idle:
            self._idle = True
            runner.logger.warning(f'{WHERE}: the optimizer has stepped, but the model did not ask '
                                  f'{", ".join(self.losses)}: no term was added. Is it the right loss? Said once.')
        self.contrast.finish(stepped)
        self._draw(runner)

    def after_train(self, runner: Any) -> None:
        """Leave model and optimizer as they were found; the history stays, to be saved."""
        if self._attachment is not None:
            self._attachment.detach()
            self.steps.detach()
            self._attachment = None

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Save the history."""
        if self.contrast is not None:
            state = {'step': self.steps.count, **self.contrast.term.state_dict()}
            checkpoint.setdefault(KEY, {})[self.network] = state

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the saved history until training starts."""
        self._saved = checkpoint.get(KEY, {}).get(self.network)

    def _build_term(self, runner: Any, network: nn.Module, history: HistoryOptions) -> ContrastTerm:
        extractor = build_extractor(self.config.spn, MMENGINE_MODELS.build,
                                    lambda name: self._find_extractor(bare_model(runner.model), name))
        spn = {**self.config.spn.kwargs(extractor), 'type': f'{SCOPE}.{self.config.spn.type}'}
        loss = MODELS.build(spn).to(next(network.parameters()).device)
        seed = torch.tensor(runner.seed)
        broadcast(seed)  # with diff_rank_seed every rank has its own
        return build_term(network, history, loss, int(seed), self._factory(runner.cfg.get('model')),
                          names_of(self.network))

    def _find_extractor(self, model: nn.Module, name: str) -> nn.Module:
        if name == self.network:
            raise ConfigError(f'{WHERE}.spn.extractor.name: {name} is the network that the term trains. Use another, '
                              'such as the discriminator of the model')
        return find_network(model, name, 'spn.extractor.name')

    def _factory(self, config: Any) -> Callable[[], nn.Module] | None:
        """Return what builds the network anew, if the config of the model describes it under the same name."""
        for part in self.network.split('.'):
            config = config.get(part) if isinstance(config, Mapping) else None
        described = isinstance(config, Mapping) and 'type' in config
        return (lambda: MMENGINE_MODELS.build(config)) if described else None

    def _restore(self, runner: Any) -> None:
        saved, self._saved = self._saved, None
        if runner.iter == 0:  # a new run, even if its weights come from a checkpoint
            return
        step = runner.iter // self.steps.accumulative_counts if saved is None else saved['step']
        self.steps.resume(step)
        if self.contrast.term.restarts(saved, step):
            runner.logger.warning(f'{WHERE}: the checkpoint was written without a history of {self.network}. Training '
                                  f'continues from it, but the history starts anew at step {self.steps.count}.')
            return
        if saved is None:
            return
        self.contrast.term.load_state_dict(saved)
        term = self.contrast.term
        if term.bank is not None:
            runner.logger.info(f'{WHERE}: restored {term.num_negatives} history negatives at step {step}.')
        elif saved['bank'] is not None:
            runner.logger.warning(f'{WHERE}: the checkpoint holds history negatives, which {type(term.loss).__name__} '
                                  'does not read: they are left out.')

    def _log(self, hub: Any, outputs: Mapping[str, Any]) -> None:
        contrast = self.contrast
        if contrast.added is not None:
            added, value = float(contrast.added.detach()), float(contrast.value.detach().mean())
            self._rise(value, added, contrast.step)
            hub.update_scalar('train/spn/ratio', abs(added) / max(abs(value), 1e-12))
            if contrast.term.record.measured:
                ratio = float(contrast.term.record.grad_ratio)
                self._watch(ratio, contrast.step)
                hub.update_scalar('train/spn/grad_ratio', ratio)
            if TERM not in outputs:
                hub.update_scalar(f'train/{TERM}', added)
            for k, distance in sorted(contrast.term.record.distances.items()):
                hub.update_scalar(f'train/spn/dist_{k + 1}', distance)
        elif contrast.term.ended(contrast.step):  # else the log would repeat the last value for ever
            hub.update_scalar(f'train/{TERM}', 0.0)
            hub.update_scalar('train/spn/ratio', 0.0)
        for k, age in enumerate(contrast.term.ages(contrast.step)):
            hub.update_scalar(f'train/spn/age_{k + 1}', age)
        for name, value in contrast.term.measured().items():
            hub.update_scalar(f'train/spn/{name}', value)

    def _draw(self, runner: Any) -> None:
        """Hand a picture of the pixel weight to the visualization backends, where one is asked for."""
        every = (self.config.history.uncertainty or {}).get('visualize_iter')
        if is_main_process() and is_due(self.contrast, every):
            runner.visualizer.add_image('uncertainty', picture(self.contrast)[..., ::-1], self.contrast.step)

    def _require_place(self, runner: Any) -> None:
        """Refuse a place after the CheckpointHook, which would save the history one step late."""
        kinds = [type(hook) for hook in runner.hooks]
        if CheckpointHook in kinds and kinds.index(CheckpointHook) < runner.hooks.index(self):
            raise ConfigError(f'{WHERE}.priority: received {self.priority!r}, must come before CheckpointHook. Remove '
                              'it (default NORMAL)')

    def _history_within(self, runner: Any) -> HistoryOptions:
        """Return the options of the history for the length of this training; refuse what would not act in it."""
        total = math.ceil(runner.max_iters / self.steps.accumulative_counts)
        history = self.config.history
        raise_if_any(never_acts(self.config.spn, history, total, f'{WHERE}.spn', f'{WHERE}.history', 'step'))
        if history.weight_schedule['type'] == 'lr' and not runner.param_schedulers:
            raise ConfigError(f'{WHERE}.history.weight_schedule: lr has no effect, since the learning rate does not '
                              'change. Give the runner a param_scheduler, or use linear or cosine')
        return history.within(total, f'{WHERE}.history')
