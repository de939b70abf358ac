"""The tables of docs/protocols.md are what the script prints; folders of images work too."""
from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from mcir_plugin.metrics import PROTOCOLS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'scripts'))
PAGE = (ROOT / 'docs' / 'protocols.md').read_text(encoding='utf-8')


@pytest.fixture(scope='module')
def script():
    import protocol_table
    return protocol_table


def parsed(text: str) -> list[tuple[str, list[float]]]:
    """Return title and numbers of every row; heads and rules are left out."""
    rows = [line.strip('|').split('|') for line in text.splitlines() if line.startswith('| ')]
    return [(cells[0].strip(), [float(cell) for cell in cells[1:]]) for cells in rows
            if cells[0].strip() not in ('value', 'difference')]


def test_the_page_shows_what_the_script_prints(script, capsys):
    assert script.main([]) == 0
    printed = parsed(capsys.readouterr().out)
    shown = parsed(PAGE.partition('<!-- protocols:begin -->')[2].partition('<!-- protocols:end -->')[0])
    assert [title for title, _ in printed] == [title for title, _ in shown] and len(shown) == 17 + 14
    for (title, own), (_, page) in zip(printed, shown, strict=True):
        assert own == pytest.approx(page, abs=0.011 if 'psnr' in title else 0.00011), title
    values = dict(shown)
    assert values['psnr_rgb_float'][:2] == pytest.approx([20 * np.log10(255 / sigma) for sigma in (1, 4)], abs=0.2)
    for title, gaps in shown[17:]:
        other, _, name = title.partition(' for ')
        assert gaps == pytest.approx(np.subtract(values[other], values[name]), abs=0.0111)


def test_every_metric_is_on_the_page():
    assert all(f'| `calculate_{name}` |' in PAGE for name in PROTOCOLS)


def test_folders(script, tmp_path, capsys):
    rng, expected = np.random.default_rng(0), []
    for name in ('out', 'gt'):
        (tmp_path / name).mkdir()
    for number in range(3):
        gt = rng.integers(40, 200, (24, 30, 3), dtype=np.uint8)
        out = gt + rng.integers(0, 3 + number, gt.shape, dtype=np.uint8)
        cv2.imwrite(str(tmp_path / 'gt' / f'{number}.png'), gt)
        cv2.imwrite(str(tmp_path / 'out' / f'{number}_run.png'), out)
        expected.append(peak_signal_noise_ratio(gt, out))
    arguments = ['--result', str(tmp_path / 'out'), '--gt', str(tmp_path / 'gt')]
    assert script.main([*arguments, '--suffix', '_run']) == 0
    said = capsys.readouterr().out
    assert '| value | 3 images |' in said
    values = dict(parsed(said))
    for name in ('psnr_rgb_float', 'psnr_rgb_rounded', 'BasicSR psnr, RGB'):
        assert values[name] == pytest.approx([np.mean(expected)], abs=0.006)
    assert script.main(arguments) == 2
    assert 'no image for 3 of 3 outputs, such as 0_run' in capsys.readouterr().err
    assert script.main(['--result', str(tmp_path), '--gt', str(tmp_path / 'gt')]) == 2
    assert 'has no images' in capsys.readouterr().err
