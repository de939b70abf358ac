"""One call of BasicSR's training pipeline: what holds it together from its first to its last moment."""
from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import distributed

from mcir_plugin.config import read_retention
from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr.compat.saving import recorded_files
from mcir_plugin.hosts.basicsr.options import NOTES
from mcir_plugin.hosts.basicsr.survival.checkpoints import remove_leftovers
from mcir_plugin.hosts.basicsr.survival.checksums import write_checksums
from mcir_plugin.hosts.basicsr.survival.lifeline import Lifeline, connect
from mcir_plugin.hosts.basicsr.survival.lock import locked
from mcir_plugin.hosts.basicsr.survival.ranks import decided_by_rank_0
from mcir_plugin.hosts.basicsr.survival.retention import delete_old
from mcir_plugin.hosts.basicsr.survival.signals import StopSignals, TrainingStopped
from mcir_plugin.hosts.basicsr.survival.stopping import StopVote, wait_for_all
from mcir_plugin.hosts.basicsr.survival.workers import end_reading

NEWS_WITHIN = 2.0  # seconds: an error in a collective is followed by the news of the rank that caused it
SAVED_WITHIN = 5.0  # seconds: a checkpoint that is being written when another rank fails may be finished


class Run:
    """A training run of this process; use it in a ``with`` block around the pipeline.

    Attributes:
        signals (StopSignals): What the run was asked to do.
        tb_logger (SummaryWriter | None): Closed at the end, whatever the end is.
        prefetcher (Any): Hands out the batches; its workers are ended after an error.
    """

    def __init__(self) -> None:
        self.signals = StopSignals(relayed='RANK' in os.environ or 'SLURM_PROCID' in os.environ)
        self.tb_logger: Any = None
        self.prefetcher: Any = None
        self._stack = ExitStack()
        self._lifeline: Lifeline | None = None
        self._vote = StopVote(None)
        self._device: torch.device | None = None
        self._step: tuple[Any, int, int] | None = None  # model, epoch and iteration of the last one
        self._voted = self._saved = -1
        self._stopping = False
        self._writing = threading.Lock()

    def __enter__(self) -> Run:
        self._stack.enter_context(self.signals)
        _runs.append(self)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        try:
            with self._stack:
                if self.tb_logger:
                    self.tb_logger.close()
                self._part(error)
        finally:
            _runs.remove(self)
            if error is not None:
                end_reading(self.prefetcher)  # after the other ranks know: a worker may hang

    def connect(self, opt: Mapping[str, Any]) -> None:
        """Watch the other ranks from now on. Collective; as soon as there is a process group."""
        if opt['dist'] and opt['world_size'] > 1:
            self._lifeline = connect(opt, self._end, NOTES.append)
            gpu = distributed.get_backend() == 'nccl'
            self._device = torch.device('cuda', torch.cuda.current_device()) if gpu else torch.device('cpu')
            self._vote = StopVote(self._device)

    def claim(self, opt: Mapping[str, Any]) -> None:
        """Take the experiment folder before anything in it is changed. Collective.

        Raises:
            ExperimentInUseError: If another run works in it.
        """
        decided_by_rank_0(lambda: self._claim(opt), opt)

    def _claim(self, opt: Mapping[str, Any]) -> None:
        self._stack.enter_context(locked(Path(opt['path']['experiments_root']), NOTES.append))
        for path in remove_leftovers(opt):
            NOTES.append(f'Removed {path}, which was being written when an earlier run ended.')

    def step_begins(self) -> None:
        """A step is to be finished, whatever signal comes."""
        self.signals.in_loop = True

    def step_ended(self, model: Any, epoch: int, iteration: int) -> None:
        """Note where training stands."""
        self._step = model, epoch, iteration

    def between_steps(self) -> None:
        """Stop here if a rank was asked to. Collective, once after every step.

        Raises:
            TrainingStopped: After a complete checkpoint has been saved.
        """
        if self._step is None or self._voted == self._step[2]:
            return
        self._voted = self._step[2]
        if self._vote(self.signals.received is not None):
            self._stop(*self._step)

    def _stop(self, model: Any, epoch: int, iteration: int) -> None:
        if self._saved != iteration:
            model.save(epoch, iteration)
        if self._device is not None:
            wait_for_all(self._device)  # a rank that exits earlier would be taken for one that failed
        self._stopping = True
        get_root_logger().warning(f'Stopped by {self.signals.received or "a signal to another rank"} after iteration '
                                  f'{iteration}. The checkpoint is complete; --auto_resume continues from it. Exit '
                                  f'status {TrainingStopped.STATUS}.')
        raise TrainingStopped

    @contextmanager
    def saving(self, opt: Mapping[str, Any], iteration: int) -> Iterator[None]:
        """Complete what is saved inside the block by checksums, and delete what is not to be kept.

        Raises:
            CheckpointError: If the checksums cannot be written.
        """
        with self._writing, recorded_files() as files:
            yield
            state = next((path for path in files if path.suffix == '.state'), None)
            if state is not None:
                write_checksums(state, files)
        self._saved = iteration
        if iteration == -1:
            self.signals.in_loop = False
        keep = read_retention(opt)
        if state is not None and keep.keep_last is not None:
            try:
                delete_old(opt, keep)
            except OSError as error:
                get_root_logger().warning(f'logger.keep_last: an old checkpoint cannot be deleted ({error}).')

    def _part(self, error: BaseException | None) -> None:
        """Take leave of the other ranks."""
        if self._lifeline is None:
            return
        if error is None or self._stopping or getattr(error, 'on_all_ranks', False):
            self._vote.settle()
            self._lifeline.done()
            distributed.destroy_process_group()  # its threads would otherwise be cut off by the end of the interpreter
            return
        if isinstance(error, RuntimeError) and not isinstance(error, McirError):
            time.sleep(NEWS_WITHIN)  # probably from a collective; what another rank has to say is clearer
        stopped = isinstance(error, TrainingStopped)
        signal = self.signals.received or self.signals.interrupted_by
        reason = f'was stopped by {signal}' if stopped else f'failed: {type(error).__name__}: {error}'
        self._lifeline.failed(reason, TrainingStopped.STATUS if stopped else 1)

    def _end(self, reason: str, status: int) -> None:
        """End this process, in whatever its main thread is waiting: another rank is gone."""
        get_root_logger().error(f'{reason}. This rank ends, too; continue from the last checkpoint with --auto_resume.')
        self._writing.acquire(timeout=SAVED_WITHIN)
        os._exit(status)


def current() -> Run | None:
    """Return the run of this process; None outside of the training pipeline, as in ``basicsr check``."""
    return _runs[-1] if _runs else None


def surviving(host_pipeline: Callable[..., None]) -> Callable[..., None]:
    """Wrap BasicSR's ``train_pipeline``.

    Raises:
        TrainingStopped: (by the wrapped function) after a signal; a SystemExit of status 75.
        ExperimentInUseError: If another run of the same name is at work.
    """

    @wraps(host_pipeline)
    def train_pipeline(*args: Any, **kwargs: Any) -> None:
        with Run():
            host_pipeline(*args, **kwargs)

    return train_pipeline


_runs: list[Run] = []
