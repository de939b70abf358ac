"""Runs the tests against the oldest and the newest dependencies, each in an environment of its own.

    python scripts/test_matrix.py --environments floor ceiling
    python scripts/test_matrix.py --environments master --basicsr git+https://github.com/XPixelGroup/BasicSR
    python scripts/test_matrix.py --environments floor --tests tests/losses tests/history
    python scripts/test_matrix.py --environments floor --again      # what failed or was not reached the last time

floor is Python 3.10 with the lowest versions that setup.py allows, ceiling is Python 3.12 with the newest of the index,
master is the pinned environment with BasicSR's repository instead of its release. Environments are made in ``.matrix``
(6 GB each) and kept. Ten test files of a folder share a process. The results go to ``docs/versions.json`` and, as a
table, to ``docs/versions.md``; a row is replaced when its environment is run again. Needs uv and the Pythons.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = '.[mmengine,quickstart,report,spandrel,test]'
SHOWN = ('torch', 'torchvision', 'basicsr', 'mmengine', 'numpy', 'opencv-python', 'lmdb', 'pyyaml', 'scikit-image',
         'scipy', 'matplotlib', 'pytest')


@dataclass(frozen=True)
class Environment:
    """How an environment is made.

    Attributes:
        python (str): Version of Python.
        flags (tuple[str, ...]): For ``uv pip install``, which versions it takes.
        what (str): In the table.
    """

    python: str
    flags: tuple[str, ...]
    what: str


ENVIRONMENTS = {
    'floor': Environment('3.10', ('--resolution', 'lowest-direct'), 'the lowest versions that setup.py allows'),
    'ceiling': Environment('3.12', ('--upgrade', ), 'the newest versions of the index'),
    'pinned': Environment('3.11', ('--constraints', 'scripts/constraints.txt'), 'scripts/constraints.txt'),
    'master': Environment('3.11', ('--constraints', 'scripts/constraints.txt'),
                          "scripts/constraints.txt, BasicSR's repository"),
}


def main() -> int:
    """Run the command; 1 if a test fails."""
    args = arguments()
    failed = 0
    for name in args.environments:
        python = prepare(name, args)
        row = {'environment': name, 'what': ENVIRONMENTS[name].what, **facts(python), 'date': str(date.today()),
               'tests': args.tests}
        known = passed_groups(name, args.json) if args.again else {}
        for counts in run_tests(python, args, name, known):
            record({**row, **counts}, args.json)  # an interrupted run has its row, too
        failed += len(counts['failures'])
    return int(failed > 0)


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--environments', nargs='+', choices=ENVIRONMENTS, required=True)
    parser.add_argument('--basicsr', metavar='URL', help='for master: what pip can install, such as git+https://...')
    parser.add_argument('--tests', nargs='+', default=['tests'], help='folders and files (default: tests)')
    parser.add_argument('--again', action='store_true', help='keep the results of groups of files that passed')
    parser.add_argument('--python', nargs='*', default=[], metavar='3.10=PATH',
                        help='interpreters that uv does not find')
    parser.add_argument('--folder', type=Path, default=ROOT / '.matrix',
                        help='where environments are (default: .matrix)')
    parser.add_argument('--timeout', type=int, default=3600, help='seconds for ten test files (default: 3600)')
    parser.add_argument('--json', type=Path, default=ROOT / 'docs' / 'versions.json')
    args = parser.parse_args()
    if 'master' in args.environments and not args.basicsr:
        parser.error('--environments master needs --basicsr: a URL or a path, such as '
                     'git+https://github.com/XPixelGroup/BasicSR')
    return args


def prepare(name: str, args: argparse.Namespace) -> Path:
    """Make or reuse an environment; return its interpreter."""
    wanted, folder = ENVIRONMENTS[name], args.folder / name
    python = folder / 'bin' / 'python'
    given = dict(pair.split('=', 1) for pair in args.python)
    if not python.exists():
        call([uv(), 'venv', '--quiet', '--python', given.get(wanted.python, wanted.python), folder])
    install = [uv(), 'pip', 'install', '--quiet', '--python', python, '--build-constraints', 'scripts/constraints.txt']
    call([*install, *wanted.flags, '-e', EXTRAS])
    if name == 'master':
        call([*install, '--no-deps', '--reinstall-package', 'basicsr', args.basicsr])
    return python


def uv() -> str:
    """Return the path of uv: on PATH, or beside this interpreter."""
    beside = Path(sys.executable).with_name('uv')
    found = shutil.which('uv') or (str(beside) if beside.exists() else None)
    if found is None:
        raise SystemExit('uv is needed: pip install uv')
    return found


def facts(python: Path) -> dict[str, Any]:
    """Return the version of Python and of the packages that matter."""
    code = ('import json, platform; from importlib.metadata import version; '
            f'print(json.dumps([platform.python_version(), {{n: version(n) for n in {SHOWN!r}}}]))')
    number, versions = json.loads(output([python, '-c', code]))
    return {'python': number, 'versions': versions}


def commit() -> str:
    """Return the commit, with a + if the working tree differs from it."""
    changed = output(['git', 'status', '--porcelain', '--', 'mcir_plugin', 'tests', 'setup.py'])
    return output(['git', 'rev-parse', '--short', 'HEAD']) + ('+' if changed else '')


def output(command: list[object]) -> str:
    """Return what a command prints, without the last line break."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def passed_groups(name: str, path: Path) -> dict[str, dict[str, Any]]:
    """Return what is recorded of the groups of an environment that passed, by their files."""
    rows = json.loads(path.read_text()) if path.exists() else []
    recorded = next((row.get('groups', []) for row in rows if row['environment'] == name), [])
    return {' '.join(group['files']): group for group in recorded if not group['failures']}


