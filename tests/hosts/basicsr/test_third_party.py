"""Packages on top of BasicSR: their own archs, models and training scripts, which know nothing of this project."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from model_cases import CASES
from package_template import write_package

from mcir_plugin.cli import main

STEPS = 3
SHIM = """
import sys
import types
import torchvision.transforms.functional as functional
shim = types.ModuleType('torchvision.transforms.functional_tensor')
shim.rgb_to_grayscale = functional.rgb_to_grayscale
sys.modules.setdefault(shim.__name__, shim)
"""
ORDERS = {
    'plugin first': 'import mcir_plugin\nimport {package}.train as script\n',
    'plugin last': SHIM + 'import {package}.train as script\nimport mcir_plugin\n',
}


REALESRGAN = """
import sys
import mcir_plugin
import realesrgan.train
from basicsr.utils.registry import MODEL_REGISTRY
for model in {models}:
    sys.argv = ['train.py', '-opt', model + '.yml']
    realesrgan.train.train_pipeline('.')
    print('trained', MODEL_REGISTRY.get(model).__module__)
"""


@pytest.fixture
def odd(options) -> Callable[..., dict[str, Any]]:
    """Return ``odd(model, network, **train) -> opt``; the first negative is the network of the step before."""
    import odd_networks  # noqa: F401  (registers)

    def make(model: str, network: str, **train: Any) -> dict[str, Any]:
        opt = options(total_iter=STEPS, ema_decay=0, **train)
        opt['model_type'], opt['network_g'] = model, {'type': network}
        opt['train']['history_opt'] = {'update_iter': [1, 2], 'decay': [0.0, 0.1]}
        return opt

    return make


def packaged(opt: dict[str, Any], stem: str, held: dict[str, str]) -> dict[str, Any]:
    """Turn the options into those of a written package, with validation on inputs that its model has to pad."""
    opt.update(model_type=f'{stem}Model', network_g={'type': f'{stem}Net', 'num_feat': 8, 'window_size': 12})
    opt['datasets']['train']['gt_size'] = 48
    opt['datasets']['val'] = {'name': 'Held', 'type': 'PairedImageDataset', **held, 'io_backend': {'type': 'lmdb'}}
    opt['val'] = {'val_freq': STEPS, 'save_img': False,
                  'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': False}}}
    opt['train']['total_iter'] = opt['logger']['save_checkpoint_freq'] = STEPS
    return opt


def check_log(log: str, package: str) -> None:
    """The package's own model trained with the term, and validated with its own ``test``."""
    assert f'Model [{package}Model] trains with a contrastive term' in log
    assert len(re.findall(r'l_spn: -\d', log)) == STEPS
    assert '# psnr:' in log


@pytest.mark.parametrize('way', ['option', 'flag'])
def test_package_is_brought_in(options, lmdb_pairs, train, tmp_path, monkeypatch, way):
    stem = f'Shop{way.capitalize()}'
    package = write_package(tmp_path, stem)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    opt = packaged(options(), stem, lmdb_pairs(2))
    modules = [f'{package}.archs', f'{package}.models']
    if way == 'option':
        opt['imports'] = modules
    run = train(opt, *(['--import', *modules] if way == 'flag' else []))
    check_log(run.log, stem)
    assert set(run.weights(STEPS)) == {'index', 'body.weight', 'body.bias', 'tail.0.weight', 'tail.0.bias'}


