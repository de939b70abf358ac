"""The LMDB writer and the folder that appears complete or not at all."""
from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import new_folder as module
import pytest
from lmdb_writer import EncodedImage, LmdbWriter
from new_folder import PreparationError, new_folder


def test_an_lmdb_grows_beyond_its_first_bound(tmp_path: Path) -> None:
    blobs = {f'image{n}': bytes([n]) * 50_000 for n in range(40)}
    with LmdbWriter(tmp_path / 'x.lmdb', map_size=1 << 16) as writer:
        for key, blob in blobs.items():
            writer.put([EncodedImage(key, blob, (1, 2, 3))])
    with lmdb.open(str(tmp_path / 'x.lmdb'), readonly=True) as env, env.begin() as transaction:
        assert {key.decode(): value for key, value in transaction.cursor()} == blobs
    lines = (tmp_path / 'x.lmdb' / 'meta_info.txt').read_text().splitlines()
    assert lines == [f'{key}.png (1,2,3) 1' for key in blobs]


def test_an_lmdb_must_be_named_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='must end in .lmdb'):
        LmdbWriter(tmp_path / 'x')


def test_a_new_folder_appears_at_the_end(tmp_path: Path) -> None:
    with new_folder(tmp_path / 'a' / 'b') as building:
        (building / 'file').write_text('content')
        assert not (tmp_path / 'a' / 'b').exists()
    assert (tmp_path / 'a' / 'b' / 'file').read_text() == 'content'
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['b']


def test_a_new_folder_never_replaces_what_another_process_made_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match='exists already'), new_folder(tmp_path / 'a') as building:
        (building / 'file').write_text('mine')
        (tmp_path / 'a').mkdir()
        (tmp_path / 'a' / 'file').write_text('theirs')
    assert (tmp_path / 'a' / 'file').read_text() == 'theirs'
    assert [path.name for path in tmp_path.iterdir()] == ['a']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_process_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    code = ('import sys, time; from pathlib import Path; from new_folder import new_folder\n'
            'with new_folder(Path(sys.argv[1])) as building:\n'
            '    (building / "half").write_text("x"); print("ready", flush=True); time.sleep(60)')
    process = subprocess.Popen([sys.executable, '-c', code, str(tmp_path / 'out')], text=True,
                               cwd=Path(module.__file__).parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == 'ready\n'
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []
