"""The pins of ``scripts/constraints.txt`` are unambiguous and cover what the project asks for, on every Python."""
from __future__ import annotations

import ast
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def pins(python: str) -> list[Requirement]:
    """The lines that apply to Linux with this Python."""
    lines = (ROOT / 'scripts' / 'constraints.txt').read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith('#')]
    environment = {'python_version': python, 'python_full_version': f'{python}.9', 'sys_platform': 'linux',
                   'platform_machine': 'x86_64', 'platform_system': 'Linux', 'implementation_name': 'cpython'}
    return [pin for pin in found if pin.marker is None or pin.marker.evaluate(environment)]


def asked_for() -> list[Requirement]:
    """What ``setup.py`` names, read without running it."""
    body = ast.parse((ROOT / 'setup.py').read_text()).body
    call = next(node.value for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    hosts = next(node.value for node in body if isinstance(node, ast.Assign) and node.targets[0].id == 'HOSTS')
    always = [ast.literal_eval(item) for item in given['install_requires'].elts if not isinstance(item, ast.Starred)]
    groups = [always, *ast.literal_eval(hosts).values(), *ast.literal_eval(given['extras_require']).values()]
    return [Requirement(text) for group in groups for text in group]


@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12'])
def test_every_package_has_one_exact_pin(python: str) -> None:
    found = pins(python)
    names = [canonicalize_name(pin.name) for pin in found]
    assert sorted(set(names)) == sorted(names)
    assert all([part.operator for part in pin.specifier] == ['=='] for pin in found)
    assert {'torch', 'torchvision', 'basicsr'} <= set(names)


@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12'])
def test_pins_are_what_setup_py_allows(python: str) -> None:
    version = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins(python)}
    for wanted in asked_for():
        assert wanted.specifier.contains(version[canonicalize_name(wanted.name)]), wanted


def test_quickstart_and_tests_install_every_extra() -> None:
    """``scripts/env.sh`` names the extras; one that is missing there would be missing in the tests."""
    script = (ROOT / 'scripts' / 'env.sh').read_text()
    extras = next(line for line in script.splitlines() if 'extras=' in line).partition('[')[2].partition(']')[0]
    tree = ast.parse((ROOT / 'setup.py').read_text())
    declared = next(node.value for node in ast.walk(tree)
                    if isinstance(node, ast.keyword) and node.arg == 'extras_require')
    assert set(extras.split(',')) == set(ast.literal_eval(declared))