def run_tests(python: Path, args: argparse.Namespace, name: str, known: dict[str, dict[str, Any]]
              ) -> Iterator[dict[str, Any]]:
    """Run the test files group by group, but those that are known; yield the totals so far after each group."""
    files, results = test_files(args.tests), []
    for group in groups(files):
        result = known.get(' '.join(group)) or run_group(python, group, args.folder / f'{name}.xml', args.timeout)
        results.append(result)
        row = totals(results, len(files))
        print(f'{name} [{row["files"]}/{len(files)}] {group[0]} ...: {result["passed"]} passed, '
              f'{result["failed"]} failed, {result["seconds"]} s', flush=True)
        yield row


def totals(results: list[dict[str, Any]], asked_for: int) -> dict[str, Any]:
    """Return the sums over groups of files, and their results."""
    return {'files': sum(len(group['files']) for group in results), 'files_asked_for': asked_for,
            'failures': [name for group in results for name in group['failures']],
            **{key: sum(group[key] for group in results) for key in ('passed', 'failed', 'skipped')},
            'minutes': round(sum(group['seconds'] for group in results) / 60, 1),
            'commit': ', '.join(dict.fromkeys(group['commit'] for group in results)), 'groups': results}


def test_files(paths: list[str]) -> list[str]:
    """Return the test files in folders and files."""
    found = []
    for path in paths:
        whole = ROOT / path
        found += sorted(whole.rglob('test_*.py')) if whole.is_dir() else [whole]
    return [str(path.relative_to(ROOT)) for path in found]


def groups(files: list[str], size: int = 10) -> Iterator[list[str]]:
    """Divide files into what runs in one process: importing costs seconds, and a crash takes its process along."""
    for _, same_folder in groupby(files, os.path.dirname):
        same_folder = list(same_folder)
        yield from (same_folder[start:start + size] for start in range(0, len(same_folder), size))


