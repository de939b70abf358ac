"""SIGTERM, SIGINT and SIGUSR1: the first one asks the run to stop, the second one ends it at once."""
from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

HANDLED = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGUSR1') if hasattr(signal, name))
RELAYED_WITHIN = 2.0  # seconds; a launcher passes on a signal that the whole group, or job, has had already


class TrainingStopped(SystemExit):
    """A signal has stopped the run in good order; ``--auto_resume`` continues it. Exit status 75 (EX_TEMPFAIL)."""

    STATUS = 75

    def __init__(self) -> None:
        super().__init__(self.STATUS)


class StopSignals:
    """Listens inside a ``with`` block of the main thread; elsewhere, and where a handler is set already, does nothing.

    A thread of its own reads the signals, so that the second one ends a run that hangs in a system call, too.

    Args:
        relayed (bool): A launcher passes signals on: one that follows within 2 seconds is the same one.

    Attributes:
        received (str | None): Name of the first signal.
        interrupted_by (str | None): Name of the signal that raised TrainingStopped; ``received`` may follow later.
        in_loop (bool): The run will look at ``received`` after its step. Otherwise the first signal raises
            TrainingStopped in the main thread.
    """

    def __init__(self, relayed: bool = False) -> None:
        self.relayed = relayed
        self.received: str | None = None
        self.interrupted_by: str | None = None
        self.in_loop = False
        self._at = 0.0
        self._replaced: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is not threading.main_thread():
            return self
        unset = (signal.SIG_DFL, signal.default_int_handler)
        free = [number for number in HANDLED if signal.getsignal(number) in unset]
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        threading.Thread(target=self._listen, args=(self._pipe[0], frozenset(free)), daemon=True).start()
        self._wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        _in_children.append(self)
        self._replaced = {number: signal.signal(number, self._in_main_thread) for number in free}
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._pipe is None:
            return
        for number, handler in self._replaced.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        _in_children.remove(self)
        os.close(self._pipe[1])  # ends the thread, which closes the other end
        self._pipe = None

    def _in_main_thread(self, number: int, frame: FrameType | None) -> None:
        if not self.in_loop:
            self.interrupted_by = signal.Signals(number).name
            raise TrainingStopped

    def _listen(self, pipe: int, wanted: frozenset[int]) -> None:
        while data := os.read(pipe, 64):
            for number in data:
                if number in wanted:
                    self._note(number)
        os.close(pipe)

    def _note(self, number: int) -> None:
        name, now = signal.Signals(number).name, time.monotonic()
        if self.received is None:
            self.received, self._at = name, now
            _say(f'{name}: finishing the step, then saving a checkpoint. A second signal ends the run at once.'
                 if self.in_loop else f'{name}: ending.')
        elif not (self.relayed and now - self._at < RELAYED_WITHIN):
            _say(f'{name}, the second signal: ending at once.')
            os._exit(128 + number)

    def _forget_in_child(self) -> None:
        """A forked process has its own signals: those that it gets must not reach the run through the pipe."""
        for number, handler in self._replaced.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._replaced = {}


def _say(text: str) -> None:
    os.write(2, f'\nbasicsr train: {text}\n'.encode())  # the log may be what the main thread is busy with


_in_children: list[StopSignals] = []  # those that forked processes have to forget


def _after_fork() -> None:
    while _in_children:
        _in_children.pop()._forget_in_child()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_after_fork)
