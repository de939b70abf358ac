"""Every pair of model type and network in BasicSR's option files: only ``spn_opt`` is added, then it trains."""
from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from model_cases import CASES, STEPS, Case

from mcir_plugin.cli import main

CLIP, FRAMES, FRAME = '001', 100, 256  # the REDS data sets count on clips of 100 frames
GAN_TERMS = {'l_g_gan', 'l_d_real', 'l_d_fake'}
BY_NAME = {case.name: case for case in CASES}
TRAINABLE = [case for case in CASES if case.model != 'StyleGAN2Model']


@pytest.fixture(scope='session')
def clip(tmp_path_factory) -> dict[str, str]:
    """A clip, the camera moving over a photograph: LMDB of frames and of their quarter size, and small files."""
    import skimage
    photograph = cv2.imread(str(Path(skimage.__file__).parent / 'data' / 'astronaut.png'))
    frames = [photograph[i:i + FRAME, 2 * i:2 * i + FRAME] for i in range(FRAMES)]
    folder = tmp_path_factory.mktemp('clip')
    for kind, side in (('gt', FRAME), ('lq', FRAME // 4)):
        write_lmdb(folder / f'{kind}.lmdb', [shrunk(frame, side) for frame in frames])
        (folder / kind / CLIP).mkdir(parents=True)  # BasicSR validates video from files only
        for i, frame in enumerate(frames[:5]):
            cv2.imwrite(str(folder / kind / CLIP / f'{i:08d}.png'), shrunk(frame, side // 4))
    (folder / 'reds.txt').write_text(f'{CLIP} {FRAMES} ({FRAME},{FRAME},3)\n')
    (folder / 'vimeo.txt').write_text(''.join(f'{CLIP}/{i:04d} 7 ({FRAME},{FRAME},3)\n' for i in (1, 2)))
    return {'dataroot_gt': str(folder / 'gt.lmdb'), 'dataroot_lq': str(folder / 'lq.lmdb'), 'folder': str(folder),
            'reds': str(folder / 'reds.txt'), 'vimeo': str(folder / 'vimeo.txt')}


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """Return a square image of another size."""
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def write_lmdb(path: Path, frames: list[np.ndarray]) -> None:
    """Write frames under keys as in REDS; the first 14 once more as two sequences with keys as in Vimeo90K."""
    from basicsr.utils.lmdb_util import LmdbMaker
    maker = LmdbMaker(str(path), map_size=2**26)
    for i, frame in enumerate(frames):
        data = cv2.imencode('.png', frame)[1].tobytes()
        maker.put(data, f'{CLIP}/{i:08d}', frame.shape)
        if i < 14:
            maker.put(data, f'{CLIP}/{i // 7 + 1:04d}/im{i % 7 + 1}', frame.shape)
    maker.close()


@pytest.fixture
def sources(clip, lmdb_pairs) -> Callable[[str, int], dict[str, Any]]:
    """Return ``sources(kind, scale)``: the paths that a data set type wants."""

    def paths(kind: str, scale: int) -> dict[str, Any]:
        if kind == 'images':
            return lmdb_pairs(scale)
        names = ('dataroot_gt', ) if kind in ('blind', 'faces') else ('dataroot_gt', 'dataroot_lq')
        meta = {'meta_info_file': clip[kind.split()[0]]} if kind.split()[0] in clip else {}
        return {**{name: clip[name] for name in names}, **meta}

    return paths


class Spy:
    """Records what a loss class returns (of several parts the first), under whatever model."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cls: type) -> None:
        self.values: list[float] = []
        forward = cls.forward

        def recorded(module: Any, *args: Any, **kwargs: Any) -> Any:
            result = forward(module, *args, **kwargs)
            parts = result if isinstance(result, tuple) else (result, )
            self.values.append(next(part.item() for part in parts if part is not None))
            return result

        monkeypatch.setattr(cls, 'forward', recorded)


@pytest.fixture
def spy(monkeypatch) -> Callable[[str], Spy]:
    """Return ``spy(name)``: record the values of a registered loss."""
    from basicsr.utils.registry import LOSS_REGISTRY
    return lambda name: Spy(monkeypatch, LOSS_REGISTRY.get(name))


@pytest.fixture(scope='session', autouse=True)
def tiny_perceptual() -> None:
    """Register a perceptual loss without VGG: distances of gradients instead of features."""
    from basicsr.utils.registry import LOSS_REGISTRY

    class TinyPerceptual(torch.nn.Module):

        def __init__(self, perceptual_weight: float, style_weight: float) -> None:
            super().__init__()
            self.weights = perceptual_weight, style_weight

        def forward(self, x: torch.Tensor, gt: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
            assert x.dim() == 4, 'as VGG would say'
            edges = (x.diff(dim=-1) - gt.diff(dim=-1)).abs().mean()
            style = (x.mean((-1, -2)) - gt.mean((-1, -2))).abs().mean()
            return tuple(weight * value if weight else None
                         for weight, value in zip(self.weights, (edges, style), strict=True))

    LOSS_REGISTRY.register(TinyPerceptual)


@pytest.mark.parametrize('case', TRAINABLE, ids=lambda case: case.name)
def test_pair_trains(case: Case, sources, train, spy):
    opt = case.options(sources)
    criterion = opt['train']['pixel_opt'] or opt['train']['perceptual_opt']
    spied = spy(criterion['type'])
    run = train(opt)
    lines = run.lines()
    assert sorted(lines) == list(range(1, STEPS + 1))
    for values in lines.values():
        assert values['l_spn'] < 0 and math.isfinite(values['l_spn'])
        assert set(values) >= GAN_TERMS or 'network_d' not in opt
    assert [values[case.joined] for values in lines.values()] == pytest.approx(spied.values, rel=1e-3)
    if case.equal_in_eval:  # the negative of the step before is the network itself: it saw the same input
        assert all(lines[i]['spn/dist_1'] < 1e-3 * lines[i]['spn/dist_2'] for i in range(2, STEPS + 1))
    check_history(run)
    check_stock_loading(run, opt)


def check_history(run: Any) -> None:
    """Refreshed when it was due, and with what the network was then."""
    bank = run.state(STEPS)['mcir_plugin']['bank']
    assert bank['_extra_state']['refreshed_at'] == [STEPS, STEPS // 2 * 2]
    for name, saved in run.weights(STEPS).items():
        assert torch.equal(bank[f'copies.0.{name}'], saved), name


def check_stock_loading(run: Any, opt: dict[str, Any]) -> None:
    """What was saved is what BasicSR saves: nothing of the history in the networks' files."""
    from basicsr.archs import build_network
    for label in ('g', 'd') if 'network_d' in opt else ('g', ):
        network = build_network(copy.deepcopy(opt[f'network_{label}']))
        saved = torch.load(run.folder / 'models' / f'net_{label}_{STEPS}.pth', weights_only=True)
        assert set(saved) == ({'params', 'params_ema'} if label == 'g' and opt['train']['ema_decay'] else {'params'})
        for params in saved.values():
            network.load_state_dict(params, strict=True)


def test_validation_of_images_is_no_training_step(sources, train):
    case = BY_NAME['SRModel-EDSR']
    opt = case.options(sources)
    opt['train']['ema_decay'] = 0  # validate with the network under training
    data = {'name': 'Held', 'type': 'PairedImageDataset', **sources(case.data, case.scale),
            'io_backend': {'type': 'lmdb'}}
    check_validation_changes_nothing(train, opt, data)


def test_validation_of_video_is_no_training_step(sources, clip, train):
    case = BY_NAME['EDVRModel-EDVR']
    opt = case.options(sources)
    opt['train']['ema_decay'] = 0
    data = {'name': 'REDS4', 'type': 'VideoTestDataset', 'dataroot_gt': f'{clip["folder"]}/gt',
            'dataroot_lq': f'{clip["folder"]}/lq', 'io_backend': {'type': 'disk'}, 'cache_data': False, 'num_frame': 5,
            'padding': 'reflection_circle'}
    check_validation_changes_nothing(train, opt, data)


def check_validation_changes_nothing(train: Callable[..., Any], opt: dict[str, Any], data: dict[str, Any]) -> None:
    """Validate after every step and never; every logged value and every negative must come out the same."""
    without = train(copy.deepcopy(opt))
    opt['name'] += '-validated'
    opt['datasets']['val'] = data
    opt['val'] = {'val_freq': 1, 'save_img': False,
                  'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': False}}}
    validated = train(opt)
    assert validated.log.count('# psnr:') >= STEPS
    assert validated.lines() == without.lines()
    banks = [run.state(STEPS)['mcir_plugin']['bank'] for run in (validated, without)]
    assert all(torch.equal(banks[0][name], banks[1][name]) for name in banks[0] if name != '_extra_state')


@pytest.mark.parametrize('weights', [(1.0, 0), (1.0, 1.0), (0, 1.0)], ids=['content', 'both', 'style'])
def test_perceptual_loss_alone_is_joined(sources, train, spy, weights):
    opt = BY_NAME['SRModel-MSRResNet'].options(sources)
    opt['train']['pixel_opt'] = None
    opt['train']['perceptual_opt'] = {'type': 'TinyPerceptual', 'perceptual_weight': weights[0],
                                      'style_weight': weights[1]}
    parts = spy('TinyPerceptual')
    run = train(opt)
    assert 'joins: cri_perceptual (TinyPerceptual)' in run.log
    joined = 'l_percep' if weights[0] else 'l_style'
    lines = run.lines()
    assert [values[joined] for values in lines.values()] == pytest.approx(parts.values, rel=1e-3)
    assert all(values['l_spn'] < 0 for values in lines.values())
    assert all(values['spn/ratio'] == pytest.approx(-values['l_spn'] / values[joined], rel=1e-3)
               for values in lines.values())


def test_flattened_video_is_paired(sources, train, spy):
    """Without a pixel loss the video GAN shows its criterion (N * T, C, H, W), the network returns (N, T, C, H, W)."""
    opt = BY_NAME['VideoRecurrentGANModel-BasicVSR'].options(sources)
    opt['train'].update(pixel_opt=None, total_iter=2)
    opt['datasets']['train']['num_frame'] = 2
    parts = spy('TinyPerceptual')
    lines = train(opt).lines()
    assert [values['l_g_percep'] for values in lines.values()] == pytest.approx(parts.values, rel=1e-3)
    assert all(values['l_spn'] < 0 for values in lines.values())
    assert lines[2]['spn/dist_1'] < 1e-3 * lines[2]['spn/dist_2']


def test_stylegan2_is_refused_before_training(sources, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('opt.yml').write_text(yaml.safe_dump(BY_NAME['StyleGAN2Model-StyleGAN2Generator'].options(sources)))
    assert main(['train', '-opt', 'opt.yml']) == 2
    said = capsys.readouterr().err
    assert 'StyleGAN2Model' in said and 'spn_opt' in said
    assert 'Traceback' not in said
    assert not list(tmp_path.rglob('*.pth'))
