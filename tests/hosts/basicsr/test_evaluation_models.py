"""Tiles and float images with other model types, and with several processes."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import cv2
import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from evaluation_runs import PSNR, Evaluated, image, network, outputs, psnr, run_options
from model_cases import BASICVSR
from torch import nn

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr.evaluation import validation

SWINIR = {'type': 'SwinIR', 'upscale': 2, 'in_chans': 3, 'img_size': 16, 'window_size': 8, 'img_range': 1.,
          'depths': [1], 'embed_dim': 8, 'num_heads': [2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffledirect',
          'resi_connection': '1conv'}
REACH = 5  # of the tiny EDSR without enlargement: five convolutions in a row


@pytest.fixture
def evaluate(tmp_path, monkeypatch, close_log):
    """Return ``evaluate(opt) -> Evaluated``: run ``basicsr test`` in this process."""
    monkeypatch.chdir(tmp_path)

    def run(opt):
        close_log()
        Path('test.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
        assert main(['test', '-opt', 'test.yml']) == 0
        folder = tmp_path / 'results' / opt['name']
        return Evaluated(folder, next(folder.glob('test_*.log')).read_text(), '')

    return run


@pytest.fixture
def tiles(monkeypatch):
    """The sizes of the images that ``val.tile`` hands to a network."""
    sizes = []
    run_tiled = validation.run_tiled

    def watched(net, x, size, overlap):
        return run_tiled(lambda tile: sizes.append(tuple(tile.shape[-2:])) or net(tile), x, size, overlap)

    monkeypatch.setattr(validation, 'run_tiled', watched)
    return sizes


@pytest.mark.parametrize(('tile', 'same'), [
    ({'size': 44, 'overlap': 4 * REACH}, True), ({'size': 64, 'overlap': 0}, True),
    ({'size': 20, 'overlap': 4}, False),
])
def test_tiles_of_images(evaluate, options, tmp_path, tiles, tile, same):
    opt = run_options(options, tmp_path, 1, PSNR, tile=tile)
    table, expected = evaluate(opt).table(), outputs(opt)
    largest = max(abs(table[name]['psnr'] - psnr(*pair)) for name, pair in expected.items())
    assert (largest < 2e-5) == same
    assert set(tiles) == {(tile['size'], ) * 2}
    assert len(tiles) == 8 * {44: 4, 64: 1, 20: 16}[tile['size']]


def test_tiles_of_windows(evaluate, options, tmp_path, tiles):
    """SwinIRModel pads its input to whole windows, and enlarges; the tiles get what it hands to the network."""
    opt = run_options(options, tmp_path, 2, PSNR, tile={'size': 16, 'overlap': 8})
    opt.update(model_type='SwinIRModel', network_g=SWINIR)
    torch.save({'params': network(opt).state_dict()}, 'net.pth')
    tiled = evaluate({**opt, 'name': 'tiled'}).table()
    assert set(tiles) == {(16, 16)} and len(tiles) == 8 * 9
    opt['val'].pop('tile')
    whole = evaluate({**opt, 'name': 'whole'}).table()
    assert tiled['mean']['psnr'] == pytest.approx(whole['mean']['psnr'], abs=0.5) and tiled != whole


def test_tiles_that_do_not_hold_whole_windows(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opt = {**run_options(options, tmp_path, 2, PSNR, tile={'size': 20, 'overlap': 8}), 'network_g': SWINIR}
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['test', '-opt', 'opt.yml']) == 2
    assert 'val.tile.size: received 20, must be a multiple of network_g.window_size (8). Use 16' in \
        capsys.readouterr().err


def test_forward_is_given_back():
    net = nn.Conv2d(3, 3, 1)
    from mcir_plugin.config import TileOptions
    for own in (False, True):
        if own:
            net.forward = whole = net.forward
        with validation.tiled_forward(net, TileOptions(size=4, overlap=0)):
            assert net(torch.zeros(1, 3, 9, 4)).shape == (1, 3, 9, 4)
        assert vars(net).get('forward') is (whole if own else None)


@pytest.fixture
def clips(photographs, tmp_path):
    """Two clips of 256x256 frames and inputs of a quarter of that, in folders."""
    for clip in range(2):
        for kind, side in (('gt', 256), ('lq', 64)):
            folder = tmp_path / 'clips' / kind / f'00{clip}'
            folder.mkdir(parents=True)
            for frame in range(3 + clip):
                picture = cv2.resize(photographs[4 * clip + frame], (side, side), interpolation=cv2.INTER_AREA)
                cv2.imwrite(str(folder / f'{frame:08d}.png'), picture)
    return {f'dataroot_{kind}': str(tmp_path / 'clips' / kind) for kind in ('gt', 'lq')}


class MiddleFrame(nn.Module):
    """A network of clips (N, T, C, h, w) that returns the middle frame, enlarged four times."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return nn.functional.interpolate(x[:, x.shape[1] // 2], scale_factor=4, mode='bilinear') * self.gain


