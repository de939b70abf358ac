"""Which option is to blame when BasicSR fails before or in its first step; later errors keep their traceback."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.utils.registry import LOSS_REGISTRY

from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr.explain import explained
from mcir_plugin.hosts.basicsr.lookup import lookup
from mcir_plugin.hosts.basicsr.settings import find


@contextmanager
def blamed(opt: Mapping[str, Any]) -> Iterator[None]:
    """Explain why a model could not be built: by the network or loss that fails alone, else by the model type.

    Args:
        opt (Mapping): The options of the whole run.

    Raises:
        McirError: Naming the option.
    """
    before = copy.deepcopy({key: value for key, value in opt.items() if key == 'train' or key.startswith('network_')})
    try:
        yield
    except McirError:
        raise
    except Exception:
        for where, block in find(before, 'network_*'):
            with explained(where):
                build_network(block)
        for where, block in find(before, 'train.*_opt'):
            # with an extractor of its own, a loss is built by its host
            if isinstance(block, Mapping) and lookup(LOSS_REGISTRY, block.get('type')) and not block.get('extractor'):
                with explained(where):
                    build_loss(block)
        with explained(f'model_type {opt["model_type"]}'):
            raise


def explained_first_step(model: Any) -> Any:
    """Have the first step of a model explain why it fails: the networks and the data may not go together."""
    step = model.optimize_parameters if hasattr(model, 'optimize_parameters') else None

    def first(current_iter: int) -> None:
        with explained('the first training step'):
            step(current_iter)
        del model.optimize_parameters  # the class's own from now on

    if step is not None:
        model.optimize_parameters = first
    return model


def explained_folders(host_make: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Wrap ``make_exp_dirs``: folders that cannot be made are an error about their option."""

    @wraps(host_make)
    def make_exp_dirs(opt: dict[str, Any]) -> None:
        key = 'experiments_root' if opt['is_train'] else 'results_root'
        with explained(f'path.{key} ({opt["path"][key]})'):
            host_make(opt)

    return make_exp_dirs


def explained_resuming(host_method: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``BaseModel.resume_training``: a state of another optimizer or scheduler is an error about the state."""

    @wraps(host_method)
    def resume_training(self: Any, resume_state: dict[str, Any]) -> None:
        with explained(f'path.resume_state ({(self.opt.get("path") or {}).get("resume_state")})'):
            host_method(self, resume_state)

    return resume_training
