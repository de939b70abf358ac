"""The test matrix: what it makes of real reports of pytest, and the page that it writes. No environment is made."""
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / 'scripts'
sys.path.insert(0, str(SCRIPTS))

import test_matrix as matrix  # noqa: E402

CASES = """import pytest
def test_good(): pass
def test_bad(): assert False
@pytest.fixture
def broken(): raise RuntimeError
def test_error(broken): pass
@pytest.mark.skip
def test_skipped(): pass
"""


def test_counts_and_names_of_a_real_run(tmp_path):
    files = [str(tmp_path / f'test_{name}.py') for name in ('four', 'one')]
    Path(files[0]).write_text(CASES)
    Path(files[1]).write_text('def test_fine(): pass')
    result = matrix.run_group(Path(sys.executable), files, tmp_path / 'r.xml', 100)
    assert [result[key] for key in ('passed', 'failed', 'skipped', 'files')] == [2, 2, 1, files]
    assert [name.rpartition('.')[2] for name in result['failures']] == ['test_four::test_bad', 'test_four::test_error']


def test_files_of_a_folder_are_run_ten_by_ten():
    files = ['tests/test_a.py', *(f'tests/x/test_{number:02d}.py' for number in range(23)), 'tests/y/test_a.py']
    groups = list(matrix.groups(files))
    assert [len(group) for group in groups] == [1, 10, 10, 3, 1] and sum(groups, []) == files


@pytest.mark.parametrize('text, timeout, said', [('import nowhere', 100, '::'),
                                                 ('import time; time.sleep(60)', 1, 'not finished after 1 s')])
def test_a_file_that_cannot_be_read_or_hangs_is_a_failure(text, timeout, said, tmp_path):
    (tmp_path / 'test_one.py').write_text(text)
    result = matrix.run_group(Path(sys.executable), [str(tmp_path / 'test_one.py')], tmp_path / 'r.xml', timeout)
    assert (result['passed'], result['failed']) == (0, 1) and said in result['failures'][0]


def test_a_row_replaces_that_of_its_environment_and_the_page_names_failures(tmp_path):
    row = {'what': 'w', 'python': '3.10.1', 'versions': dict.fromkeys(matrix.SHOWN, '1.0'), 'date': '2026-01-01',
           'commit': 'abc', 'tests': ['tests'], 'files': 2, 'files_asked_for': 2, 'passed': 3, 'failed': 1,
           'skipped': 0, 'failures': ['tests/test_x.py::test_y'], 'minutes': 1.0}
    path = tmp_path / 'versions.json'
    for name, passed in (('ceiling', 3), ('floor', 3), ('ceiling', 99)):
        matrix.record({**row, 'environment': name, 'passed': passed}, path)
    rows = json.loads(path.read_text())
    assert [(one['environment'], one['passed']) for one in rows] == [('floor', 3), ('ceiling', 99)]
    text = path.with_suffix('.md').read_text()
    assert '| passed | 3 | 99 |' in text and '| tests | all | all |' in text
    assert 'failed in floor: `tests/test_x.py::test_y`' in text


def test_again_runs_what_failed_or_was_not_reached(tmp_path, monkeypatch):
    files = [f'tests/{folder}/test_{folder}.py' for folder in 'abc']
    passed = {'passed': 2, 'failed': 0, 'skipped': 1, 'failures': [], 'seconds': 30, 'commit': 'old'}
    failed = {**passed, 'failed': 1, 'failures': ['tests.b.test_b::test_x']}
    path, run = tmp_path / 'versions.json', []
    path.write_text(json.dumps([{'environment': 'floor', 'groups': [
        {'files': files[:1], **passed}, {'files': files[1:2], **failed}]}]))
    monkeypatch.setattr(matrix, 'test_files', lambda _: files)
    monkeypatch.setattr(matrix, 'run_group', lambda python, group, *_: run.append(group) or {
        'files': group, **passed, 'commit': 'new'})
    args = Namespace(tests=['tests'], folder=tmp_path, timeout=1)
    *_, row = matrix.run_tests(Path('python'), args, 'floor', matrix.passed_groups('floor', path))
    assert run == [files[1:2], files[2:]]
    assert (row['files'], row['passed'], row['skipped'], row['failures']) == (3, 6, 3, [])
    assert row['commit'] == 'old, new' and row['minutes'] == 1.5
    assert matrix.passed_groups('ceiling', path) == {} == matrix.passed_groups('floor', tmp_path / 'none.json')


def test_the_page_in_the_documentation_is_that_of_its_numbers():
    rows = json.loads((SCRIPTS.parent / 'docs' / 'versions.json').read_text())
    assert (SCRIPTS.parent / 'docs' / 'versions.md').read_text() == matrix.page(rows)


def test_master_needs_a_url():
    done = subprocess.run([sys.executable, SCRIPTS / 'test_matrix.py', '--environments', 'master'], capture_output=True,
                          text=True)
    assert done.returncode == 2 and '--basicsr' in done.stderr


def test_a_python_that_is_not_there_is_said(monkeypatch, tmp_path):
    args = Namespace(folder=tmp_path, python=['3.10=/no/such/python'], basicsr=None)
    with pytest.raises(SystemExit, match='/no/such/python'):
        matrix.prepare('floor', args)
