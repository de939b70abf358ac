"""Processes that load data leave stop signals to the run: a terminal or a scheduler sends them to all processes."""
from __future__ import annotations

import atexit
import multiprocessing
import signal
from collections.abc import Iterable
from typing import Any, TypeVar

from basicsr import data

from mcir_plugin.hosts.basicsr.survival.signals import HANDLED

T = TypeVar('T')
_host_init = data.worker_init_fn


def worker_init_fn(worker_id: int, **kwargs: Any) -> None:
    """Start a worker as BasicSR does, deaf to stop signals; it ends when the run ends, or within seconds of its death.

    Args:
        worker_id (int): Number of the worker.
        **kwargs: Those of BasicSR's own function.
    """
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
    _host_init(worker_id, **kwargs)


def end_workers() -> None:
    """End workers that are still there when the interpreter ends; Python would send a SIGTERM and wait."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def end_reading(source: Any) -> None:
    """End the workers that read for a prefetcher or an iterator of a ``DataLoader``, after an error.

    The traceback keeps the iterator in a cycle of references. Collected with it, it could not tell its workers to end,
    which do not take the SIGTERM that it sends them then: 20 seconds, and they would stay.

    Args:
        source (Any): The prefetcher or iterator; anything without workers is left alone.
    """
    iterator = getattr(source, 'loader', source)
    iterator = getattr(iterator, 'generator', iterator)  # inside BasicSR's prefetching thread
    getattr(iterator, '_shutdown_workers', lambda: None)()


def first_batch(loader: Iterable[T]) -> T:
    """Return the first batch of a ``DataLoader``; its workers end, whatever happens."""
    iterator = iter(loader)
    try:
        return next(iterator)
    finally:
        end_reading(iterator)


def install() -> None:
    """Have BasicSR start its workers so. Idempotent."""
    if data.worker_init_fn is not worker_init_fn:
        data.worker_init_fn = worker_init_fn
        atexit.register(end_workers)
