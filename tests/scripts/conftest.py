"""The scripts are no package: their folder goes on the path, as Python does when one of them is started."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

PREPARATION = Path(__file__).parents[2] / 'scripts' / 'data_preparation'
sys.path.insert(0, str(PREPARATION))


@pytest.fixture
def run_script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Starts a script of the data preparation as a person does, with text arguments."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, PREPARATION / name, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope='session')
def toolbox() -> None:
    """BasicSR, imported through the plugin. For tests that make bicubic LR in this process."""
    import mcir_plugin  # noqa: F401

    # isort: split
    import basicsr  # noqa: F401


@contextmanager
def in_this_process(workers: int, with_torch: bool = False) -> Iterator[ThreadPoolExecutor]:
    """A pool without processes, whose start takes longer than the pictures of a test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts that are run in this process start no others; those that are started as commands do."""
    for name in ('paired_work', 'paired_verify', 'prepare_sr_benchmarks'):
        monkeypatch.setattr(import_module(name), 'worker_pool', in_this_process)
