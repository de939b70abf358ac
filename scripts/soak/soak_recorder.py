"""Notes what a training takes, step by step, from inside its process. An option file asks for it by ``imports``.

After each optimizer step it notes the time, and every SOAK_EVERY steps the resident memory of this process and the
number of its open files, threads and children. It writes them to SOAK_FILE at the end. Linux only: it reads /proc.
"""
from __future__ import annotations

import atexit
import json
import os
import time
from pathlib import Path
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

PROCESS = Path('/proc/self')


class Recorder:
    """Counts the optimizer steps of this process.

    Args:
        every (int): Steps between two looks at the process.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.times: list[float] = []
        self.looks: list[dict[str, int]] = []

    def __call__(self, *_: Any) -> None:
        """Note one step."""
        self.times.append(time.perf_counter())
        if len(self.times) % self.every == 0:
            self.looks.append({'step': len(self.times), **look()})

    def write(self, path: Path) -> None:
        """Write what was noted."""
        path.write_text(json.dumps({'times': self.times, 'looks': self.looks}))


def look() -> dict[str, int]:
    """Return resident memory in bytes, and the numbers of open files, threads and child processes."""
    pages = int((PROCESS / 'statm').read_text().split()[1])
    children = (PROCESS / 'task' / str(os.getpid()) / 'children').read_text().split()
    return {'rss': pages * os.sysconf('SC_PAGE_SIZE'), 'files': len(os.listdir(PROCESS / 'fd')),
            'threads': len(os.listdir(PROCESS / 'task')), 'children': len(children)}


if 'SOAK_FILE' in os.environ:
    recorder = Recorder(int(os.environ['SOAK_EVERY']))
    register_optimizer_step_post_hook(recorder)
    atexit.register(recorder.write, Path(os.environ['SOAK_FILE']))
