"""NaN and infinity stop a run; a term that outgrows the pixel loss is warned about, and bounded if asked."""
import pytest
import torch
import yaml
from basicsr.archs.edsr_arch import EDSR
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY
from torch import nn

from mcir_plugin.cli import main


class ExplodingLoss(nn.Module):
    """L1 that becomes infinite at its third call."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, pred, target):
        self.calls += 1
        return (pred - target).abs().mean() * (float('inf') if self.calls == 3 else 1)


class BrokenPast(EDSR):
    """Fails only where it is not trained: in eval mode, as the negatives are."""

    def forward(self, x):
        output = super().forward(x)
        return output if self.training else output * float('nan')


@pytest.fixture(scope='module', autouse=True)
def registered():
    LOSS_REGISTRY.register(ExplodingLoss)
    ARCH_REGISTRY.register(BrokenPast)
    yield
    del LOSS_REGISTRY._obj_map['ExplodingLoss'], ARCH_REGISTRY._obj_map['BrokenPast']


def run_to_the_end(opt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    return main(['train', '-opt', 'opt.yml'])


def test_infinite_pixel_loss_stops_and_saves_a_snapshot(options, tmp_path, monkeypatch, capsys):
    opt = options(pixel_opt={'type': 'ExplodingLoss'})
    assert run_to_the_end(opt, tmp_path, monkeypatch) == 2
    said = capsys.readouterr().err
    assert 'l_pix is inf at iteration 3' in said and '--auto_resume' in said
    snapshot = torch.load(tmp_path / 'experiments/tiny/diverged_iter_3_rank0.pth', weights_only=True)
    assert snapshot['iter'] == 3 and snapshot['losses']['l_pix'] == float('inf')
    assert snapshot['lq'].shape == (2, 3, 16, 16) and snapshot['gt'].shape == snapshot['output'].shape == (2, 3, 32, 32)
    past = [value for name, value in snapshot['history']['bank'].items() if 'weight' in name]
    assert past and all(torch.isfinite(value).all() for value in past), 'the history must stay clean'


def test_nan_in_the_negatives_names_the_contrastive_term(options, tmp_path, monkeypatch, capsys):
    opt = options()
    opt['network_g']['type'] = 'BrokenPast'
    assert run_to_the_end(opt, tmp_path, monkeypatch) == 2
    assert 'l_spn is nan at iteration 1' in capsys.readouterr().err


def test_outgrowing_term_is_warned_about_once(options, train):
    opt = options(total_iter=4)
    opt['train']['spn_opt']['loss_weight'] = 20.
    log = train(opt).log
    assert log.count('has no lower bound') == 1 and 'max_ratio: 0.1' in log and 'loss_weight' in log


def test_max_ratio_bounds_the_term(options, train):
    opt = options(total_iter=4, history_opt={'update_iter': [2, 3], 'max_ratio': 0.1})
    opt['train']['spn_opt']['loss_weight'] = 20.
    run = train(opt)
    ratios = [values['spn/grad_ratio'] for values in run.lines().values()]
    assert ratios == pytest.approx([0.1] * 4, rel=1e-3) and 'has no lower bound' not in run.log


def test_small_term_is_neither_warned_about_nor_scaled(options, train):
    bounded = train(options(total_iter=3, history_opt={'update_iter': [2, 3], 'max_ratio': 0.5}))
    free = train(options(total_iter=3))
    assert bounded.lines() == free.lines() and 'has no lower bound' not in free.log
