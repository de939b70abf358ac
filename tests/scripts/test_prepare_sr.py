"""A folder of images of many kinds goes through the real command; what comes out is compared with own computations."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from preparation_oracles import assert_rounded, matlab_bicubic, photo, read_lmdb

SCALE, SIZE, STEP, MIN_REST = 3, 48, 30, 6


@pytest.fixture(scope='module')
def originals() -> dict[str, np.ndarray]:
    """Path in the folder -> pixels. Odd sizes, a rest of exactly MIN_REST, equal names in sub-folders, odd names."""
    return {
        'a.png': photo(101, 130, 0),
        'one/a.png': photo(98, 97, 1),
        'two/deep/a.png': photo(64, 89, 2),
        'grey.png': photo(84, 100, 3, channels=0),
        'alpha.png': photo(70, 71, 4, channels=4),
        'my photo.v2.bmp': photo(50, 49, 5),
        'größe.png': photo(48, 48, 6),
    }


KEYS = {'a.png': 'a', 'one/a.png': 'one_a', 'two/deep/a.png': 'two_deep_a', 'grey.png': 'grey', 'alpha.png': 'alpha',
        'my photo.v2.bmp': 'my_photo_v2', 'größe.png': 'gru' + 'f6u' + 'dfe'}


@pytest.fixture(scope='module')
def prepared(originals: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory,
             toolbox: None) -> Path:
    """The folder that the command made, by two processes."""
    import prepare_sr

    folder = tmp_path_factory.mktemp('prepare')
    for name, pixels in originals.items():
        (folder / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / 'in' / name)
    (folder / 'in' / 'notes.txt').write_text('not an image')
    (folder / 'in' / '.hidden.png').write_text('not an image either')
    assert prepare_sr.main(arguments(folder, 'out')) == 0
    return folder


def arguments(folder: Path, output: str, *more: str) -> list[str]:
    return ['--input', f'{folder}/in', '--output', f'{folder / output}', '--scale', str(SCALE), '--size', str(SIZE),
            '--step', str(STEP), '--min-rest', str(MIN_REST), '--workers', '2', *more]


def expected_starts(length: int) -> list[int]:
    """By hand: as many steps as fit, and one more at the edge if more than MIN_REST pixels would be lost."""
    found = [0]
    while found[-1] + STEP + SIZE <= length:
        found.append(found[-1] + STEP)
    return found + [length - SIZE] * (length - SIZE - found[-1] > MIN_REST)


def cut(pixels: np.ndarray) -> np.ndarray:
    """Without alpha, cut to the scale."""
    height, width = pixels.shape[0] // SCALE * SCALE, pixels.shape[1] // SCALE * SCALE
    return pixels[:height, :width, :3] if pixels.ndim == 3 else pixels[:height, :width]


def test_hr_sub_images_are_the_original_pixels(originals: dict[str, np.ndarray], prepared: Path) -> None:
    stored = read_lmdb(prepared / 'out' / 'HR_sub.lmdb')
    expected = {}
    for name, pixels in originals.items():
        whole = cut(pixels)
        corners = [(y, x) for y in expected_starts(whole.shape[0]) for x in expected_starts(whole.shape[1])]
        expected |= {f'{KEYS[name]}_s{n:03d}': whole[y:y + SIZE, x:x + SIZE] for n, (y, x) in enumerate(corners, 1)}
    assert stored.keys() == expected.keys()
    for key, pixels in expected.items():
        np.testing.assert_array_equal(stored[key], pixels, err_msg=key)


def test_lr_sub_images_are_cut_from_the_bicubic_of_the_whole_image(originals: dict[str, np.ndarray],
                                                                   prepared: Path) -> None:
    stored = read_lmdb(prepared / 'out' / f'LR_bicubic_X{SCALE}_sub.lmdb')
    assert stored.keys() == read_lmdb(prepared / 'out' / 'HR_sub.lmdb').keys()
    side = SIZE // SCALE
    for name, pixels in originals.items():
        whole = cut(pixels)
        small = matlab_bicubic(whole, SCALE)
        corners = [(y, x) for y in expected_starts(whole.shape[0]) for x in expected_starts(whole.shape[1])]
        for number, (y, x) in enumerate(corners, 1):
            y, x = y // SCALE, x // SCALE
            assert_rounded(stored[f'{KEYS[name]}_s{number:03d}'], small[y:y + side, x:x + side])


def test_meta_info_has_one_line_per_image_in_basicsrs_form(prepared: Path) -> None:
    lines = (prepared / 'out' / 'HR_sub.lmdb' / 'meta_info.txt').read_text().splitlines()
    assert 'a_s001.png (48,48,3) 1' in lines
    assert 'grey_s001.png (48,48,1) 1' in lines
    small = (prepared / 'out' / f'LR_bicubic_X{SCALE}_sub.lmdb' / 'meta_info.txt').read_text().splitlines()
    assert [line.replace('(48,48', '(16,16') for line in lines] == small
    assert sorted(line.split('.')[0] for line in lines) == sorted(read_lmdb(prepared / 'out' / 'HR_sub.lmdb'))


def test_basicsr_reads_the_pairs(prepared: Path) -> None:
    from basicsr.data import build_dataset

    options = {'name': 'test', 'type': 'PairedImageDataset', 'io_backend': {'type': 'lmdb'}, 'scale': SCALE,
               'dataroot_gt': f'{prepared}/out/HR_sub.lmdb', 'phase': 'val',
               'dataroot_lq': f'{prepared}/out/LR_bicubic_X{SCALE}_sub.lmdb'}
    dataset = build_dataset(options)
    stored = read_lmdb(prepared / 'out' / 'HR_sub.lmdb')
    assert len(dataset) == len(stored)
    for sample in dataset:
        assert sample['lq'].shape == (3, SIZE // SCALE, SIZE // SCALE)
        pixels = stored[sample['gt_path']]
        pixels = np.stack([pixels] * 3, -1) if pixels.ndim == 2 else pixels
        np.testing.assert_array_equal((sample['gt'] * 255).round().numpy().transpose(1, 2, 0), pixels)


def test_number_of_workers_does_not_change_the_result(prepared: Path) -> None:
    import prepare_sr

    assert prepare_sr.main(arguments(prepared, 'again', '--workers', '1')) == 0
    for name in ('HR_sub.lmdb', f'LR_bicubic_X{SCALE}_sub.lmdb'):
        for file in ('data.mdb', 'meta_info.txt'):
            assert (prepared / 'again' / name / file).read_bytes() == (prepared / 'out' / name / file).read_bytes()


def test_full_keeps_whole_images(originals: dict[str, np.ndarray], prepared: Path) -> None:
    import prepare_sr

    assert prepare_sr.main(arguments(prepared, 'full', '--full', '--exclude', 'one/*', 'grey')) == 0
    large = read_lmdb(prepared / 'full' / 'HR.lmdb')
    small = read_lmdb(prepared / 'full' / f'LR_bicubic_X{SCALE}.lmdb')
    kept = {name: pixels for name, pixels in originals.items() if name not in ('one/a.png', 'grey.png')}
    assert large.keys() == small.keys() == {KEYS[name] for name in kept}
    for name, pixels in kept.items():
        np.testing.assert_array_equal(large[KEYS[name]], cut(pixels))
        assert_rounded(small[KEYS[name]], matlab_bicubic(cut(pixels), SCALE))


def test_scale_1_makes_hr_alone_and_only_picks_images(originals: dict[str, np.ndarray], prepared: Path) -> None:
    import prepare_sr

    assert prepare_sr.main(['--input', f'{prepared}/in', '--output', f'{prepared}/gt', '--scale', '1', '--full',
                            '--only', 'a.png', 'grey']) == 0
    assert [path.name for path in (prepared / 'gt').iterdir()] == ['HR.lmdb']
    stored = read_lmdb(prepared / 'gt' / 'HR.lmdb')
    # 'a.png' is the name of three files
    assert stored.keys() == {'a', 'one_a', 'two_deep_a', 'grey'}
    np.testing.assert_array_equal(stored['a'], originals['a.png'])


@pytest.mark.parametrize('scale', [2, 3, 4, 8])
@pytest.mark.parametrize('channels', [0, 3])
def test_bicubic_equals_matlabs_definition(scale: int, channels: int, toolbox: None) -> None:
    from image_pairs import bicubic_lr

    image = photo(9 * scale, 14 * scale, seed=scale, channels=channels)
    assert_rounded(bicubic_lr(image, scale), matlab_bicubic(image, scale))


@pytest.mark.parametrize('scale', [2, 3, 4, 8])
def test_bicubic_at_the_smallest_size_the_plan_allows(scale: int, toolbox: None) -> None:
    from image_pairs import PairPlan, bicubic_lr

    side = PairPlan(scale, None).smallest
    image = photo(side, side, seed=scale)
    assert_rounded(bicubic_lr(image, scale), matlab_bicubic(image, scale))
