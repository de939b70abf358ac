"""The scripts are no package: their folder goes on the path, as Python does when one of them is started."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
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
