"""What the command says about input that is not fit, and that it leaves nothing behind then."""
from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import prepare_sr
import pytest
from image_pairs import image_size
from PIL import ExifTags, Image
from preparation_oracles import photo, read_lmdb

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good image in ``in/``."""
    (tmp_path / 'in').mkdir()
    Image.fromarray(photo(60, 60, 0)).save(tmp_path / 'in' / 'good.png')
    return tmp_path


def complaint(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Runs the command (HR only, which needs no torch), checks that it refused and left nothing, returns its words."""
    arguments = ['--input', f'{folder}/in', '--output', f'{folder}/out', '--scale', '1', '--size', '32', *more]
    assert prepare_sr.main(arguments) == 2
    assert sorted(path.name for path in folder.iterdir()) == ['in']
    return capsys.readouterr().err


def test_refuses_to_overwrite(folder: Path, run_script: Run) -> None:
    arguments = ('--input', folder / 'in', '--output', folder / 'out', '--scale', 1, '--size', 32)
    first = run_script('prepare_sr.py', *arguments)
    assert first.returncode == 0, first.stderr
    assert 'image/s' in first.stderr or '1/1' in first.stderr  # the progress bar
    assert f'dataroot_gt: {folder}/out/HR_sub.lmdb' in first.stdout
    before = read_lmdb(folder / 'out' / 'HR_sub.lmdb')
    second = run_script('prepare_sr.py', *arguments)
    assert second.returncode == 2
    assert f'--output {folder}/out exists already' in second.stderr
    assert 'Traceback' not in second.stderr
    assert read_lmdb(folder / 'out' / 'HR_sub.lmdb').keys() == before.keys()


def test_an_empty_output_folder_is_used(folder: Path) -> None:
    (folder / 'out').mkdir()
    assert prepare_sr.main(['--input', f'{folder}/in', '--output', f'{folder}/out', '--scale', '1', '--full']) == 0
    assert list(read_lmdb(folder / 'out' / 'HR.lmdb')) == ['good']


def test_unreadable_images_are_all_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ('cut.png', 'cut.jpg'):
        Image.fromarray(photo(60, 60, 1)).save(folder / 'in' / name.replace('cut', name[-3:]))
        whole = (folder / 'in' / name.replace('cut', name[-3:])).read_bytes()
        (folder / 'in' / f'broken{name[-3:]}.{name[-3:]}').write_bytes(whole[:len(whole) * 2 // 3])
    said = complaint(folder, capsys)
    assert '2 of 5 images cannot be used' in said
    assert 'brokenpng.png' in said
    assert 'brokenjpg.jpg' in said
    assert 'good.png' not in said


def test_a_file_that_is_no_image_is_found_before_any_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / 'in' / 'page.png').write_text('<html>not found</html>')
    (folder / 'in' / 'nothing.png').touch()
    said = complaint(folder, capsys)
    assert 'page.png' in said
    assert 'nothing.png' in said
    assert 'Preparing' not in said


def test_16_bit_images_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(f'{folder}/in/grey16.png', np.full((60, 60), 40000, np.uint16))
    cv2.imwrite(f'{folder}/in/colour16.png', np.full((60, 60, 3), 40000, np.uint16))
    said = complaint(folder, capsys)
    assert 'grey16.png has 16 bits' in said
    assert 'colour16.png has 16 bits' in said


def test_small_images_are_counted_and_named_or_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(photo(31, 90, 1)).save(folder / 'in' / 'flat.png')
    Image.fromarray(photo(90, 31, 2)).save(folder / 'in' / 'thin.png')
    said = complaint(folder, capsys)
    assert '2 of 3 images' in said
    assert 'flat.png is smaller (90x31) than 32' in said
    assert '--skip-small' in said
    arguments = ['--input', f'{folder}/in', '--output', f'{folder}/out', '--scale', '1', '--size', '32', '--skip-small']
    assert prepare_sr.main(arguments) == 0
    assert 'Left out 2 of 3' in capsys.readouterr().out
    assert {key.partition('_')[0] for key in read_lmdb(folder / 'out' / 'HR_sub.lmdb')} == {'good'}


@pytest.mark.parametrize('kind', ['jpeg', 'png', 'webp', 'tiff'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_sizes_are_those_of_images_turned_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f'image.{kind}'
    Image.fromarray(photo(20, 30, 0)).save(path, exif=exif)
    assert image_size(path) == cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR).shape[:2]


def test_only_small_images_is_an_error_even_when_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 'every one of the 1 images' in complaint(folder, capsys, '--size', '100', '--skip-small')


@pytest.mark.parametrize('other', ['good.jpg', 'good.PNG.bmp', 'sub/good.png'])
def test_two_files_with_one_key(folder: Path, capsys: pytest.CaptureFixture[str], other: str) -> None:
    clashing = {'good.jpg': 'good', 'good.PNG.bmp': 'good_PNG', 'sub/good.png': 'sub_good'}[other]
    (folder / 'in' / other).parent.mkdir(exist_ok=True)
    Image.fromarray(photo(60, 60, 1)).save(folder / 'in' / other)
    if clashing != 'good':
        Image.fromarray(photo(60, 60, 1)).save(folder / 'in' / f'{clashing}.png')
    said = complaint(folder, capsys)
    assert f'LMDB key {clashing}' in said
    assert other in said


@pytest.mark.parametrize(('more', 'words'), [
    (['--scale', '5'], '--scale 5 is not known: use one of 1, 2, 3, 4, 8'),
    (['--scale', '0'], '--scale 0 is not known'),
    (['--scale', '3', '--size', '32'], '--size 32 must be a positive multiple of the scale 3'),
    (['--scale', '2', '--step', '15'], '--step 15 must be a positive multiple of the scale 2'),
    (['--step', '0'], '--step 0 must be a positive multiple'),
    (['--size', '0'], '--size 0 must be a positive multiple'),
    (['--min-rest', '-1'], '--min-rest -1 must be 0 or more'),
    (['--workers', '0'], '--workers 0 must be 1 or more'),
    (['--only', 'bad'], '--only bad fits none of the 1 images'),
    (['--exclude', 'bad'], '--exclude bad fits none'),
    (['--exclude', '*'], 'leave no image'),
    (['--input', 'no/such/folder'], 'no/such/folder is not a folder'),
])
def test_options_that_do_not_fit(folder: Path, capsys: pytest.CaptureFixture[str], more: list[str],
                                 words: str) -> None:
    assert words in complaint(folder, capsys, *more)


def test_a_folder_without_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / 'in' / 'good.png').rename(folder / 'in' / 'good.txt')
    assert 'holds no image' in complaint(folder, capsys)


def test_a_name_too_long_for_a_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = folder / 'in' / ('d' * 200) / ('e' * 200) / ('f' * 200)
    deep.mkdir(parents=True)
    (folder / 'in' / 'good.png').rename(deep / 'good.png')
    assert 'too long for an LMDB key' in complaint(folder, capsys)


def test_a_place_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / 'file').touch()
    arguments = ['--input', f'{folder}/in', '--output', f'{folder}/file/out', '--scale', '1', '--size', '32']
    assert prepare_sr.main(arguments) == 1
    assert 'cannot write' in capsys.readouterr().err
