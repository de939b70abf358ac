"""Licences of dependencies, read from real metadata and from made-up ones."""
import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / 'scripts'
sys.path.insert(0, str(SCRIPTS))

import licences  # noqa: E402
from licences import Dependency, dependencies, licence_of  # noqa: E402


def test_every_direct_dependency_is_permissive_or_a_named_exception():
    done = subprocess.run([sys.executable, SCRIPTS / 'licences.py', '--check'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_direct_dependency_under_the_gpl_is_refused(monkeypatch, capsys):
    bad = Dependency('somelib', '1.0', 'GPL-3.0-or-later', True, licences.PROJECT)
    monkeypatch.setattr(licences, 'dependencies', lambda: [bad])
    monkeypatch.setattr(sys, 'argv', ['licences.py', '--check'])
    assert licences.main() == 1 and 'somelib 1.0 is not permissive: GPL-3.0-or-later' in capsys.readouterr().err


def test_direct_and_transitive_dependencies_are_found():
    found = {one.name: one for one in dependencies()}
    assert all(found[name].direct for name in ('torch', 'basicsr', 'numpy', 'opencv-python', 'lmdb', 'pytest'))
    assert not found['future'].direct and found['future'].via == 'basicsr'
    assert not {'mcir-plugin', 'mcir_plugin'} & found.keys()


def test_the_page_names_every_direct_dependency():
    text = licences.PAGE.read_text()
    assert all(f'| {one.name} |' in text for one in dependencies() if one.direct)


@pytest.mark.parametrize('text, kind', [
    ('MIT', 'permissive'), ('BSD-3-Clause AND MIT', 'permissive'), ('Apache Software License', 'permissive'),
    ('MPL-2.0 AND MIT', 'weak copyleft'), ('GNU Lesser General Public License v3 (LGPLv3)', 'weak copyleft'),
    ('GPL-3.0-only', 'copyleft'), ('MIT AND GPL-2.0', 'copyleft'), ('GNU Affero General Public License v3', 'copyleft'),
    ('MIT OR GPL-2.0', 'permissive'), ('LicenseRef-NVIDIA-Proprietary', 'proprietary'), ('not stated', 'unknown'),
    ('Limited edition', 'unknown')])
def test_kinds(text, kind):
    assert Dependency('x', '1', text, True, '').kind == kind


@pytest.mark.parametrize('lines, licence', [
    (['License-Expression: MIT', 'License: other'], 'MIT'),
    (['License: BSD', 'Classifier: License :: OSI Approved :: MIT License'], 'MIT License'),
    (['Classifier: License :: OSI Approved', 'License: BSD'], 'BSD'), ([], 'not stated')])
def test_where_the_licence_is_read(lines, licence, tmp_path):
    (tmp_path / 'x.dist-info').mkdir()
    (tmp_path / 'x.dist-info' / 'METADATA').write_text('\n'.join(['Metadata-Version: 2.1', 'Name: x', *lines]) + '\n')
    assert licence_of(PathDistribution(tmp_path / 'x.dist-info')) == licence