def test_package_that_cannot_be_imported(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('opt.yml').write_text(yaml.safe_dump(options()))
    assert main(['train', '-opt', 'opt.yml', '--import', 'no_such_package.archs']) == 2
    assert 'no_such_package.archs' in capsys.readouterr().err


@pytest.mark.parametrize('order', ORDERS)
def test_train_script_of_the_package(options, lmdb_pairs, tmp_path, order):
    package = write_package(tmp_path, 'Own')
    opt = packaged(options(), 'Own', lmdb_pairs(2))
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    (tmp_path / 'start.py').write_text(ORDERS[order].format(package=package) + 'script.train_pipeline(".")\n')
    check_log(run_python(tmp_path, 'start.py', '-opt', 'opt.yml'), 'Own')
    assert 'mcir_plugin' in torch.load(next(tmp_path.rglob(f'{STEPS}.state')), weights_only=False)


def run_python(folder: Path, *command: str) -> str:
    """Run Python in another process and folder; return what it said."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(folder), *filter(None, sys.path)]),
                   'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize(('model', 'network'), [
    ('TupleModel', 'TupleNet'), ('TupleModel', 'ListNet'), ('DictModel', 'DictNet'), ('NoiseModel', 'NoiseNet'),
    ('FlatFramesModel', 'FramesNet'), ('SRModel', 'LockedNet'),
    ('CentreFrameModel', 'FramesNet'), ('TurnedModel', 'PlainNet'), ('TwicePredictingModel', 'PlainNet'),
])
def test_negative_is_what_the_criterion_saw(odd, train, model, network):
    """The network of the step before, on the same input, gives the very output that the criterion is shown."""
    lines = train(odd(model, network)).lines()
    assert sorted(lines) == list(range(1, STEPS + 1))
    for values in lines.values():
        assert values['l_spn'] < 0 < values['l_pix']
    for step in range(2, STEPS + 1):
        assert lines[step]['spn/dist_1'] < 1e-4 * lines[step]['spn/dist_2']


def test_output_processed_at_its_size_is_paired_with_the_output(odd, train):
    lines = train(odd('ClampingModel', 'PlainNet')).lines()
    assert all(values['l_spn'] < 0 for values in lines.values())


def test_output_that_cannot_be_paired_is_an_error(odd, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('opt.yml').write_text(yaml.safe_dump(odd('ShrinkingModel', 'PlainNet')))
    assert main(['train', '-opt', 'opt.yml']) == 2
    said = capsys.readouterr().err
    assert '(2, 3, 16, 16)' in said and '[(2, 3, 32, 32)]' in said
    assert 'no negative can be paired' in said and 'spn_opt' in said


def test_detached_loss_in_the_log(odd, train, options):
    lines = train(odd('DetachingModel', 'PlainNet')).lines()
    plain = odd('DetachingModel', 'PlainNet')
    del plain['train']['spn_opt'], plain['train']['history_opt']
    assert lines[1]['l_pix'] == train({**plain, 'name': 'plain'}).lines()[1]['l_pix']
    assert all(values['l_spn'] < 0 for values in lines.values())


def test_sum_of_criteria_in_the_log(odd, train):
    """What is logged cannot be told apart from the term; the term is logged nevertheless, and the log says so."""
    run = train(odd('SummingModel', 'ListNet'))
    for values in run.lines().values():
        assert values['l_spn'] < 0
        assert 0 < values['spn/ratio'] < 1
    assert run.log.count('includes l_spn') == 1


def test_names_that_moved_are_found_where_hat_imports_them():
    """HAT was written for BasicSR 1.3; in the conversion itself white is Y = 235, as ITU-R BT.601 has it."""
    import numpy as np
    from basicsr.utils.matlab_functions import rgb2ycbcr
    assert rgb2ycbcr(np.ones((1, 1, 3), np.float32), y_only=True) == pytest.approx(235 / 255, abs=1e-3)


@pytest.mark.skipif(find_spec('realesrgan') is None, reason='needs: pip install --no-deps realesrgan')
def test_realesrgan_package(lmdb_pairs, tmp_path):
    """In a process of its own, since the package registers the names of BasicSR's models anew."""
    models = ['RealESRNetModel', 'RealESRGANModel']
    for case in CASES:
        if case.model in models:
            opt = case.options(lambda kind, scale: {'dataroot_gt': lmdb_pairs(scale)['dataroot_gt']})
            opt['train']['perceptual_opt'] = None
            (tmp_path / f'{case.model}.yml').write_text(yaml.safe_dump(opt))
    (tmp_path / 'start.py').write_text(REALESRGAN.format(models=models))
    said = run_python(tmp_path, 'start.py')
    assert len(re.findall(r'l_spn: -\d', said)) == 2 * STEPS
    assert len(re.findall(r'l_g_gan: -?\d', said)) == STEPS
    assert all(f'trained realesrgan.models.{name}_model' in said for name in ('realesrnet', 'realesrgan'))
