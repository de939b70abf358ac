"""``basicsr test`` and validations: published protocols, the values of every image, what is said and refused."""
from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from basicsr.metrics import calculate_metric
from basicsr.models.sr_model import SRModel
from evaluation_runs import PSNR, Evaluated, files, outputs, psnr, psnr_rounded, run_options
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr.compat import saving
from mcir_plugin.hosts.basicsr.compat.saving import CheckpointError, load_safely
from mcir_plugin.hosts.basicsr.evaluation import with_evaluation
from mcir_plugin.hosts.basicsr.evaluation.defaults import complete_test_options
from mcir_plugin.hosts.basicsr.evaluation.float_images import RoundedImage, with_unrounded
from mcir_plugin.hosts.basicsr.evaluation.records import write_csv
from mcir_plugin.metrics import MetricError

SAFE_NUMBERS = pytest.mark.skipif(not hasattr(torch.serialization, 'add_safe_globals'),
                                  reason='before torch 2.4 the safe loader takes no NumPy numbers')
BOTH = {**PSNR, 'rounded': {'type': 'calculate_psnr_rgb_rounded'},
        'y': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True},
        'ssim': {'type': 'calculate_ssim_y_rounded', 'center_crop': 40}}


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys, close_log) -> Callable[..., Evaluated]:
    """Return ``evaluate(opt) -> Evaluated``: run ``basicsr test`` in this process."""
    monkeypatch.chdir(tmp_path)

    def run(opt: dict[str, Any]) -> Evaluated:
        close_log()
        Path('test.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
        capsys.readouterr()
        assert main(['test', '-opt', 'test.yml']) == 0, capsys.readouterr().err
        folder = tmp_path / 'results' / opt['name']
        newest = max(folder.glob('test_*.log'), key=lambda path: path.stat().st_mtime)
        return Evaluated(folder, newest.read_text(), capsys.readouterr().err)

    return run


@pytest.mark.parametrize('scale', [1, 2])
def test_values_of_every_image(evaluate, options, tmp_path, scale):
    opt = run_options(options, tmp_path, scale, BOTH)
    run, expected = evaluate(opt), outputs(opt)
    table = run.table()
    assert list(table) == [*expected, 'mean'] and len(expected) == 8
    for name, (out, gt) in expected.items():
        assert table[name]['psnr'] == pytest.approx(psnr(out, gt), abs=2e-4)
        assert table[name]['rounded'] == pytest.approx(psnr_rounded(out, gt), abs=2e-2)
        y = [np.floor(rgb2ycbcr(np.rint(np.clip(i, 0, 1) * 255).astype(np.uint8))[12:52, 12:52, 0] + 0.5)
             for i in (out, gt)]
        assert table[name]['ssim'] == pytest.approx(structural_similarity(
            *y, data_range=255, gaussian_weights=True, use_sample_covariance=False), abs=1e-3)
    for metric in BOTH:
        assert table['mean'][metric] == pytest.approx(fmean(table[name][metric] for name in expected), abs=1e-5)
        host = re.search(rf'# {metric}: (\S+)', run.log)[1]
        assert float(host) == pytest.approx(table['mean'][metric], abs=1e-4)


def test_numbers_stand_beside_what_they_compare(evaluate, options, tmp_path):
    run = evaluate(run_options(options, tmp_path, 2, BOTH))
    mean = run.table()['mean']
    titles = {'psnr': 'RGB, float, clamped, not rounded', 'rounded': 'RGB, rounded to 8 bits',
              'y': 'Y of 8-bit RGB, not rounded, border of 2 left out',
              'ssim': 'Y of 8-bit RGB, rounded to 8 bits, 11x11 Gaussian, valid, centre 40x40'}
    for name, title in titles.items():
        assert run.said(name) == (title, pytest.approx(mean[name], abs=1e-4))
    assert 'mean of 8 image(s), each of them in' in run.log and 'metrics_Patches.csv' in run.log


def test_float_values_do_not_come_from_rounded_images(evaluate, options, tmp_path):
    """A network that adds a third of a grey level to its input: rounding would hide it."""
    opt = run_options(options, tmp_path, 1, {**PSNR, 'rounded': {'type': 'calculate_psnr_rgb_rounded'}})
    opt['network_g'] = {'type': 'AddsALittle'}
    opt['imports'] = ['adds_a_little']
    Path('adds_a_little.py').write_text(
        'import torch\nfrom basicsr.utils.registry import ARCH_REGISTRY\n'
        'class AddsALittle(torch.nn.Module):\n'
        '    def __init__(self):\n        super().__init__()\n'
        '        self.shift = torch.nn.Parameter(torch.zeros(1))\n'
        '    def forward(self, x):\n        return x * 250 / 255 + self.shift\n'
        'if "AddsALittle" not in ARCH_REGISTRY:\n    ARCH_REGISTRY.register(AddsALittle)\n')
    torch.save({'params': {'shift': torch.full((1, ), 0.3 / 255)}}, 'net.pth')
    opt['datasets']['test_1']['dataroot_gt'] = opt['datasets']['test_1']['dataroot_lq']
    table = evaluate(opt).table()
    for name, (out, gt) in outputs(opt, lambda x: x * 250 / 255 + 0.3 / 255).items():
        assert table[name]['psnr'] == pytest.approx(psnr(out, gt), abs=1e-3)
        assert abs(table[name]['psnr'] - table[name]['rounded']) > 1e-3


def test_pictures_are_saved_as_before(evaluate, options, tmp_path):
    plain = evaluate({**run_options(options, tmp_path, 2, {'y': BOTH['y']}, save_img=True), 'name': 'plain'})
    both = evaluate({**run_options(options, tmp_path, 2, BOTH, save_img=True), 'name': 'both'})
    pictures = [sorted(run.folder.rglob('*.png')) for run in (plain, both)]
    assert len(pictures[0]) == 8
    assert [path.read_bytes() for path in pictures[0]] == [path.read_bytes() for path in pictures[1]]
    assert plain.table()['mean']['y'] == both.table()['mean']['y']


def test_two_data_sets_each_have_a_file(evaluate, options, tmp_path):
    opt = run_options(options, tmp_path, 2, PSNR)
    opt['datasets']['test_2'] = {**opt['datasets']['test_1'], 'name': 'Again'}
    run = evaluate(opt)
    assert run.table('Patches') == run.table('Again')
    assert 'Patches, by protocol' in run.log and 'Again, by protocol' in run.log


@pytest.mark.parametrize(('key', 'container'), [
    ('params', lambda weights: {'params': weights}), ('state_dict', lambda weights: {'state_dict': weights}),
    (None, lambda weights: weights),
    pytest.param('model', lambda weights: {'model': weights, 'step': 3, 'psnrs': [np.float64(30.5), np.float32(2)],
                                           'max_ssim': np.float64(0.98)}, marks=SAFE_NUMBERS)])
@pytest.mark.parametrize(('prefix', 'new'), [('', True), ('module.', True), ('module.', False)])
def test_containers_of_published_weights(evaluate, options, tmp_path, key, container, prefix, new):
    """Nothing but path.pretrain_network_g, param_key_g and strict_load_g is needed; NumPy scalars may lie beside."""
    opt = run_options(options, tmp_path, 2, PSNR)
    weights = torch.load('net.pth', weights_only=True)['params']
    weights = container({prefix + name: value for name, value in weights.items()})
    torch.save(weights, 'net.pth', _use_new_zipfile_serialization=new)
    if not new:  # NumPy 2 writes another name than the NumPy of those years
        Path('net.pth').write_bytes(Path('net.pth').read_bytes().replace(b'numpy._core.multiarray',
                                                                         b'numpy.core.multiarray'))
    opt['path']['param_key_g'] = key
    assert evaluate(opt).table()['mean']['psnr'] == pytest.approx(
        fmean(psnr(*pair) for pair in outputs(opt).values()), abs=2e-4)


def test_numpy_values_that_are_no_numbers_run_nothing(tmp_path):
    class Innocent:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'ran', )

    for number, harmful in enumerate([np.array([Innocent()], object), {'psnr': Innocent()}]):
        torch.save(harmful, tmp_path / f'{number}.pth')
        with pytest.raises(CheckpointError, match='Nothing of it was run'):
            load_safely(tmp_path / f'{number}.pth')
    scalar = next(function for function in saving._SCALARS)
    with pytest.raises(pickle.UnpicklingError, match='object'):
        scalar(np.dtype(object), b'')
    assert not (tmp_path / 'ran').exists()


