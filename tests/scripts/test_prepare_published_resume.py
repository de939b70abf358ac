"""A preparation that is stopped goes on where it was; output that is not its own is left alone; damage is found."""
from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import paired_work
import pytest
from paired_command import main
from PIL import Image
from preparation_oracles import photo, read_lmdb
from prepare_its import ITS
from published_layouts import Miniature, miniatures

pytestmark = pytest.mark.usefixtures('one_process')
SCRIPT = Path(paired_work.__file__).with_name('prepare_its.py')


def run(source: Path, output: Path, *flags: str) -> int:
    return main(ITS, '', ['--input', str(source), '--output', str(output), '--allow-partial', '--workers', '1', *flags])


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """400 hazy images of 20 clear ones."""
    pairs = [(f'hazy/{n}_{i}.png', f'clear/{n}.png') for n in range(20) for i in range(20)]
    pictures = [photo(48, 64, seed) for seed in range(7)]
    files = {name: pictures[n % 7] for n, name in enumerate(dict.fromkeys(name for pair in pairs for name in pair))}
    return Miniature('prepare_its', 'train', pairs, files).write(tmp_path / 'in')


def stored(folder: Path) -> dict[str, int]:
    """Number of images in either LMDB."""
    return {kind: len(read_lmdb(folder / f'{kind}.lmdb')) for kind in ('lq', 'gt')}


def in_session(session: int) -> list[int]:
    """The processes of a session that are alive."""
    found = []
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != 'Z':
            found.append(int(stat.parent.name))
    return found


def test_a_killed_run_is_continued_without_making_anything_twice(many: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), '--input', str(many), '--output', str(tmp_path / 'out'), '--allow-partial',
               '--workers', '1']
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    journal = tmp_path / 'out/train/lq.lmdb/meta_info.partial'
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size > 1000) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, 'it ended before it could be killed'
    while in_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert in_session(process.pid) == []  # the workers ended with it
    before = stored(tmp_path / 'out/train')
    assert 0 < before['lq'] < 400
    assert not (tmp_path / 'out/train/lq.lmdb/meta_info.txt').exists()  # BasicSR would not take it for finished
    with journal.open('a') as file:
        file.write('0_19.png (48,6')  # as a power cut may leave it
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    first_shown = int(re.search(r'ITS train:[^\r\n]*\| (\d+)/420', again.stderr)[1])
    assert first_shown == sum(before.values())
    assert run(many, tmp_path / 'straight') == 0
    for kind in ('lq', 'gt'):
        folders = [tmp_path / name / 'train' / f'{kind}.lmdb' for name in ('out', 'straight')]
        contents = []
        for folder in folders:
            with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as transaction:
                contents.append(dict(transaction.cursor()))
            assert sorted(path.name for path in folder.iterdir()) == ['data.mdb', 'lock.mdb', 'meta_info.txt']
        assert contents[0] == contents[1]
        assert len({(folder / 'meta_info.txt').read_text() for folder in folders}) == 1


def test_a_line_that_was_cut_off_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    from lmdb_writer import EncodedImage
    from resumable_lmdb import ResumableLmdb
    folder = tmp_path / 'x.lmdb'
    for key in ('a', 'b', 'c'):  # stopped three times
        with ResumableLmdb(folder) as writer:
            writer.put([EncodedImage(key, b'image', (1, 2, 3))])
        with (folder / 'meta_info.partial').open('a') as journal:
            journal.write('d.png (1,2')
    with ResumableLmdb(folder) as writer:
        assert sorted(writer.lines) == ['a', 'b', 'c']
        writer.finish()
    assert (folder / 'meta_info.txt').read_text() == 'a.png (1,2,3) 1\nb.png (1,2,3) 1\nc.png (1,2,3) 1\n'


