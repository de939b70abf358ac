"""Gradient clipping for any model type: ``train.grad_clip``."""
from __future__ import annotations

from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from mcir_plugin.config import ConfigError, read_recipe
from mcir_plugin.config.errors import did_you_mean
from mcir_plugin.config.recipe import ClipOptions


class GradientClip:
    """Bounds the norm of the gradient of an optimizer's parameters just before each of its steps.

    The norm is that of all parameters together, as ``torch.nn.utils.clip_grad_norm_`` takes it. A model that scales its
    loss (``GradScaler``) must unscale the gradients before the step.

    Args:
        optimizer (Optimizer): Gets a hook, which it keeps when its state is loaded.
        options (ClipOptions): Bound and order of the norm.

    Attributes:
        norm (Tensor | None): The norm at the last step, before it was bounded.
    """

    def __init__(self, optimizer: Optimizer, options: ClipOptions) -> None:
        self.options = options
        self.norm: torch.Tensor | None = None
        optimizer.register_step_pre_hook(self._clip)

    def _clip(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        self.norm = clip_grad_norm_(parameters, self.options.max_norm, self.options.norm_type)


class ClippingMixin:
    """Adds the clipping and logs the norm. Mixed in before a model class, see :func:`with_clipping`.

    Attributes:
        clips (dict[str, GradientClip]): One per network, under its name in the log.
    """

    clips: dict[str, GradientClip]

    def setup_optimizers(self) -> None:
        """Let the model build its optimizers, then give them the hook."""
        super().setup_optimizers()
        options = read_recipe(self.opt).clip
        self.clips = {_label(name): GradientClip(self._optimizer_of(name), options) for name in options.networks}
        get_root_logger().info(f'Gradients of {", ".join(options.networks)} are clipped to a norm of '
                               f'{options.max_norm:g} (norm_type {options.norm_type:g}).')

    def _optimizer_of(self, network: str) -> Optimizer:
        found = {name.replace('optimizer_', 'net_', 1): value for name, value in vars(self).items()
                 if name.startswith('optimizer_') and isinstance(value, Optimizer)}
        if network not in found:
            raise ConfigError(f'train.grad_clip.networks: received {network!r}, but model_type '
                              f'{self.opt["model_type"]} trains {", ".join(found)}{did_you_mean(network, found)}')
        return found[network]

    def optimize_parameters(self, current_iter: int) -> None:
        """Run the model's own step; ``grad_norm`` in the log is the norm before it was bounded."""
        super().optimize_parameters(current_iter)
        self.log_dict.update({label: clip.norm for label, clip in self.clips.items() if clip.norm is not None})


def with_clipping(cls: type) -> type:
    """Return the model class with gradient clipping; its name and its training step stay what they are."""
    return type(cls.__name__, (ClippingMixin, cls), {'__doc__': cls.__doc__})


def _label(network: str) -> str:
    return 'grad_norm' if network == 'net_g' else f'grad_norm_{network.removeprefix("net_")}'