def test_a_test_without_metrics_or_val(evaluate, options, tmp_path):
    opt = run_options(options, tmp_path, 2, {})
    del opt['val']
    run = evaluate(opt)
    assert 'Testing Patches' in run.log and not list(run.folder.glob('*.csv'))


def validated(options, **val):
    opt = options(1, spn=False, total_iter=2, scheduler={'type': 'CosineAnnealingLR', 'T_max': 2})
    data = {name: path for name, path in opt['datasets']['train'].items() if name.startswith('dataroot')}
    opt['datasets']['val'] = files(data)
    return {**opt, 'val': {'val_freq': 2, 'save_img': False, **val}}


def test_validation_in_training(options, train):
    """The network with averaged weights is validated, as by the host; no file is written."""
    run = train(validated(options, metrics={**PSNR, 'y': {'type': 'calculate_psnr', 'crop_border': 0}}))
    from basicsr.archs import build_network
    opt = yaml.safe_load((run.folder / 'opt.yml').read_text())
    net = build_network(opt['network_g']).eval()
    net.load_state_dict(torch.load(run.folder / 'models/net_g_latest.pth', weights_only=True)['params_ema'])
    expected = fmean(psnr(*pair) for pair in outputs({'datasets': {'test_1': opt['datasets']['val']}}, net).values())
    found = [float(value) for value in re.findall(r'psnr \(RGB, float, clamped, not rounded\): (\S+)', run.log)]
    assert found == pytest.approx([expected] * 2, abs=2e-4) and 'Best' in run.log
    assert not list(run.folder.rglob('*.csv'))


