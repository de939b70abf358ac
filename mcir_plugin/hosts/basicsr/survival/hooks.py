"""Where the pipelines meet their run: names that ``basicsr.train`` and ``basicsr.test`` have bound, the model class."""
from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import basicsr.test
import basicsr.train
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger

from mcir_plugin.hosts.basicsr.resume import DATA
from mcir_plugin.hosts.basicsr.survival import results, workers
from mcir_plugin.hosts.basicsr.survival.run import current, surviving


def install() -> None:
    """Hook into the pipelines. To be called once, after the other wrappers of the same names."""
    train = basicsr.train
    train.train_pipeline = surviving(train.train_pipeline)
    train.load_resume_state = _claiming(train.load_resume_state)
    train.init_tb_loggers = _noting_tb_logger(train.init_tb_loggers)
    for name in ('CPUPrefetcher', 'CUDAPrefetcher'):
        setattr(train, name, _stopping(getattr(train, name)))
    basicsr.test.test_pipeline = results.letting_go(basicsr.test.test_pipeline)
    basicsr.test.make_exp_dirs = results.claiming(basicsr.test.make_exp_dirs)
    workers.install()


def watching(host_parse: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap BasicSR's ``parse_options``: it makes the process group, and from then on ranks watch each other."""

    @wraps(host_parse)
    def parse_options(*args: Any, **kwargs: Any) -> Any:
        parsed = host_parse(*args, **kwargs)
        if (run := current()) is not None:
            run.connect(parsed[0])
        return parsed

    return parse_options


def _claiming(load: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``load_resume_state``: what follows it may rename the experiment folder."""

    @wraps(load)
    def load_resume_state(opt: dict[str, Any]) -> Any:
        if (run := current()) is not None:
            run.claim(opt)
        return load(opt)

    return load_resume_state


def _noting_tb_logger(init: Callable[..., Any]) -> Callable[..., Any]:

    @wraps(init)
    def init_tb_loggers(opt: dict[str, Any]) -> Any:
        tb_logger = init(opt)
        if (run := current()) is not None:
            run.tb_logger = tb_logger
        return tb_logger

    return init_tb_loggers


def _stopping(prefetcher: type) -> type:
    """Return the prefetcher with a place to stop: the loop asks for data when a step, its log and all else is over."""

    def next_batch(self: Any) -> Any:
        if (run := current()) is not None:
            run.prefetcher = self
            run.between_steps()
        return prefetcher.next(self)

    return type(prefetcher.__name__, (prefetcher, ), {'next': next_batch, '__doc__': prefetcher.__doc__})


class ValidationLeft(Exception):
    """The run was asked to stop while it validated."""


class SurvivalMixin:
    """Tells the run of this process where training stands. Mixed in before a model class, see :func:`with_survival`."""

    _may_leave = False

    def optimize_parameters(self, current_iter: int) -> None:
        """Run the model's own step."""
        run = current()
        if run is not None:
            run.step_begins()
        super().optimize_parameters(current_iter)
        if run is not None:
            run.step_ended(self, DATA.epoch, current_iter)

    def save(self, epoch: int, current_iter: int) -> None:
        """Save as the model does, then the checksums."""
        run = current()
        if run is None:
            super().save(epoch, current_iter)
            return
        with run.saving(self.opt, current_iter):
            super().save(epoch, current_iter)

    def validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Validate as the model does, unless the run is asked to stop meanwhile."""
        self._may_leave = validates_alone(self)
        try:
            super().validation(dataloader, current_iter, tb_logger, save_img)
        except ValidationLeft:
            get_root_logger().warning(f'The validation at iteration {current_iter} is left unfinished.')
        finally:
            self._may_leave = False

    def test(self) -> None:
        """Run the model's own inference."""
        run = current()
        if self._may_leave and run is not None and run.signals.received and run.signals.in_loop:
            raise ValidationLeft
        super().test()


def validates_alone(model: Any) -> bool:
    """Say whether no other rank takes part in a validation of this model."""
    return not model.opt['dist'] or inspect.unwrap(type(model).dist_validation) is SRModel.dist_validation


def with_survival(cls: type) -> type:
    """Return the model class as a run knows it; its name and its training step stay what they are."""
    return type(cls.__name__, (SurvivalMixin, cls), {'__doc__': cls.__doc__}) if current() is not None else cls
