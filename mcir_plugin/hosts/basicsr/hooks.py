"""Makes an imported BasicSR aware of this package: networks, losses, data set, option reader, model builder."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import basicsr.data
import basicsr.losses
import basicsr.models
import basicsr.test
import basicsr.train
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY

from mcir_plugin.archs import NETWORKS
from mcir_plugin.hosts.basicsr import options, resume, schedulers
from mcir_plugin.hosts.basicsr.blame import blamed, explained_first_step, explained_folders, explained_resuming
from mcir_plugin.hosts.basicsr.clipping import with_clipping
from mcir_plugin.hosts.basicsr.compat.cpu import on_cpu
from mcir_plugin.hosts.basicsr.compat.swap import swapped
from mcir_plugin.hosts.basicsr.evaluation import with_evaluation
from mcir_plugin.hosts.basicsr.evaluation.metrics import OWN_METRICS, make_metric
from mcir_plugin.hosts.basicsr.model import with_history
from mcir_plugin.hosts.basicsr.paired_restoration_dataset import PairedRestorationDataset
from mcir_plugin.hosts.basicsr.survival import hooks as survival
from mcir_plugin.hosts.basicsr.watch.loaders import loaders_with_steps, watched
from mcir_plugin.losses import LOSSES, RECIPE_LOSSES

ALL_LOSSES = (*LOSSES.values(), *RECIPE_LOSSES.values())


def install() -> None:
    """Register the losses and wrap the names that ``basicsr.train`` and ``basicsr.test`` have bound. Idempotent."""
    if hasattr(basicsr.models.build_model, 'installed_by_mcir'):
        return
    for loss in ALL_LOSSES:  # under a suffix: packages that bring their own of this name keep it
        LOSS_REGISTRY.register(loss, suffix='basicsr')
    for network in NETWORKS:
        ARCH_REGISTRY.register(network, suffix='basicsr')
    DATASET_REGISTRY.register(PairedRestorationDataset, suffix='basicsr')
    for protocol in OWN_METRICS.values():
        METRIC_REGISTRY.register(make_metric(protocol))
    BaseModel.setup_schedulers = schedulers.more_schedulers(BaseModel.setup_schedulers)
    BaseModel.resume_training = explained_resuming(BaseModel.resume_training)
    build_dataset = watched(basicsr.data.build_dataset)
    for module in (basicsr.data, basicsr.train, basicsr.test, basicsr):
        module.build_dataset = build_dataset
    basicsr.train.create_train_val_dataloader = loaders_with_steps(basicsr.train.create_train_val_dataloader)
    for module in (basicsr.train, basicsr.test):
        module.make_exp_dirs = explained_folders(module.make_exp_dirs)
    build_model = model_builder(basicsr.models.build_model)
    for module in (basicsr.models, basicsr.train, basicsr.test, basicsr):
        module.build_model = build_model
        parse = getattr(module, 'parse_options', None)
        if parse:
            module.parse_options = options.parser_with_inheritance(survival.watching(parse))
    basicsr.train.load_resume_state = resume.resumable_state(basicsr.train.load_resume_state)
    basicsr.train.copy_opt_file = options.save_resolved(basicsr.train.copy_opt_file)
    basicsr.train.EnlargedSampler = resume.ResumableSampler
    survival.install()


def model_builder(host_build: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Wrap ``build_model``: the class it looks up gets a history if the options ask for one."""

    @wraps(host_build)
    def build_model(opt: dict[str, Any]) -> Any:
        while options.NOTES:
            get_root_logger().warning(options.NOTES.pop(0))
        with blamed(opt), swapped(basicsr.models, 'MODEL_REGISTRY', _Registry(basicsr.models.MODEL_REGISTRY, opt)):
            return explained_first_step(host_build(opt))

    build_model.installed_by_mcir = True
    return build_model


class _Registry:
    """The model registry as one run sees it."""

    def __init__(self, registry: Any, opt: dict[str, Any]) -> None:
        self.registry = registry
        self.opt = opt

    def get(self, name: str) -> type:
        """Return the registered class, with what this run adds to it."""
        cls = self.registry.get(name)
        if self.opt['is_train'] and self.opt['train'].get('spn_opt') is not None:
            cls = with_history(cls)
        if self.opt['is_train'] and self.opt['train'].get('grad_clip') is not None:
            cls = with_clipping(cls)
        cls = with_evaluation(cls, self.opt)
        cls = on_cpu(cls) if self.opt['num_gpu'] == 0 else cls
        return survival.with_survival(cls) if self.opt['is_train'] else cls