def test_training_without_own_metrics_is_left_alone(options, train):
    run = train(validated(options, metrics={'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}))
    assert 'by protocol' not in run.log and 'Validation Patches' in run.log
    opt = {'is_train': True, 'val': {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}}}
    assert with_evaluation(SRModel, opt) is SRModel


def test_tensor2img_is_only_replaced_during_a_validation(evaluate, options, tmp_path):
    from basicsr.models import sr_model
    before = sr_model.tensor2img, sr_model.calculate_metric
    evaluate(run_options(options, tmp_path, 2, PSNR))
    assert (sr_model.tensor2img, sr_model.calculate_metric) == before


def test_rounded_images_are_refused_not_used():
    image = np.zeros((16, 16, 3), np.uint8)
    block = {'type': 'calculate_psnr_rgb_float'}
    with pytest.raises(MetricError, match='not rounded to 8 bits.*received rounded'):
        calculate_metric({'img': image, 'img2': image}, block)
    carrying = with_unrounded(image, np.full((16, 16, 3), 0.1, np.float32))
    other = with_unrounded(image, np.zeros((16, 16, 3), np.float32))
    assert calculate_metric({'img': carrying, 'img2': other}, block) == pytest.approx(20, abs=1e-5)
    for derived in (carrying[2:-2, 2:-2], carrying.copy(), carrying + 0):
        assert isinstance(derived, RoundedImage)
        with pytest.raises(MetricError, match='received rounded'):
            calculate_metric({'img': derived, 'img2': derived}, block)


def test_order_of_channels_and_grey_images():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 24, 28, 3), dtype=np.uint8)
    y = [rgb2ycbcr(image[..., ::-1])[..., 0] for image in images]  # BasicSR's images are BGR
    value = calculate_metric({'img': images[0], 'img2': images[1]}, {'type': 'calculate_psnr_y_unrounded'})
    assert value == pytest.approx(10 * np.log10(255**2 / np.mean((y[0] - y[1])**2)), abs=1e-9)
    grey = calculate_metric({'img': images[0, ..., 0], 'img2': images[1, ..., 0]}, {'type': 'calculate_psnr_y_rounded'})
    errors = (images[0, ..., 0].astype(float) - images[1, ..., 0])**2
    assert grey == pytest.approx(10 * np.log10(255**2 / errors.mean()), abs=1e-9)


