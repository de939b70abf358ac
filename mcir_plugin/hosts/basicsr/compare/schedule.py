"""Runs workers, one per GPU at a time (or one in all), shows how far they are, and leaves none behind."""
from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from mcir_plugin.errors import McirError

POLL = 0.2  # seconds
WORKER = 'mcir_plugin.hosts.basicsr.compare.worker'
LAST_LINES = 5


class RunsFailedError(McirError, RuntimeError):
    """Some runs did not end well; the others did."""


@dataclass(frozen=True)
class Job:
    """What one worker does.

    Attributes:
        name (str): Shown to the user.
        arguments (tuple[str, ...]): Of the worker.
        output (Path): File that collects what it prints.
        steps (int): Iterations that it has to do in all.
        progress (Callable): Returns how many it has done.
    """

    name: str
    arguments: tuple[str, ...]
    output: Path
    steps: int
    progress: Callable[[], int]


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    gpu: str | None
    since: float


def run_jobs(jobs: list[Job], gpus: list[str] | None, what: str) -> None:
    """Run all jobs; a failed one does not keep the others from running.

    Args:
        jobs (list[Job]): In the order in which they are started.
        gpus (list[str] | None): Numbers of the GPUs as this process counts them, one worker for each. None is one
            worker at a time, which sees what this process sees.
        what (str): Caption of the progress bar.

    Raises:
        RunsFailedError: Naming the failed ones, with the end of what each printed.
    """
    waiting, free = list(jobs), list(gpus) if gpus else [None]
    running: list[_Running] = []
    failed: list[str] = []
    with _bar(jobs, what) as bar, _ended(running):
        while waiting or running:
            while waiting and free:
                running.append(_start(waiting.pop(0), free.pop(0)))
            time.sleep(POLL)
            for done in [one for one in running if one.process.poll() is not None]:
                running.remove(done)
                free.append(done.gpu)
                failed += _outcome(done, len(jobs) - len(waiting) - len(running), len(jobs))
            left = {id(job) for job in waiting} | {id(one.job) for one in running}
            bar.n = sum(job.steps if id(job) not in left else min(job.progress(), job.steps) for job in jobs)
            bar.set_postfix_str(', '.join(one.job.name for one in running))
    if failed:
        raise RunsFailedError(f'{len(failed)} of {len(jobs)} runs failed:\n' + '\n'.join(failed) + '\nThe same command '
                              'continues where it stopped; without a variant that cannot be trained, give the others.')


def _bar(jobs: list[Job], what: str) -> tqdm:
    return tqdm(total=sum(job.steps for job in jobs), desc=what, unit='it', disable=None)


def _start(job: Job, gpu: str | None) -> _Running:
    environment = dict(os.environ) if gpu is None else {**os.environ, 'CUDA_VISIBLE_DEVICES': _as_the_system_says(gpu)}
    job.output.parent.mkdir(parents=True, exist_ok=True)
    with job.output.open('ab') as output:
        process = subprocess.Popen([sys.executable, '-m', WORKER, *job.arguments], stdin=subprocess.PIPE,
                                   stdout=output, stderr=subprocess.STDOUT, env=environment,
                                   start_new_session=True)  # Ctrl-C is for this command, which lets workers save
    return _Running(job, process, gpu, time.monotonic())


def _as_the_system_says(gpu: str) -> str:
    """Return the name of a GPU that this process knows by number: CUDA_VISIBLE_DEVICES may show it a few of them."""
    shown = os.environ.get('CUDA_VISIBLE_DEVICES')
    return shown.split(',')[int(gpu)].strip() if shown else gpu


def _outcome(done: _Running, count: int, total: int) -> Iterator[str]:
    """Say how a worker ended; yield the complaint about one that failed."""
    seconds, status = time.monotonic() - done.since, done.process.returncode
    done.process.stdin.close()
    word = 'done' if status == 0 else 'FAILED'
    tqdm.write(f'[{count}/{total}] {done.job.name}: {word} in {seconds:.0f} s', file=sys.stderr)
    if status != 0:
        lines = done.job.output.read_text(encoding='utf-8', errors='replace').splitlines()[-LAST_LINES:]
        yield '\n'.join([f'- {done.job.name} ended with status {status}; all of its output is in {done.job.output}',
                         *(f'    {line}' for line in lines)])


@contextmanager
def _ended(running: list[_Running]) -> Iterator[None]:
    """End what still runs when the block is left, by an error, Ctrl-C, or as it should."""
    try:
        yield
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.wait()