def clip_options(options, tmp_path, clips, **changes):
    opt = run_options(options, tmp_path, 2, {**PSNR, 'rounded': {'type': 'calculate_psnr_rgb_rounded'}})
    opt['datasets']['test_1'] = {'name': 'REDS4', 'type': 'VideoTestDataset', **clips, 'cache_data': True,
                                 'io_backend': {'type': 'disk'}, 'num_frame': 3, 'padding': 'replicate'}
    return {**opt, 'scale': 4, **changes}


def frame_values(clips, net):
    """The PSNR of every frame by name; ``net`` makes the outputs of one clip from its inputs (T, 3, h, w)."""
    found = {}
    for folder in sorted(Path(clips['dataroot_lq']).iterdir()):
        inputs = torch.stack([torch.from_numpy(image(path)).permute(2, 0, 1) for path in sorted(folder.iterdir())])
        with torch.no_grad():
            for number, out in enumerate(net(inputs)):
                gt = image(Path(clips['dataroot_gt'], folder.name, f'{number:08d}.png'))
                found[f'{folder.name}/{number:08d}'] = psnr(out.permute(1, 2, 0).numpy(), gt)
    return found


def check_frames(table, expected):
    assert list(table) == [*expected, 'mean']
    assert all(table[name]['psnr'] == pytest.approx(value, abs=2e-4) for name, value in expected.items())
    assert all(abs(table[name]['psnr'] - table[name]['rounded']) > 1e-5 for name in expected)
    means = [fmean(value for name, value in expected.items() if name.startswith(clip)) for clip in ('000', '001')]
    assert table['mean']['psnr'] == pytest.approx(fmean(means), abs=2e-4)  # of clips, not of frames


def test_frames_of_a_sliding_window(evaluate, options, tmp_path, clips, monkeypatch):
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'MiddleFrame', MiddleFrame)
    opt = clip_options(options, tmp_path, clips, model_type='VideoBaseModel', network_g={'type': 'MiddleFrame'})
    opt['path'] = {'pretrain_network_g': None}
    check_frames(evaluate(opt).table('REDS4'), frame_values(clips, lambda x: MiddleFrame()(x[:, None])))


def test_frames_of_a_recurrent_network(evaluate, options, tmp_path, clips):
    opt = clip_options(options, tmp_path, clips, model_type='VideoRecurrentModel', network_g=BASICVSR)
    opt['datasets']['test_1']['type'] = 'VideoRecurrentTestDataset'
    net = network(opt)
    torch.save({'params': net.state_dict()}, 'net.pth')
    check_frames(evaluate(opt).table('REDS4'), frame_values(clips, lambda x: net(x[None])[0]))


@pytest.mark.parametrize('kind', ['images', 'frames'])
def test_two_processes(options, tmp_path, clips, kind):
    """Images are validated by rank 0, frames by all ranks: the file and the log hold every one of them."""
    opt = run_options(options, tmp_path, 1, PSNR)
    if kind == 'frames':
        opt = clip_options(options, tmp_path, clips, model_type='VideoRecurrentModel', network_g=BASICVSR)
        opt['datasets']['test_1']['type'] = 'VideoRecurrentTestDataset'
        torch.save({'params': network(opt).state_dict()}, tmp_path / 'net.pth')
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--rdzv_backend', 'c10d',
                    '--rdzv_endpoint', 'localhost:0', '-m', 'mcir_plugin', 'test', '-opt', 'opt.yml', '--launcher',
                    'pytorch'], cwd=tmp_path, check=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    folder = tmp_path / 'results' / 'tiny'
    run = Evaluated(folder, next(folder.glob('test_*.log')).read_text(), '')
    if kind == 'frames':
        net = network(opt)
        check_frames(run.table('REDS4'), frame_values(clips, lambda x: net(x[None])[0]))
    else:
        expected = {name: psnr(*pair) for name, pair in outputs(opt).items()}
        found = {name: values['psnr'] for name, values in run.table().items() if name != 'mean'}
        assert found == pytest.approx(expected, abs=2e-4)
    assert run.log.count('by protocol') == 1
