"""A disk that is full, or a quota, while data are prepared: an error in words, and nothing that looks complete."""
from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paired_command
import prepare_sr
import pytest
from PIL import Image
from preparation_oracles import photo, read_lmdb
from prepare_its import ITS
from published_layouts import Miniature


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Inside the block the system refuses larger files, as a quota does; works without root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=300k', 'none', str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip('mounting a small file system needs root')
    yield folder
    subprocess.run(['umount', '--lazy', str(folder)], check=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """30 photographs."""
    (tmp_path / 'in').mkdir()
    for number in range(30):
        Image.fromarray(photo(96, 96, number)).save(tmp_path / 'in' / f'{number}.png')
    return tmp_path / 'in'


def sr(source: Path, output: Path) -> int:
    return prepare_sr.main(['--input', str(source), '--output', str(output), '--scale', '1', '--size', '48',
                            '--workers', '1'])


def test_sr_on_a_full_disk(photos: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sr(photos, small_disk / 'out') == 1
    said = capsys.readouterr().err
    assert f'cannot write {small_disk}/out' in said
    assert 'No space left on device' in said or 'the disk does not take' in said, 'which of its files hits it first'
    assert list(small_disk.iterdir()) == [], 'nothing half-written, and the space is free again'


def test_sr_under_a_quota(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with largest_file(200_000):
        assert sr(photos, tmp_path / 'out') == 1
    assert 'the disk does not take' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['in']


def test_a_published_set_does_not_look_complete_and_is_continued(tmp_path: Path,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [(f'hazy/{n}_{i}.png', f'clear/{n}.png') for n in range(10) for i in range(10)]
    names = dict.fromkeys(name for pair in pairs for name in pair)
    files = {name: photo(48, 64, seed) for seed, name in enumerate(names)}
    source = Miniature('prepare_its', 'train', pairs, files).write(tmp_path / 'in')

    def its(output: Path) -> int:
        return paired_command.main(ITS, '', ['--input', str(source), '--output', str(output), '--allow-partial',
                                             '--workers', '1'])

    with largest_file(400_000):
        assert its(tmp_path / 'out') == 1
    said = capsys.readouterr().err
    assert 'the disk does not take' in said and 'quotas' in said and 'run the same command to go on' in said
    assert not list((tmp_path / 'out').rglob('meta_info.txt')), 'BasicSR would take it for complete'
    assert 0 < len(read_lmdb(tmp_path / 'out/train/lq.lmdb')) < 100
    assert its(tmp_path / 'out') == its(tmp_path / 'straight') == 0
    for kind in ('lq', 'gt'):
        first, second = (read_lmdb(tmp_path / name / f'train/{kind}.lmdb') for name in ('out', 'straight'))
        assert list(first) == list(second) and len(first) == (100 if kind == 'lq' else 10)
