"""Trained weights through an option file of the project give the numbers of the network's original code.

Needs images and weights that are not part of the project: in a folder ``shared`` beside it, or in one that the
environment variable MCIR_SHARED names.
"""
from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from mcir_plugin.cli import main

SHARED = Path(os.environ.get('MCIR_SHARED', Path(__file__).parents[4] / 'shared'))
OPTIONS = Path(__file__).parents[3] / 'options' / 'test' / 'DehazeFormer' / 'DehazeFormer_T_SOTS_indoor.yml'
REFERENCE = SHARED / 'arch_facts' / 'dehazeformer_t_sots_reference.csv'
WEIGHTS = SHARED / 'weights' / 'dehazeformer_t_indoor.pth'


def rows(path: Path) -> dict[str, dict[str, float]]:
    with open(path, newline='') as file:
        return {Path(row.pop('image')).stem: {key: float(value) for key, value in row.items()}
                for row in csv.DictReader(file)}


@pytest.mark.skipif(not (REFERENCE.is_file() and WEIGHTS.is_file()), reason='no trained weights in ../shared')
def test_dehazeformer_t_on_sots_indoor(tmp_path, monkeypatch, capsys):
    """Six of the 42 images of the reference; by hand all were compared, with the same result."""
    monkeypatch.chdir(tmp_path)
    expected = dict(list(rows(REFERENCE).items())[::7])
    Path('hazy').mkdir()
    for name in expected:
        Path('hazy', f'{name}.png').symlink_to(SHARED / 'data' / 'SOTS_indoor' / 'hazy' / f'{name}.png')
    assert main(['test', '-opt', str(OPTIONS), '--force_yml', 'num_gpu=0', 'datasets:test_1:io_backend:type=disk',
                 f'datasets:test_1:dataroot_gt={SHARED}/data/SOTS_indoor/clear', 'datasets:test_1:dataroot_lq=hazy',
                 'datasets:test_1:allow_unused_gt=true', f'path:pretrain_network_g={WEIGHTS}']) == 0, \
        capsys.readouterr().err
    found = rows(next(Path('results').rglob('metrics_SOTS_indoor.csv')))
    assert len(expected) == 6 and set(found) == {*expected, 'mean'}
    for name, row in expected.items():
        assert found[name]['psnr'] == pytest.approx(row['psnr_rgb_float'], abs=1e-3)
        assert found[name]['ssim'] == pytest.approx(row['ssim_pooled'], abs=1e-4)
