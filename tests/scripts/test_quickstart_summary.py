"""The end of the quick start on runs of ``options/quickstart.yml`` that are cut down to two iterations."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import prepare_sr
import pytest
import yaml
from PIL import Image
from preparation_oracles import photo

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def workplace(tmp_path_factory: pytest.TempPathFactory, toolbox: None) -> Path:
    """A folder with small data where the option file expects the photographs."""
    folder = tmp_path_factory.mktemp('quickstart')
    for part, sizes, more in (('train', [(70, 80)], ['--size', '64']), ('val', [(72, 90), (64, 64)], ['--full'])):
        (folder / part).mkdir()
        for number, size in enumerate(sizes):
            Image.fromarray(photo(*size, seed=number)).save(folder / part / f'{part}{number}.png')
        output = folder / 'datasets' / 'quickstart' / part
        assert prepare_sr.main(['--input', f'{folder / part}', '--output', f'{output}', '--scale', '2', *more]) == 0
    return folder


def run(workplace: Path, name: str, learning_rate: float, ema_decay: float) -> subprocess.CompletedProcess[str]:
    """Two iterations by the real command, then the summary. Returns the summary's process."""
    options: dict[str, Any] = yaml.safe_load((ROOT / 'options' / 'quickstart.yml').read_text())
    options['name'] = name
    options['datasets']['train'] |= {'num_worker_per_gpu': 0, 'batch_size_per_gpu': 2}
    options['logger'] |= {'print_freq': 1, 'use_tb_logger': False}
    options['train'] |= {'total_iter': 2, 'ema_decay': ema_decay}
    options['train']['history_opt']['interval'] = 1
    options['train']['optim_g']['lr'] = options['train']['scheduler']['eta_min'] = learning_rate
    (workplace / f'{name}.yml').write_text(yaml.safe_dump(options, sort_keys=False))
    start(workplace, '-m', 'mcir_plugin', 'train', '-opt', f'{name}.yml').check_returncode()
    return start(workplace, str(ROOT / 'scripts' / 'quickstart_summary.py'), '-opt', f'{name}.yml')


def start(workplace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run([sys.executable, *arguments], cwd=workplace, env=environment, capture_output=True, text=True,
                          timeout=600)


@pytest.fixture(scope='module')
def moving(workplace: Path) -> subprocess.CompletedProcess[str]:
    """The summary of a run that learned something, and averaged its weights."""
    return run(workplace, 'moving', 5e-3, ema_decay=0.5)


def row(printed: str, name: str) -> list[tuple[float, float]]:
    """PSNR and SSIM of bicubic, start and trained in one line of the printed table."""
    line = next(line for line in printed.splitlines() if line.startswith(f'{name} '))
    return [tuple(map(float, cell.split('/'))) for cell in line.split()[1:]]


def test_the_start_is_the_network_that_training_began_with(workplace: Path) -> None:
    """With a learning rate of 0 the trained weights are still the initial ones, so start and trained must agree."""
    done = run(workplace, 'still', 0.0, ema_decay=0)
    assert done.returncode == 1, done.stderr
    assert 'DOES NOT BEAT bicubic' in done.stdout
    for name in ('val0', 'val1', 'mean'):
        _, start, trained = row(done.stdout, name)
        assert start == trained


def test_the_trained_row_is_the_last_validation_of_the_log(workplace: Path,
                                                           moving: subprocess.CompletedProcess[str]) -> None:
    _, start, trained = row(moving.stdout, 'mean')
    assert start != trained
    (log,) = (workplace / 'experiments' / 'moving').glob('train_*.log')
    logged = [float(re.findall(rf'# {metric}: ([\d.]+)', log.read_text())[-1]) for metric in ('psnr', 'ssim')]
    assert trained == pytest.approx(logged, abs=0.00501)
    assert str(log.relative_to(workplace)) in moving.stdout
    assert 'vgg_weights: ~' in moving.stdout


def test_bicubic_beats_nearest_neighbour(workplace: Path, moving: subprocess.CompletedProcess[str]) -> None:
    gt = np.asarray(Image.open(workplace / 'val' / 'val0.png'), np.float64)
    luma = gt @ [65.481, 128.553, 24.966] / 255
    nearest = luma.reshape(36, 2, 45, 2).mean((1, 3)).repeat(2, 0).repeat(2, 1)
    error = (luma - nearest)[2:-2, 2:-2]
    assert row(moving.stdout, 'val0')[0][0] > 10 * np.log10(255**2 / (error**2).mean())
    means = np.mean([row(moving.stdout, f'val{number}')[0] for number in (0, 1)], axis=0)
    np.testing.assert_allclose(row(moving.stdout, 'mean')[0], means, atol=0.01)


def test_the_picture_has_a_strip_per_image(workplace: Path, moving: subprocess.CompletedProcess[str]) -> None:
    assert 'experiments/moving/comparison.png' in moving.stdout
    picture = cv2.imread(str(workplace / 'experiments' / 'moving' / 'comparison.png'))
    assert picture.shape[0] > 2 * 256
    assert picture.shape[1] > 5 * 256


def test_without_a_training_it_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toolbox: None,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / 'scripts'))
    import quickstart_summary

    assert quickstart_summary.main(['-opt', str(ROOT / 'options' / 'quickstart.yml')]) == 2
    assert 'net_g_latest.pth is missing: run basicsr train -opt' in capsys.readouterr().err


@pytest.mark.parametrize('variant', ['none', 'spn', 'pcl'])
def test_the_extractor_is_spoken_of_where_there_is_one(variant: str, monkeypatch: pytest.MonkeyPatch,
                                                       toolbox: None) -> None:
    monkeypatch.syspath_prepend(str(ROOT / 'scripts'))
    import quickstart_summary

    path = str(ROOT / 'options' / 'comparison' / f'{variant}.yml')
    said = quickstart_summary.about_extractor(quickstart_summary.load_options(path), path)
    assert (said == '') == (variant == 'none')