def test_a_run_stopped_before_its_verification_makes_nothing_again(tmp_path: Path,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    source = miniatures()['ITS'].write(tmp_path / 'in')
    assert run(source, tmp_path / 'out') == 0
    marker = tmp_path / 'out/train/preparation.json'
    marker.write_text(json.dumps({**json.loads(marker.read_text()), 'finished': False}))
    data = (tmp_path / 'out/train/lq.lmdb/data.mdb')
    before = data.read_bytes()
    capsys.readouterr()
    assert run(source, tmp_path / 'out') == 0
    said = capsys.readouterr()
    assert '9/9' in said.err and '9 of 9 files were compared' in said.out
    assert data.read_bytes() == before
    assert json.loads(marker.read_text())['finished'] is True


def test_a_finished_preparation_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = miniatures()['ITS'].write(tmp_path / 'in')
    assert run(source, tmp_path / 'out') == 0
    first = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').rglob('*') if path.name != 'lock.mdb'}
    assert run(source, tmp_path / 'out') == 0
    second = capsys.readouterr().out
    assert 'is finished already' in second
    assert second[second.index('datasets:'):] == first[first.index('datasets:'):]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_preparation_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = miniatures()['ITS'].write(tmp_path / 'in')
    assert run(source, tmp_path / 'out') == 0
    assert run(source, tmp_path / 'out', '--subset', '4') == 2
    assert 'holds another preparation' in capsys.readouterr().err
    for name in ('1_1_0.91.png', '1_2_0.92.png'):
        (source / 'hazy' / name).rename(source / 'hazy' / f'{name[:2]}7{name[2:]}')
    assert run(source, tmp_path / 'out') == 2
    assert 'holds another preparation (other files) and nothing is overwritten' in capsys.readouterr().err
    assert len(read_lmdb(tmp_path / 'out/train/lq.lmdb')) == 6


def test_other_images_of_the_same_names_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Rain200L and Rain200H have the same names and numbers of files."""
    source = miniatures()['ITS'].write(tmp_path / 'in')
    assert run(source, tmp_path / 'out') == 0
    marker = tmp_path / 'out/train/preparation.json'
    before = read_lmdb(tmp_path / 'out/train/lq.lmdb')
    changed = source / 'hazy' / '1_1_0.91.png'
    with Image.open(changed) as image:
        black = Image.new('RGB', image.size)
    black.save(changed)
    for finished, said in ((True, 'holds another preparation (files of other sizes) and'), (False, 'is damaged')):
        marker.write_text(json.dumps({**json.loads(marker.read_text()), 'finished': finished}))
        monkeypatch.setattr('paired_verify.SAMPLE', 0)  # all are compared where sizes have changed
        assert run(source, tmp_path / 'out') == 2
        assert said in capsys.readouterr().err
    assert read_lmdb(tmp_path / 'out/train/lq.lmdb').keys() == before.keys()
    first = {key: value for key, value in json.loads(marker.read_text()).items() if key not in ('format', 'sizes')}
    marker.write_text(json.dumps({**first, 'finished': True}))  # as the first version wrote it
    assert run(source, tmp_path / 'out') == 0
    assert run(source, tmp_path / 'out', '--verify', 'all') == 2
    assert 'is damaged' in capsys.readouterr().err


def test_a_finished_preparation_is_looked_at_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = miniatures()['ITS'].write(tmp_path / 'in')
    assert run(source, tmp_path / 'out') == 0
    capsys.readouterr()
    assert run(source, tmp_path / 'out', '--verify', 'all') == 0
    assert '9 of 9 files were compared' in capsys.readouterr().out
    shutil.rmtree(tmp_path / 'out/train/lq.lmdb')
    assert run(source, tmp_path / 'out') == 2
    said = capsys.readouterr()
    assert 'is damaged' in said.err and 'finished already' not in said.out


@pytest.mark.parametrize('content', [None, '[]', 'no json', '{"made_by": "somebody else"}'])
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, content: str | None,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    source = miniatures()['ITS'].write(tmp_path / 'in')
    (tmp_path / 'out/train').mkdir(parents=True)
    (tmp_path / 'out/train/notes.txt').write_text('mine')
    if content is not None:
        (tmp_path / 'out/train/preparation.json').write_text(content)
    assert run(source, tmp_path / 'out') == 2
    assert 'nothing is overwritten' in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / 'out/train').iterdir()) == sorted(
        ['notes.txt', *(['preparation.json'] if content is not None else [])])


def test_two_processes_do_not_prepare_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = miniatures()['ITS'].write(tmp_path / 'in')
    (tmp_path / 'out/train').mkdir(parents=True)
    descriptor = os.open(tmp_path / 'out/train', os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert run(source, tmp_path / 'out') == 2
    finally:
        os.close(descriptor)
    assert 'another process is preparing it right now' in capsys.readouterr().err
    assert run(source, tmp_path / 'out') == 0


def test_damage_is_found(tmp_path: Path) -> None:
    from new_folder import PreparationError
    from paired_layout import find_parts
    from paired_verify import verify
    from resumable_lmdb import recorded_lines
    source = miniatures()['ITS'].write(tmp_path / 'in')
    assert run(source, tmp_path / 'out') == 0
    folder = tmp_path / 'out/train'
    sources = paired_work.sources_of(find_parts(ITS, source, [], True)[0])
    lines = {kind: recorded_lines(folder / f'{kind}.lmdb') for kind in ('lq', 'gt')}
    assert verify(sources, None, folder, lines, 1, True) == 9
    with lmdb.open(str(folder / 'lq.lmdb'), map_size=2**24) as env, env.begin(write=True) as transaction:
        other = transaction.get(b'1_1_0_91')
        transaction.put(b'2_1_0_91', other)
        transaction.put(b'foreign', other)
        transaction.delete(b'12_1_0_91')
    lines['gt']['1'] = lines['gt']['1'].replace('(24,40', '(24,41')
    with pytest.raises(PreparationError) as caught:
        verify(sources, None, folder, lines, 1, True)
    said = str(caught.value)
    for words in ('2_1_0.91.png differs from what is stored as 2_1_0_91', 'lq.lmdb: foreign is not on record',
                  'lq.lmdb: 12_1_0_91 has no image', 'lq.lmdb: 12_1_0_91 was not stored',
                  'clear/1.png differs from what is stored as 1'):
        assert words in said