def test_a_model_without_tensor2img_is_refused_before_it_is_built():
    class Other:
        """Defined in a module that does not know tensor2img."""

    opt = {'is_train': False, 'val': {'metrics': PSNR}}
    with pytest.raises(MetricError, match='Other does not convert its images with tensor2img'):
        with_evaluation(Other, opt)


@pytest.mark.parametrize(('val', 'said'), [
    ({'metrics': {'psnr': {'type': 'calculate_psnr_rgb_flot'}}}, ['val.metrics.psnr.type', 'did you mean '
                                                                  'calculate_psnr_rgb_float?']),
    ({'metrics': {'psnr': {'type': 'calculate_psnr_rgb_float', 'centre_crop': 9}}},
     ['val.metrics.psnr.centre_crop', 'did you mean center_crop?']),
    ({'metrics': {'psnr': {'type': 'calculate_psnr_rgb_float', 'center_crop': 0}}}, ['center_crop: received 0']),
    ({'metrics': {'psnr': {'type': 'calculate_psnr_rgb_float', 'crop_border': 4}}}, ['val.metrics.psnr.crop_border']),
    ({'tile': {'sise': 64}}, ['val.tile.sise', 'did you mean size?']),
    ({'tile': {'size': 64, 'overlap': 33}}, ['val.tile.overlap: received 33', 'half of size (64)', '32']),
    ({'tile': 64}, ['val.tile', '64', 'mapping']),
    ('metrics', ['val', "'metrics'", 'mapping']),
])
@pytest.mark.parametrize('command', ['test', 'train'])
def test_wrong_options_are_named(options, tmp_path, monkeypatch, capsys, command, val, said):
    monkeypatch.chdir(tmp_path)
    opt = run_options(options, tmp_path, 2, {}) if command == 'test' else validated(options)
    opt['val'] = {**opt['val'], **val} if isinstance(val, dict) else val
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main([command, '-opt', 'opt.yml']) == 2
    error = capsys.readouterr().err
    assert all(text in error for text in said), error


@pytest.mark.parametrize(('metric', 'data', 'said'), [
    ({}, {'type': 'SingleImageDataset'}, 'compares with a ground truth, but the data set has none'),
    ({'center_crop': 65}, {}, 'center_crop is 65, but an image of 64x64 is smaller'),
])
def test_images_that_cannot_be_compared(options, tmp_path, monkeypatch, capsys, metric, data, said):
    monkeypatch.chdir(tmp_path)
    opt = run_options(options, tmp_path, 2, {'psnr': {**PSNR['psnr'], **metric}})
    opt['datasets']['test_1'].update(data)
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['test', '-opt', 'opt.yml']) == 2
    assert said in capsys.readouterr().err


def test_check_takes_metrics_and_tiles(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opt = validated(options, metrics={**BOTH, 'large': {'type': 'calculate_ssim_rgb_pooled', 'center_crop': 300}},
                    tile={'size': 64, 'overlap': 16})
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    status = main(['check', '-opt', 'opt.yml'])
    said = capsys.readouterr().out
    assert status == 0 and '(0 warnings)' in said, said


@pytest.mark.parametrize('terminal', [True, False])
def test_a_bar_where_somebody_can_see_it(monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: terminal, raising=False)
    opt, own = {}, {'val': {'pbar': not terminal, 'save_img': True}}
    complete_test_options(opt)
    complete_test_options(own)
    assert opt['val']['pbar'] is terminal and opt['val']['save_img'] is False
    assert own['val']['pbar'] is not terminal and own['val']['save_img'] is True


def test_the_bar_counts_images(evaluate, options, tmp_path):
    assert '8/8' in evaluate(run_options(options, tmp_path, 2, PSNR, pbar=True)).errors
    assert '8/8' not in evaluate(run_options(options, tmp_path, 2, PSNR, pbar=False)).errors


def test_a_table_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'folder' / 'metrics.csv'
    write_csv(path, [('a, "b"', {'psnr': 1.5}), ('c', {})], {'psnr': float('inf')})
    assert path.read_text() == 'image,psnr\n"a, ""b""",1.500000\nc,\nmean,inf\n'
    (tmp_path / 'taken').mkdir()
    with pytest.raises(OSError, match='taken'):
        write_csv(tmp_path / 'taken', [], {'psnr': 1.})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['folder', 'taken']
