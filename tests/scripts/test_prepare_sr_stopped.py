"""A preparation whose worker is killed, or that is stopped by Ctrl-C: one line, and nothing is left behind."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import prepare_sr
import prepare_sr_benchmarks
import pytest
from PIL import Image
from preparation_oracles import photo

MORE = {prepare_sr: ['--scale', '1', '--size', '48'], prepare_sr_benchmarks: ['--set', 'Set5', '--allow-partial']}
MODULES = pytest.mark.parametrize('module', MORE, ids=lambda module: module.__name__)


def killed(entry: object, **options: object) -> None:
    """What the system does to a worker when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupted(entry: object, **options: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with 40 photographs in ``in/``."""
    (tmp_path / 'in').mkdir()
    for number in range(40):
        Image.fromarray(photo(96, 96, number)).save(tmp_path / 'in' / f'{number}.png')
    return tmp_path


def arguments(folder: Path, more: list[str]) -> list[str]:
    return ['--input', f'{folder}/in', '--output', f'{folder}/out', '--workers', '1', *more]


def only_line(said: str) -> str:
    """The last line, after the progress bar."""
    assert 'Traceback' not in said
    return said.replace('\r', '\n').splitlines()[-1]


@MODULES
def test_a_killed_worker_is_said(module: object, folder: Path, toolbox: None, monkeypatch: pytest.MonkeyPatch,
                                 capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, 'work_on', killed)
    assert module.main(arguments(folder, MORE[module])) == 1
    said = only_line(capfd.readouterr().err)
    assert said.startswith(f'{module.__name__}: stopped: A process') and 'use fewer --workers' in said
    assert [path.name for path in folder.iterdir()] == ['in']


def test_ctrl_c_ends_the_benchmarks_in_one_line(folder: Path, one_process: None, monkeypatch: pytest.MonkeyPatch,
                                                toolbox: None, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(prepare_sr_benchmarks, 'work_on', interrupted)
    assert prepare_sr_benchmarks.main(arguments(folder, MORE[prepare_sr_benchmarks])) == 130
    assert only_line(capfd.readouterr().err).startswith('prepare_sr_benchmarks: stopped. Nothing is kept')
    assert [path.name for path in folder.iterdir()] == ['in']


def test_ctrl_c_in_a_terminal_reaches_all_processes_and_is_answered_by_one(folder: Path) -> None:
    for number in range(2):  # the worker is at these for seconds
        Image.fromarray(photo(800, 1000, number)).save(folder / 'in' / f'a_large{number}.png')
    command = [sys.executable, prepare_sr.__file__, *arguments(folder, ['--scale', '1', '--size', '48', '--step', '8'])]
    process = subprocess.Popen(command, text=True, stderr=subprocess.PIPE, start_new_session=True)
    said = ''
    while '| 1/42' not in said:
        said += process.stderr.read(1) or pytest.fail(f'it ended before: {said}')
    os.killpg(process.pid, signal.SIGINT)
    said += process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert only_line(said).startswith('prepare_sr: stopped. Nothing is kept')
    assert [path.name for path in folder.iterdir()] == ['in']
