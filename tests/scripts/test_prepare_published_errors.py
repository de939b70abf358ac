"""Wrong layouts, wrong versions, unfit images: refused by name before anything is made."""
from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image
from preparation_oracles import photo, read_lmdb
from published_layouts import miniatures

Refused = Callable[..., str]
pytestmark = pytest.mark.usefixtures('one_process')


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return ``refused(script, set, *flags) -> message``: it ends with 2 and leaves no output."""

    def run(script: str, name: str, *flags: str) -> str:
        from paired_command import main
        published = getattr(import_module(script), name)
        arguments = ['--input', str(tmp_path / 'in'), '--output', str(tmp_path / 'out'), '--workers', '1', *flags]
        assert main(published, 'doc', arguments) == 2
        said = capsys.readouterr().err
        assert 'Traceback' not in said
        return said

    return run


def touch(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_nothing_that_is_known(tmp_path: Path, refused: Refused) -> None:
    touch(tmp_path / 'in/Hazy', ['1_1.png'])
    touch(tmp_path / 'in', ['readme.txt'])
    said = refused('prepare_its', 'ITS')
    assert f'{tmp_path}/in does not hold ITS in a layout that is known' in said
    assert 'train: in ./ or ITS/ or train/ the folders hazy and clear; or hazy and gt' in said
    assert 'Found: Hazy/, readme.txt. The set comes from https://' in said
    assert not (tmp_path / 'out').exists()


def test_a_missing_input(refused: Refused) -> None:
    assert 'is not a folder' in refused('prepare_its', 'ITS')


def test_an_incomplete_set_says_how_many_there_should_be(tmp_path: Path, refused: Refused) -> None:
    miniatures()['ITS'].write(tmp_path / 'in')
    said = refused('prepare_its', 'ITS')
    assert 'found 6 inputs and 3 ground truths, but ITS has 13990 inputs and 1399 ground truths' in said
    assert '--allow-partial' in said
    assert not (tmp_path / 'out').exists()


def test_both_versions_of_ots_are_named(tmp_path: Path, refused: Refused) -> None:
    miniatures()['OTS'].write(tmp_path / 'in')
    assert 'OTS v0 has 313950 inputs and 8970 ground truths; OTS beta has 72135' in refused('prepare_ots', 'OTS')


def test_the_larger_version_of_its_is_refused_by_its_number(tmp_path: Path, refused: Refused) -> None:
    touch(tmp_path / 'in/clear', [f'{n}.png' for n in range(10)])
    touch(tmp_path / 'in/hazy', [f'{n % 10}_{n // 10}.png' for n in range(110000)])
    for flags in ((), ('--allow-partial', )):
        said = refused('prepare_its', 'ITS', *flags)
        assert 'found 110000 inputs and 10 ground truths, which is ITS-v2, another set' in said
        assert '13,990 hazy images of 1,399 clear ones' in said


@pytest.mark.parametrize(('script', 'name', 'lq', 'gt', 'lq_names', 'gt_names', 'words'), [
    ('prepare_rain200', 'RAIN200', 'test/rain', 'test/norain', [f'norain-{n}x2.png' for n in range(100)],
     [f'norain-{n}.png' for n in range(100)], 'which is the test part of Rain100L or Rain100H, another set'),
    ('prepare_ddn', 'DDN', 'testing/rainy_image', 'testing/ground_truth',
     [f'{n}_{j}.jpg' for n in range(350) for j in range(14)], [f'{n}.jpg' for n in range(350)],
     'found 4900 inputs and 350 ground truths, which is the first release, another set. Its authors replaced it'),
])
def test_other_sets_are_recognised(tmp_path: Path, refused: Refused, script: str, name: str, lq: str, gt: str,
                                   lq_names: list[str], gt_names: list[str], words: str) -> None:
    touch(tmp_path / 'in' / lq, lq_names)
    touch(tmp_path / 'in' / gt, gt_names)
    assert words in refused(script, name, '--allow-partial')


def test_inputs_without_a_ground_truth(tmp_path: Path, refused: Refused) -> None:
    source = miniatures()['ITS'].write(tmp_path / 'in')
    (source / 'clear/2.png').unlink()
    said = refused('prepare_its', 'ITS', '--allow-partial')
    assert '2 of 6 images' in said and '2_1_0.91.png (needs 2)' in said


def test_ground_truths_without_an_input(tmp_path: Path, refused: Refused, capsys: pytest.CaptureFixture[str]) -> None:
    source = miniatures()['ITS'].write(tmp_path / 'in')
    Image.fromarray(photo(24, 40, 7)).save(source / 'clear/99.png')
    assert '1 of 4 ground truths in' in refused('prepare_its', 'ITS')
    from paired_command import main
    from prepare_its import ITS
    assert main(ITS, '', ['--input', str(source), '--output', f'{tmp_path}/out', '--allow-partial']) == 0
    assert '99' not in read_lmdb(tmp_path / 'out/train/gt.lmdb')


def test_sizes_that_do_not_fit_are_found_before_any_work(tmp_path: Path, refused: Refused) -> None:
    source = miniatures()['SOTS indoor'].write(tmp_path / 'in')
    Image.fromarray(photo(24, 40, 7)).save(source / 'indoor/hazy/1400_2.png')
    Image.fromarray(photo(50, 40, 7)).save(source / 'indoor/hazy/1401_2.png')
    Image.fromarray(photo(46, 60, 7)).save(source / 'indoor/clear/1401.png')
    (source / 'indoor/hazy/1401_1.png').write_text('no image')
    said = refused('prepare_sots', 'SOTS', '--allow-partial')
    assert '3 of 6 pairs cannot be used' in said
    assert '1401_2.png (50 x 40): the ground truth is too small' in said
    assert 'the ground truth is larger, by up to 11 pixels at each side' in said
    assert '1401_1.png or' in said and 'cannot be read as an image' in said
    assert '1400_2.png' not in said  # 44 x 60 and 24 x 40: 10 pixels at each side are allowed
    assert 'image/s' not in said


def test_a_file_that_is_cut_off_is_named_and_the_rest_is_kept(tmp_path: Path, refused: Refused) -> None:
    source = miniatures()['AGAN'].write(tmp_path / 'in')
    whole = (source / 'train/data/1_rain.png').read_bytes()
    (source / 'train/data/1_rain.png').write_bytes(whole[:len(whole) // 2])
    said = refused('prepare_agan', 'AGAN', '--allow-partial')
    assert '1 of 6 images cannot be used' in said and '1_rain.png cannot be read' in said
    assert 'run the command again: it goes on from here' in said
    (source / 'train/data/1_rain.png').write_bytes(whole)
    from paired_command import main
    from prepare_agan import AGAN
    assert main(AGAN, '', ['--input', str(source), '--output', f'{tmp_path}/out', '--allow-partial']) == 0
    assert len(read_lmdb(tmp_path / 'out/train/lq.lmdb')) == 3


def test_halves_of_unequal_width(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / 'in/Rain_Heavy/train2018new').mkdir(parents=True)
    Image.fromarray(photo(24, 63, 1)).save(tmp_path / 'in/Rain_Heavy/train2018new/1.jpg')
    assert 'is 63 pixels wide, so it does not hold two images' in refused('prepare_did', 'DID', '--allow-partial')


def test_two_names_with_one_key(tmp_path: Path, refused: Refused) -> None:
    source = miniatures()['OTS'].write(tmp_path / 'in')
    Image.fromarray(photo(24, 40, 1)).save(source / 'OTS/hazy/0025_0_8_0_04.jpg')
    assert 'would get the same LMDB key 0025_0_8_0_04' in refused('prepare_ots', 'OTS', '--allow-partial')


def test_workers_must_be_a_number_above_zero(tmp_path: Path, refused: Refused) -> None:
    assert '--workers 0 must be 1 or more' in refused('prepare_its', 'ITS', '--workers', '0')


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from paired_command import main
    from prepare_its import ITS
    source = miniatures()['ITS'].write(tmp_path / 'in')
    (tmp_path / 'file').touch()
    assert main(ITS, '', ['--input', str(source), '--output', f'{tmp_path}/file/out', '--allow-partial']) == 1
    assert 'run the same command to go on' in capsys.readouterr().err
