"""Where the term joins a model: hooks on its losses, whose names in checkpoints stay what they are."""
from __future__ import annotations

import inspect
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mcir_plugin.config import ConfigError
from mcir_plugin.config.errors import did_you_mean
from mcir_plugin.hosts.criterion import StepContrast
from mcir_plugin.hosts.mmengine.options import WHERE
from mcir_plugin.hosts.weighting import require_weight

TERM, TOTAL, PIXEL = 'loss_spn', 'loss', 'loss_pix'  # names in the log; mmengine sums all that contain 'loss'


class Attachment:
    """Lets the losses of a model answer with the term added, and the log show the two apart.

    Args:
        model (nn.Module): Bare, as it holds the network and the losses.
        losses (Mapping[str, nn.Module]): The losses that may carry the term.
        contrast (StepContrast): Supplies the term.
    """

    def __init__(self, model: nn.Module, losses: Mapping[str, nn.Module], contrast: StepContrast) -> None:
        self.model = model
        self.contrast = contrast
        weighted = losses if contrast.term.uncertainty is not None else {}
        for name, loss in weighted.items():
            require_weight(loss, name, f'{WHERE}.history.uncertainty')
        self._handles = [loss.register_forward_pre_hook(self._weigh, with_kwargs=True) for loss in weighted.values()]
        self._handles += [loss.register_forward_hook(self._join, with_kwargs=True) for loss in losses.values()]
        self._parse_losses = getattr(model, 'parse_losses', None)
        if self._parse_losses is not None:
            model.parse_losses = self._parse_split

    def detach(self) -> None:
        """Leave the model as it was found."""
        for handle in self._handles:
            handle.remove()
        self.contrast.capture.detach()
        if self._parse_losses is not None:
            del self.model.parse_losses

    def _join(self, loss: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Any:
        return self.contrast.join_first(value, *_images(loss, args, kwargs))

    def _weigh(self, loss: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.contrast.weigh(loss, *_images(loss, args, kwargs), args, kwargs)

    def _parse_split(self, losses: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return self._parse_losses(split_losses(losses, self.contrast), *args, **kwargs)


def split_losses(losses: dict[str, Any], contrast: StepContrast) -> dict[str, Any]:
    """Return the losses with criterion and term apart, so that mmengine sums and logs each of them once.

    Nothing is split where the model changed the criterion's value before, or keeps it out of the sum: the term is in
    that value then, and is logged by the hook alone.

    Args:
        losses (dict): What the model's ``forward`` returned: tensors, or lists of tensors, by name.
        contrast (StepContrast): The running step.
    """
    joined = next((name for name, value in losses.items() if 'loss' in name and _holds(value, contrast.total)), None)
    if contrast.added is None or joined is None or TERM in losses:
        return losses
    split: dict[str, Any] = {}
    for name, value in losses.items():
        if name != joined:
            split[name] = value
            continue
        kept = PIXEL if name == TOTAL and PIXEL not in losses else name  # 'loss' is how mmengine logs the sum
        split[kept] = ([contrast.value if part is contrast.total else part for part in value]
                       if isinstance(value, list) else contrast.value)
        split[TERM] = contrast.added
    return split


def bare_model(model: nn.Module) -> nn.Module:
    """Return the model inside a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def find_network(model: nn.Module, name: str, option: str = 'network') -> nn.Module:
    """Return a network of the model.

    Args:
        model (nn.Module): Bare.
        name (str): Its dotted name.
        option (str): The argument of the hook that names it. Default: ``network``, the one under training.

    Raises:
        ConfigError: If the model has no such module.
    """
    found = _attribute(model, name)
    if not isinstance(found, nn.Module):
        raise ConfigError(_missing(option, name, model))
    return found


def find_losses(model: nn.Module, names: tuple[str, ...]) -> dict[str, nn.Module]:
    """Return the losses of these names, without those that the model has switched off (None).

    Raises:
        ConfigError: If one does not exist, is no module, or if all are switched off.
    """
    found = {name: _attribute(model, name) for name in names}
    wrong = [_missing('losses', name, model) for name, loss in found.items()
             if not isinstance(loss, nn.Module) and not (loss is None and hasattr(model, name))]
    if wrong:
        raise ConfigError(*wrong)
    present = {name: loss for name, loss in found.items() if loss is not None}
    if not present:
        raise ConfigError(f'{WHERE}.losses: {", ".join(names)} of {type(model).__name__} is None, so the term has '
                          'nothing to join. Switch the loss on, or name another')
    return present


def _images(loss: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Return output and ground truth among the arguments of a loss, whatever they are called there."""
    named = inspect.signature(loss.forward).bind(*args, **kwargs).arguments
    pred, target = [*(args if len(args) > 1 else named.values()), None][:2]
    return pred, target


def _attribute(model: nn.Module, name: str) -> Any:
    try:
        return attrgetter(name)(model)
    except AttributeError:
        return None


def _missing(option: str, name: str, model: nn.Module) -> str:
    modules = [child for child, _ in model.named_children()]
    return (f'{WHERE}.{option}: received {name!r}, but {type(model).__name__} has no module of this name'
            f'{did_you_mean(name, modules)}. Its modules: {", ".join(modules) or "none"}')


def _holds(value: Any, total: Tensor | None) -> bool:
    return total is not None and any(part is total for part in (value if isinstance(value, list) else [value]))
