"""Images prepared by several processes, and one error for all that are unfit."""
from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread

import cv2
from new_folder import PreparationError

SHOWN = 10  # so many names of unfit images are shown
REPAIR = 'Repair them, or use --exclude NAME.'
FEWER = 'If the system killed it for want of memory, use fewer --workers.'


def raise_all(problems: list[str], total: int, remedy: str = REPAIR) -> None:
    """Raises one PreparationError for all unfit images; none if there are none."""
    if problems:
        more = [f'... and {len(problems) - SHOWN} more'] if len(problems) > SHOWN else []
        raise PreparationError('\n  '.join([f'{len(problems)} of {total} images cannot be used:',
                                            *problems[:SHOWN], *more, remedy]))


def start_worker(with_torch: bool) -> None:
    """The parallel work is over images; each process uses one core, and ends with the command however that ends."""
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the command answers it
    cv2.setNumThreads(1)
    if with_torch:
        import torch

        torch.set_num_threads(1)


def _end_with_parent() -> None:
    """A pool whose owner was killed would wait for work for ever."""
    parent_process().join()
    os._exit(1)


@contextmanager
def worker_pool(workers: int, with_torch: bool = False) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that come from a clean one, one core each; work that has not begun is dropped at the end.

    Args:
        workers (int): processes.
        with_torch (bool): the work uses PyTorch. Default: False.
    """
    # not forked from here: OpenCV and PyTorch hang in the fork of a process in which their threads have run
    context = get_context('forkserver')
    context.set_forkserver_preload(['cv2', *(['torch'] if with_torch else [])])
    pool = ProcessPoolExecutor(workers, context, start_worker, (with_torch,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
