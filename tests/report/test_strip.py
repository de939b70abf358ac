"""The picture of results: right pixels at the right place, and written whole."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mcir_plugin.report import Panel, comparison_strip, hardest_square, save_picture, stack_strips
from mcir_plugin.report.strip import GAP, LINE


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_hardest_square_against_a_search_by_hand() -> None:
    reference, estimate = noise(31, 40, 0), noise(31, 40, 1)
    size, best = 7, (-1.0, (0, 0))
    for top in range(31 - size + 1):
        for left in range(40 - size + 1):
            part = np.s_[top:top + size, left:left + size]
            best = max(best, (np.abs(reference[part].astype(float) - estimate[part]).mean(), (top, left)))
    assert hardest_square(reference, estimate, size) == best[1]


def test_hardest_square_may_lie_in_the_last_corner() -> None:
    reference = np.zeros((20, 30, 3), np.uint8)
    estimate = reference.copy()
    estimate[-4:, -4:] = 255
    assert hardest_square(reference, estimate, 4) == (16, 26)


def test_strip_shows_the_same_square_of_every_version_enlarged() -> None:
    large, small = noise(60, 80, 2), noise(30, 40, 3)
    panels = [Panel('LQ', small), Panel('ground truth', large, '33.41 dB')]
    strip = comparison_strip(Panel('name', large), panels, corner=(20, 32), size=16, shown=64)
    thumbnail_width = 96  # 3 : 2, whatever the shape of the image
    assert strip.shape == (64 + 2 * LINE + 4, thumbnail_width + 2 * (GAP + 64), 3)
    first = strip[:64, thumbnail_width + GAP:][:, :64]
    second = strip[:64, thumbnail_width + 64 + 2 * GAP:]
    np.testing.assert_array_equal(first, small[10:18, 16:24].repeat(8, 0).repeat(8, 1))
    np.testing.assert_array_equal(second, large[20:36, 32:48].repeat(4, 0).repeat(4, 1))


def test_strip_marks_the_square_and_writes_the_labels() -> None:
    grey = np.full((64, 64, 3), 100, np.uint8)
    strip = comparison_strip(Panel('name', grey), [Panel('label', grey, 'note')], corner=(16, 24), size=32, shown=64)
    thumbnail = strip[:64, :64].astype(int)
    marked = (thumbnail[..., 2] > 200) & (thumbnail[..., 0] < 90)
    assert marked[16, 24:56].all() and marked[16:48, 24].all() and not marked[20:44, 28:52].any()
    assert (strip[:64, 64:96] == 255).all()  # paper beside a square image
    assert (strip[64:64 + LINE, :96] < 128).any() and not (strip[64 + LINE:, :96] < 128).any()  # a name, no note
    assert (strip[64:64 + LINE, 96 + GAP:] < 128).any() and (strip[64 + LINE:, 96 + GAP:] < 128).any()


@pytest.mark.parametrize(('height', 'width'), [(60, 200), (200, 60), (64, 96)])
def test_thumbnails_of_any_shape_fit_the_same_place(height: int, width: int) -> None:
    image = np.full((height, width, 3), 100, np.uint8)
    strip = comparison_strip(Panel('name', image), [Panel('label', image)], corner=(0, 0), size=16, shown=64)
    assert strip.shape == (64 + 2 * LINE + 4, 96 + GAP + 64, 3)


def test_strip_refuses_a_version_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="'LQ' is 25 pixels high"):
        comparison_strip(Panel('name', noise(60, 80, 0)), [Panel('LQ', noise(25, 40, 0))], (0, 0), 16)


def test_stack_fills_narrow_strips_up() -> None:
    sheet = stack_strips([noise(10, 30, 0), noise(12, 20, 1)])
    assert sheet.shape == (10 + GAP + 12, 30, 3)
    np.testing.assert_array_equal(sheet[:10], noise(10, 30, 0))
    np.testing.assert_array_equal(sheet[10 + GAP:, :20], noise(12, 20, 1))
    assert (sheet[10 + GAP:, 20:] == 255).all()


def test_picture_is_saved_without_loss_and_without_rest(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    path.write_text('old')
    save_picture(noise(9, 11, 5), path)
    np.testing.assert_array_equal(cv2.imread(str(path)), noise(9, 11, 5))
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_raises_and_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'a.png'
    path.write_text('old')
    monkeypatch.setattr('mcir_plugin.report.strip.os.replace', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        save_picture(noise(9, 11, 5), path)
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]
