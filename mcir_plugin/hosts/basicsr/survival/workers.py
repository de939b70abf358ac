"""Processes that load data leave stop signals to the run: a terminal or a scheduler sends them to all processes."""
from __future__ import annotations

import atexit
import multiprocessing
import signal
from typing import Any

from basicsr import data

from mcir_plugin.hosts.basicsr.survival.signals import HANDLED

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


def install() -> None:
    """Have BasicSR start its workers so. Idempotent."""
    if data.worker_init_fn is not worker_init_fn:
        data.worker_init_fn = worker_init_fn
        atexit.register(end_workers)
