"""The experiments of docs/evidence can be planned, and their pairs are apart by scene."""
from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from mcir_plugin.config import load_options
from mcir_plugin.hosts.basicsr.compare.plan import plan_runs, read_recipe_file

ROOT = Path(__file__).parents[2]
VARIANTS = sorted((ROOT / 'scripts' / 'evidence' / 'variants').glob('*.yml'))
RUN = (ROOT / 'scripts' / 'evidence' / 'run.sh').read_text()


@pytest.fixture
def scenes(tmp_path):
    """Three scenes, the inputs of two of which are brighter by their number."""
    for scene in (1, 2, 3):
        gt = np.full((50, 70, 3), 20 * scene, np.uint8)
        for folder, name, image in [('gt', f'{scene}', gt), *(('lq', f'{scene}_{n}', gt + n) for n in (1, 2))]:
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), image)
    return tmp_path


def split(folder, *flags):
    return subprocess.run([sys.executable, ROOT / 'scripts' / 'evidence' / 'split_pairs.py', '--lq', folder / 'lq',
                           '--gt', folder / 'gt', '--pair-by', 'prefix(_)', '--output', folder / 'out', '--size', '32',
                           *flags], capture_output=True, text=True)


def stored(path):
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return {key.decode(): cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_COLOR)
                for key, value in transaction.cursor()}


def test_scenes_are_apart_and_pairs_fit(scenes):
    done = split(scenes, '--val', '2', '--val-only', '*_1')
    assert done.returncode == 0, done.stderr
    lq, gt = (stored(scenes / 'out' / 'train' / f'{name}.lmdb') for name in ('lq', 'gt'))
    assert list(lq) == list(gt) and {key.split('_')[0] for key in lq} == {'1', '3'}
    assert len(lq) == 2 * 2 * 2 * 2  # scenes, inputs, rows, columns
    for key, image in lq.items():
        scene, number = map(int, key.split('_')[:2])
        assert image.shape == (32, 32, 3) and (image == 20 * scene + number).all() and (gt[key] == 20 * scene).all()
    assert {key: image.shape for key, image in stored(scenes / 'out' / 'val' / 'lq.lmdb').items()} == {
        '2_1': (50, 70, 3)}


def test_a_scene_that_is_not_there_is_named(scenes):
    done = split(scenes, '--val', '2', '7')
    assert done.returncode == 2 and 'no ground truth 7' in done.stderr and not (scenes / 'out').exists()


@pytest.mark.parametrize('path', VARIANTS, ids=lambda path: path.stem)
def test_every_variant_can_be_planned_and_is_run(path):
    recipe = read_recipe_file(str(ROOT / 'options' / 'evidence' / 'EDSR_SRx2.yml'), [], [])
    run, = plan_runs(recipe, [f'{path.stem}={path}'], [0], Path('nowhere'))
    assert run.opt['train']['spn_opt'] == load_options(path)['spn_opt']
    assert re.search(rf'\b{re.escape(path.stem)}\b', RUN), f'{path.stem} is in no experiment of run.sh'


def test_table_of_an_experiment_holds_the_numbers_of_its_report():
    folder = ROOT / 'docs' / 'evidence' / 'sr_x2'
    done = subprocess.run([sys.executable, ROOT / 'scripts' / 'evidence' / 'table.py', folder], capture_output=True,
                          text=True)
    rows = [line.split(' | ') for line in done.stdout.splitlines()]
    assert rows[0] == ['| variant', 'Set5', 'BSDS', 's per step |'] and len(rows) == 2 + 6
    runs = json.loads((folder / 'runs.json').read_text())
    means = {variant: [np.mean([*run['scores']['BSDS']['net_g']['psnr'].values()]) for run in runs
                       if run['variant'] == variant] for variant in ('none', 'cr')}
    assert rows[2][2].startswith(f'{np.mean(means["none"]):.3f}, spread {np.std(means["none"], ddof=1):.3f}')
    cr = next(row for row in rows if row[0] == '| `cr`')
    assert cr[2].startswith(f'{np.mean(np.subtract(means["cr"], means["none"])):+.3f} (') and 'worse' in cr[2]


def test_curves_of_an_experiment_are_differences_at_the_same_iteration_and_seed():
    folder = ROOT / 'docs' / 'evidence' / 'sr_x2'
    command = [sys.executable, ROOT / 'scripts' / 'evidence' / 'curves.py', folder]
    rows = [line.strip('| ').split(' | ') for line in
            subprocess.run([*command, 'BSDS'], capture_output=True, text=True).stdout.splitlines()]
    assert rows[0] == ['variant', '300', '600', '900', '1200', '1500'] and len(rows) == 2 + 6
    at = {(run['variant'], run['seed']): run['curves']['BSDS: psnr']['900']
          for run in json.loads((folder / 'runs.json').read_text())}
    ahead = [at['pcl', seed] - at['none', seed] for seed in (0, 1, 2)]
    half = 4.302653 * np.std(ahead, ddof=1) / np.sqrt(3)  # Student's t of two degrees of freedom, from a table
    pcl = next(row for row in rows if row[0] == '`pcl`')
    assert pcl[3] == f'{np.mean(ahead):+.3f} ({np.mean(ahead) - half:+.3f} .. {np.mean(ahead) + half:+.3f})'
    missing = subprocess.run([*command, 'Set55'], capture_output=True, text=True)
    assert missing.returncode == 2 and "no curve 'Set55: psnr'" in missing.stderr and 'Set5: psnr' in missing.stderr
