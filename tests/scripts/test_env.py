"""``scripts/env.sh`` in an empty repository, with an ``uv`` and a ``python`` that only note what they are asked."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ENV = Path(__file__).parents[2] / 'scripts' / 'env.sh'
# answers for its version, for its own path, and notes everything else
PYTHON = """#!/bin/bash
if [ "$1" = -c ]; then
    case "$2" in *version_info*) echo {version} ;; *executable*) echo "$0" ;; esac
elif [ "$1" = --version ]; then echo Python {version}.9
else echo "python $*" >>"$CALLS"; fi
"""
UV = """#!/bin/bash
echo "uv $*" >>"$CALLS"
if [ "$1" = venv ]; then mkdir -p "${@: -1}/bin"; cp "$UV_PYTHON_BEHIND" "${@: -1}/bin/python"; fi
[ "$1 $2" != "$UV_FAILS_AT" ]
"""


class Repository:
    """A made-up clone; ``start`` sources its env.sh as quickstart.sh and test.sh do."""

    def __init__(self, folder: Path) -> None:
        self.root, self.tools, self.calls = folder / 'clone', folder / 'tools', folder / 'calls'
        (self.root / 'scripts').mkdir(parents=True)
        self.tools.mkdir()
        shutil.copy(ENV, self.root / 'scripts')
        for name in ('setup.py', 'pyproject.toml', 'scripts/constraints.txt'):
            (self.root / name).write_text(f'# {name}\n')
        self.tool('uv', UV)
        self.python('python3', '3.11')

    def tool(self, name: str, text: str) -> Path:
        path = self.tools / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def python(self, name: str, version: str) -> Path:
        return self.tool(name, PYTHON.format(version=version))

    def start(self, python: str = '', fails_at: str = '', behind: str = 'python3') -> subprocess.CompletedProcess[str]:
        self.calls.write_text('')
        command = f'set -euo pipefail; source {self.root}/scripts/env.sh; echo "ready in $PWD"; command -v python'
        environment = {'PATH': f'{self.tools}{os.pathsep}/usr/bin:/bin', 'CALLS': str(self.calls), 'PYTHON': python,
                       'UV_FAILS_AT': fails_at, 'UV_PYTHON_BEHIND': str(self.tools / behind)}
        return subprocess.run(['bash', '-c', command], env=environment, cwd='/', capture_output=True, text=True,
                              timeout=60)

    def asked(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_first_run_makes_and_fills_the_environment_from_any_folder(repository: Repository) -> None:
    done = repository.start()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f'ready in {repository.root}', f'{repository.root}/.venv/bin/python']
    made, installed = repository.asked()
    assert made.startswith('uv venv') and made.endswith(f'{repository.root}/.venv')
    assert f'--constraints {repository.root}/scripts/constraints.txt' in installed
    assert installed.endswith('-e .[lpips,mmengine,quickstart,report,spandrel,test]')


def test_second_run_installs_nothing(repository: Repository) -> None:
    repository.start()
    assert repository.start().returncode == 0
    assert repository.asked() == []


@pytest.mark.parametrize('changed', ['setup.py', 'pyproject.toml', 'scripts/constraints.txt'])
def test_what_the_environment_depends_on_installs_again_into_the_same_one(repository: Repository,
                                                                          changed: str) -> None:
    repository.start()
    (repository.root / changed).write_text('# changed\n')
    assert repository.start().returncode == 0
    (installed,) = repository.asked()
    assert installed.startswith('uv pip install')


def test_an_interrupted_installation_is_taken_up_again(repository: Repository) -> None:
    assert repository.start(fails_at='pip install').returncode != 0
    assert repository.start().returncode == 0
    (installed,) = repository.asked()
    assert installed.startswith('uv pip install')


def test_another_interpreter_makes_the_environment_anew(repository: Repository) -> None:
    repository.start()
    chosen = repository.python('python3.12', '3.12')
    assert repository.start(python=str(chosen), behind='python3.12').returncode == 0
    made, _ = repository.asked()
    assert f'--python {chosen}' in made
    assert repository.start(python=str(chosen)).returncode == 0
    assert repository.asked() == []


@pytest.mark.parametrize('version', ['3.9', '3.13', '2.7'])
def test_an_unsupported_interpreter_is_refused(repository: Repository, version: str) -> None:
    chosen = repository.python('other', version)
    done = repository.start(python=str(chosen))
    assert done.returncode != 0
    assert f'is Python {version}, but Python 3.10, 3.11 or 3.12 is needed' in done.stderr
    assert repository.asked() == []


def test_a_supported_interpreter_is_found_beside_an_unsupported_python3(repository: Repository) -> None:
    repository.python('python3', '3.13')
    found = repository.python('python3.12', '3.12')
    assert repository.start(behind='python3.12').returncode == 0
    assert f'--python {found}' in repository.asked()[0]


def test_no_such_interpreter(repository: Repository) -> None:
    done = repository.start(python='/no/such/python')
    assert done.returncode != 0
    assert '/no/such/python is no Python that runs here' in done.stderr
