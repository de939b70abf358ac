"""The test sets of super-resolution: pixels against own computations, other sets and versions refused."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from preparation_oracles import assert_rounded, matlab_bicubic, photo

SCALES = (2, 3, 4)
Prepare = Callable[..., tuple[int, str]]


@pytest.fixture
def prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str], one_process: None, toolbox: None) -> Prepare:
    """Return ``prepare(name, *flags) -> (exit code, stderr)``: from ``in`` to ``out/name``."""
    import prepare_sr_benchmarks

    def run(name: str, *flags: str) -> tuple[int, str]:
        code = prepare_sr_benchmarks.main(['--input', f'{tmp_path}/in', '--output', f'{tmp_path}/out/{name}', *flags])
        return code, capsys.readouterr().err

    return run


def write(folder: Path, pictures: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / name)


def test_ground_truths_and_bicubic_lr_of_every_scale(tmp_path: Path, prepare: Prepare) -> None:
    pictures = {f'{n}.png': photo(48 + 5 * n, 71 - 4 * n, n, channels=0 if n == 3 else 3) for n in range(5)}
    write(tmp_path / 'in', pictures)
    assert prepare('Set5')[0] == 0
    out = tmp_path / 'out/Set5'
    assert sorted(path.name for path in out.iterdir()) == ['GTmod12', *(f'LRbicx{scale}' for scale in SCALES)]
    for name, pixels in pictures.items():
        height, width = (side // 12 * 12 for side in pixels.shape[:2])
        cropped = pixels[:height, :width]
        assert np.array_equal(np.asarray(Image.open(out / 'GTmod12' / name)), cropped)
        for scale in SCALES:
            assert_rounded(np.asarray(Image.open(out / f'LRbicx{scale}' / name)), matlab_bicubic(cropped, scale))
    assert all(len(list(folder.iterdir())) == 5 for folder in out.iterdir())


def test_of_a_folder_with_both_the_hr_images_are_taken(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path / 'in', {f'img_{n:03d}_SRF_4_{kind}.png': photo(*size, n) for n in range(1, 6)
                            for kind, size in (('HR', (24, 36)), ('LR', (6, 9)))})
    assert prepare('mine', '--set', 'Set5')[0] == 0
    assert sorted(path.name for path in (tmp_path / 'out/mine/GTmod12').iterdir()) == [
        f'img_{n:03d}_SRF_4_HR.png' for n in range(1, 6)]


@pytest.mark.parametrize(('name', 'files', 'words'), [
    ('Set14', ['a.png', 'b.png'], 'holds 2 images, but Set14 has 14'),
    ('Urban100', [f'img_{n:03d}_SRF_2_HR.png' for n in range(100)], 'Take the folder image_SRF_4'),
    ('Set15', ['a.png'], 'named after none of Set5, Set14, B100, Urban100, Manga109'),
    ('Set5', [], 'holds no image'),
])
def test_other_sets_and_versions_are_refused(tmp_path: Path, prepare: Prepare, name: str, files: list[str],
                                             words: str) -> None:
    write(tmp_path / 'in', dict.fromkeys(files, photo(12, 12, 0)))
    code, said = prepare(name)
    assert code == 2 and words in said and not (tmp_path / 'out').exists()


def test_unfit_images_are_named_and_nothing_is_left(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path / 'in', {'small.png': photo(11, 40, 0), 'good.png': photo(24, 24, 1)})
    (tmp_path / 'in/cut.png').write_bytes((tmp_path / 'in/good.png').read_bytes()[:200])
    code, said = prepare('Set5', '--allow-partial')
    assert code == 2 and '2 of 3 images cannot be used' in said
    assert 'small.png is smaller (40x11) than 12 pixels' in said and 'cut.png cannot be read' in said
    assert list((tmp_path / 'out').iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path / 'in', {'a.png': photo(12, 12, 0)})
    assert prepare('B100', '--allow-partial')[0] == 0
    code, said = prepare('B100', '--allow-partial')
    assert code == 2 and 'nothing is overwritten' in said