def run_group(python: Path, files: list[str], report: Path, timeout: int) -> dict[str, Any]:
    """Run test files in one process; return the counts and the names of what failed."""
    report.unlink(missing_ok=True)
    environment = {**os.environ, 'PATH': f'{python.parent}{os.pathsep}{os.environ["PATH"]}',
                   'VIRTUAL_ENV': str(python.parents[1])}
    command = [python, '-m', 'pytest', *files, '-q', '-p', 'no:cacheprovider', f'--junitxml={report}']
    result, began = {'files': files, 'commit': commit()}, time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)
        outcome = read_report(report) if report.exists() else nothing_read(files, (done.stdout + done.stderr)[-300:])
    except subprocess.TimeoutExpired:
        outcome = nothing_read(files, f'not finished after {timeout} s')
    return {**result, **outcome, 'seconds': round(time.monotonic() - began)}


def nothing_read(files: list[str], why: str) -> dict[str, Any]:
    """Return the result of a group that left no report."""
    return {'passed': 0, 'failed': 1, 'skipped': 0, 'failures': [f'{" ".join(files)}: {why}']}


def read_report(report: Path) -> dict[str, Any]:
    """Return counts and failures of a JUnit file."""
    counts, failures = Counter(), []
    for case in ElementTree.parse(report).iter('testcase'):
        outcome = next((child.tag for child in case if child.tag in ('failure', 'error', 'skipped')), 'passed')
        counts['failed' if outcome in ('failure', 'error') else outcome] += 1
        if outcome in ('failure', 'error'):
            failures.append(f'{case.get("classname")}::{case.get("name")}')
    return {**{key: counts[key] for key in ('passed', 'failed', 'skipped')}, 'failures': failures}


def record(row: dict[str, Any], path: Path) -> None:
    """Put a row in the place of the one of the same environment, and write both files whole."""
    rows = json.loads(path.read_text()) if path.exists() else []
    rows = [old for old in rows if old['environment'] != row['environment']] + [row]
    rows.sort(key=lambda one: list(ENVIRONMENTS).index(one['environment']))
    write(path, json.dumps(rows, indent=1) + '\n')
    write(path.with_suffix('.md'), page(rows))


def page(rows: list[dict[str, Any]]) -> str:
    """Return the results as a page."""
    head = ['environment', 'Python', *SHOWN, 'tests', 'passed', 'failed', 'skipped', 'date', 'commit']
    lines = [[row['environment'], row['python'], *(row['versions'][name] for name in SHOWN), what_was_run(row),
              *(str(row[key]) for key in ('passed', 'failed', 'skipped')), row['date'], row['commit']] for row in rows]
    columns = ['\n'.join(f'| {" | ".join(cells)} |' for cells in zip(head, *lines, strict=True))]
    rule = f'| {" | ".join(["---"] * (len(rows) + 1))} |'
    first, _, rest = columns[0].partition('\n')
    text = [INTRODUCTION, f'{first}\n{rule}\n{rest}\n']
    text += [f'- **{row["environment"]}**: {row["what"]}; {row["files"]} of {row["files_asked_for"]} files were run of '
             + ', '.join(f'`{path}`' for path in row['tests']) + '.' for row in rows]
    text += ['', *(f'- failed in {row["environment"]}: `{name}`' for row in rows for name in row['failures'])]
    return '\n'.join(text).rstrip() + '\n'


def what_was_run(row: dict[str, Any]) -> str:
    """Return ``all`` for the whole suite, else the number of files."""
    whole = row['tests'] == ['tests'] and row['files'] == row['files_asked_for']
    return 'all' if whole else f'{row["files"]} files'


INTRODUCTION = """# Versions that were tested

Written by `python scripts/test_matrix.py`, which makes an environment for each column and runs the tests in it; the raw
results are in `versions.json`. `tests` is what was run, the whole suite only where it says `all`. Several commits:
groups of ten files that had failed were repeated (`--again`) after what they showed was mended. A `+` after a commit
means that the working tree differed from it.
"""


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f'{path.name}.part')
    partial.write_text(text)
    os.replace(partial, path)


def call(command: list[object]) -> None:
    """Run a command from the root; its failure ends the script."""
    done = subprocess.run(list(map(str, command)), cwd=ROOT)
    if done.returncode:
        raise SystemExit(f'{" ".join(map(str, command))} ended with {done.returncode}')


if __name__ == '__main__':
    sys.exit(main())
