"""NaN and infinity wherever they can come from, in real runs: the first thing is named, and no state takes it up."""
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.archs.edsr_arch import EDSR
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY

from mcir_plugin.cli import main
from mcir_plugin.history import HistoryBank
from mcir_plugin.hosts.basicsr.model import HistoryMixin

NAN = float('nan')


class BrokenData(PairedImageDataset):
    """From the sixth sample on, one value of lq or gt is not finite."""

    broken, count = 'lq', 0

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        BrokenData.count += 1
        if BrokenData.count >= 6:
            sample[self.broken][0, 0, 0] = float('inf')
        return sample


class Overflowing(EDSR):
    """Its third forward pass in training overflows, with finite weights."""

    calls = 0

    def forward(self, x):
        output = super().forward(x)
        if self.training:
            Overflowing.calls += 1
        return output * float('inf') if self.training and Overflowing.calls == 3 else output


@pytest.fixture(scope='module', autouse=True)
def registered():
    DATASET_REGISTRY.register(BrokenData)
    ARCH_REGISTRY.register(Overflowing)
    yield
    del DATASET_REGISTRY._obj_map['BrokenData'], ARCH_REGISTRY._obj_map['Overflowing']


@pytest.fixture
def stopped(tmp_path, monkeypatch, capsys, close_log):
    """Return ``stopped(opt) -> (message, snapshot)`` of a run that must end with exit code 2."""

    def run(opt):
        monkeypatch.chdir(tmp_path)
        Path('opt.yml').write_text(yaml.safe_dump(opt))
        assert main(['train', '-opt', 'opt.yml']) == 2
        (saved, ) = (tmp_path / 'experiments/tiny').glob('diverged_iter_*')
        return capsys.readouterr().err, torch.load(saved, weights_only=True)

    return run


def after_step(monkeypatch, step, change):
    """Call ``change(model)`` when iteration ``step`` is over."""
    original = HistoryMixin.optimize_parameters

    def optimize_parameters(self, current_iter):
        original(self, current_iter)
        if current_iter == step:
            with torch.no_grad():
                change(self)

    monkeypatch.setattr(HistoryMixin, 'optimize_parameters', optimize_parameters)


def finite(state):
    return all(value.isfinite().all() for value in state.values() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize('name', ['lq', 'gt'])
def test_data(name, options, stopped, monkeypatch):
    monkeypatch.setattr(BrokenData, 'broken', name)
    monkeypatch.setattr(BrokenData, 'count', 0)
    opt = options()
    opt['datasets']['train']['type'] = 'BrokenData'
    said, snapshot = stopped(opt)
    assert f'at iteration 3 (then l_spn). The first value that is not finite is in the data: {name}' in said or \
        f'at iteration 3. The first value that is not finite is in the data: {name}' in said
    assert '1 of ' in said and 'in sample 2 (p0' in said and 'of the batch of 2' in said
    assert not snapshot[name].isfinite().all() and finite(snapshot['params']), 'weights are those before the update'


def test_weights_of_the_network(options, stopped, monkeypatch):
    after_step(monkeypatch, 3, lambda model: model.net_g.conv_last.weight[0, 0, 0].fill_(NAN))
    said, snapshot = stopped(options())
    assert 'at iteration 4' in said and 'in the weights of net_g: conv_last.weight (3 of 216 values' in said
    assert finite(snapshot['history']['bank']), 'the history must stay clean'


def test_forward_pass_that_overflows(options, stopped, monkeypatch):
    monkeypatch.setattr(Overflowing, 'calls', 0)
    opt = options()
    opt['network_g']['type'] = 'Overflowing'
    said, snapshot = stopped(opt)
    assert 'at iteration 3' in said and 'in the output of net_g' in said
    assert 'its weights and its input are finite' in said
    assert finite(snapshot['params']) and not snapshot['output'].isfinite().all()


def test_weights_of_a_negative(options, stopped, monkeypatch):
    after_step(monkeypatch, 3, lambda model: model.contrast.term.bank.copies[1].conv_first.bias.fill_(NAN))
    said, _ = stopped(options(history_opt={'update_iter': [5, 7]}))
    assert 'l_spn is nan at iteration 4. The first value that is not finite is in the weights of negative 2' in said
    assert 'conv_first.bias (8 of 8 values' in said


def test_output_of_a_negative(options, stopped, monkeypatch):
    outputs = HistoryBank.outputs

    def broken(self, positions, /, *inputs, **kwargs):
        for k, image in zip(positions, outputs(self, positions, *inputs, **kwargs), strict=True):
            yield image * NAN if k == 1 and self.refreshed_at[0] > 0 else image

    monkeypatch.setattr(HistoryBank, 'outputs', broken)
    said, _ = stopped(options())
    assert 'l_spn is nan at iteration 3. The first value that is not finite is in the output of negative 2' in said


def test_weights_of_the_extractor(options, stopped, monkeypatch):
    after_step(monkeypatch, 2, lambda model: model.contrast.term.loss.extractor.features[2].weight[5].fill_(NAN))
    said, _ = stopped(options())
    assert 'l_spn is nan at iteration 3' in said
    assert 'in the weights of the feature extractor: features.2.weight' in said


def test_features_that_overflow(options, stopped, monkeypatch):
    """Finite weights, finite images, but their product is beyond float32."""
    after_step(monkeypatch, 2, lambda model: model.contrast.term.loss.extractor.features[2].weight.fill_(3e38))
    said, _ = stopped(options())
    assert 'at iteration 3' in said and 'in the features of the extractor: relu1_2 of the output' in said


@pytest.mark.parametrize('which', ['net_g', 'extractor'])
def test_weights_that_are_not_finite_are_refused_before_training(which, options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opt = options()
    if which == 'net_g':
        network = EDSR(3, 3, num_feat=8, num_block=1, upscale=2)
        network.conv_last.bias.data[1] = NAN
        torch.save({'params': network.state_dict()}, 'bad.pth')
        opt['path']['pretrain_network_g'] = 'bad.pth'
    else:
        state = {'features.0.weight': torch.rand(64, 3, 3, 3), 'features.0.bias': torch.full((64, ), NAN),
                 'features.2.weight': torch.rand(64, 64, 3, 3), 'features.2.bias': torch.rand(64)}
        torch.save(state, 'bad.pth')
        opt['train']['spn_opt']['vgg_weights'] = 'bad.pth'
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['train', '-opt', 'opt.yml']) == 2
    said = capsys.readouterr().err
    assert 'bad.pth' in said and {'net_g': 'path.pretrain_network_g', 'extractor': 'spn_opt.vgg_weights'}[which] in said
    assert 'conv_last.bias (1 of 3' in said if which == 'net_g' else 'features.0.bias (64 of 64' in said
    assert not list(Path('experiments/tiny').glob('diverged*'))
