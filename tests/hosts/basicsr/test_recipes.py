"""Gradient clipping, the plain cosine and the losses of recipes, in BasicSR's own loop."""
from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.models.base_model import BaseModel
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR
from basicsr.utils import set_random_seed

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr.schedulers import CosineLR

GAN = {'model_type': 'SRGANModel', 'network_d': {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4}}
GAN_TRAIN = {'optim_g': {'type': 'SGD', 'lr': 1.}, 'optim_d': {'type': 'SGD', 'lr': 1.}, 'ema_decay': 0,
             'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'real_label_val': 1.0, 'fake_label_val': 0.0,
                         'loss_weight': 1.0}, 'net_d_iters': 1, 'net_d_init_iters': 0, 'total_iter': 1}


def model_with(scheduler=None, lrs=(1e-3, 3e-4)):
    """A BasicSR model with one optimizer of several groups, and its scheduler."""
    model = BaseModel({'num_gpu': 0, 'is_train': True, 'train': {'scheduler': scheduler}})
    groups = [{'params': [torch.zeros(1, requires_grad=True)], 'lr': lr} for lr in lrs]
    model.optimizers.append(torch.optim.SGD(groups, lr=1))
    if scheduler:
        model.setup_schedulers()
    return model


def course(model, iterations, warmup=-1, first=1):
    """The learning rates of every group that the training loop would use."""
    rates = []
    for iteration in range(first, first + iterations):
        model.update_learning_rate(iteration, warmup_iter=warmup)
        rates.append([group['lr'] for group in model.optimizers[0].param_groups])
        model.optimizers[0].step()
    return torch.tensor(rates, dtype=torch.float64)


@pytest.mark.parametrize('name', ['CosineAnnealingLR', 'TrueCosineAnnealingLR'])
@pytest.mark.parametrize(('T_max', 'iterations'), [(10, 10), (10, 51), (7, 40), (1, 6)])
def test_cosine_equals_that_of_torch_also_beyond_its_period(name, T_max, iterations):
    torchs = model_with()
    torchs.schedulers = [torch.optim.lr_scheduler.CosineAnnealingLR(torchs.optimizers[0], T_max, eta_min=1e-8)]
    own = model_with({'type': name, 'T_max': T_max, 'eta_min': 1e-8})
    torch.testing.assert_close(course(own, iterations), course(torchs, iterations), rtol=1e-9, atol=1e-16)


def test_cosine_equals_one_period_of_the_host():
    host = model_with()
    host.schedulers = [CosineAnnealingRestartLR(host.optimizers[0], periods=[20], restart_weights=[1], eta_min=1e-6)]
    own = model_with({'type': 'CosineAnnealingLR', 'T_max': 20, 'eta_min': 1e-6})
    torch.testing.assert_close(course(own, 20), course(host, 20), rtol=1e-12, atol=0)


def test_cosine_after_a_warm_up_is_where_it_would_be_without():
    block = {'type': 'CosineAnnealingLR', 'T_max': 20}
    plain, warm = course(model_with(dict(block)), 30), course(model_with(dict(block)), 30, warmup=6)
    assert torch.equal(plain[5:], warm[5:])
    torch.testing.assert_close(warm[:5, 0], torch.arange(1, 6, dtype=torch.float64) / 6 * 1e-3)


def test_cosine_per_epoch():
    """DehazeFormer: T_max epochs from lr to lr / 100, constant within an epoch, one epoch more at the lowest rate."""
    epochs, per_epoch, lr = 5, 4, 2e-4
    rates = course(model_with({'type': 'CosineAnnealingLR', 'T_max': epochs, 'eta_min': lr / 100,
                               'interval': per_epoch}, [lr]), per_epoch * (epochs + 1))
    expected = [lr / 100 + 0.99 * lr * math.cos(math.pi * epoch / epochs / 2)**2 for epoch in range(epochs + 1)]
    torch.testing.assert_close(rates[:, 0].view(-1, per_epoch),
                               torch.tensor(expected).double()[:, None].expand(-1, per_epoch), rtol=1e-6, atol=1e-12)


def test_cosine_continues_from_its_state():
    block = {'type': 'CosineAnnealingLR', 'T_max': 9, 'interval': 2}
    straight, first, second = (model_with(dict(block)) for _ in range(3))
    expected = course(straight, 25)
    course(first, 11)
    second.resume_training({'optimizers': [o.state_dict() for o in first.optimizers],
                            'schedulers': [s.state_dict() for s in first.schedulers]})
    assert isinstance(second.schedulers[0], CosineLR)
    assert torch.equal(course(second, 14, first=12), expected[11:])


def initial_parameters(run, label):
    """The parameters, without buffers, that training started from: the seed is set, then net_g is built, then net_d."""
    opt = yaml.safe_load((run.folder / 'opt.yml').read_text())
    set_random_seed(opt['manual_seed'])
    networks = {f'net_{end}': build_network(opt[f'network_{end}']) for end in 'gd' if f'network_{end}' in opt}
    return {name: value.detach() for name, value in networks[label].named_parameters()}


def change(run, label='net_g'):
    """The norm of the change of all parameters of a network in the first iteration."""
    before, after = initial_parameters(run, label), run.weights(1, label)
    return math.sqrt(sum((after[name] - value).square().sum() for name, value in before.items()))


def sgd(options, **train):
    """One step of SGD with learning rate 1: the change of the parameters is the gradient."""
    opt = options(spn=False, optim_g={'type': 'SGD', 'lr': 1.}, ema_decay=0, total_iter=1, **train)
    opt['logger']['save_checkpoint_freq'] = 1
    return opt


def test_gradient_is_clipped_and_its_norm_logged(options, train):
    free = train({**sgd(options), 'name': 'free'})
    norm = change(free)
    for bound in (norm / 7, norm * 7):
        run = train({**sgd(options, grad_clip={'max_norm': bound}), 'name': 'clipped'})
        assert change(run) == pytest.approx(min(bound, norm), rel=1e-3)
        assert run.lines()[1]['grad_norm'] == pytest.approx(norm, rel=1e-3)
        assert 'Gradients of net_g are clipped' in run.log
    assert 'grad_norm' not in free.lines()[1] and norm > 0


def test_order_of_the_norm(options, train):
    runs = [train({**sgd(options, grad_clip={'max_norm': 1e-3, 'norm_type': order}), 'name': f'n{order:g}'})
            for order in (1., 2.)]
    assert runs[0].lines()[1]['grad_norm'] > 2 * runs[1].lines()[1]['grad_norm']


@pytest.mark.parametrize(('networks', 'clipped'), [
    ({}, ['net_g']), ({'networks': ['net_g', 'net_d']}, ['net_g', 'net_d']), ({'networks': 'net_d'}, ['net_d']),
])
def test_networks_of_an_adversarial_model(options, train, networks, clipped):
    opt = {**options(spn=False, **GAN_TRAIN, grad_clip={'max_norm': 1e-4, **networks}), **GAN}
    opt['logger']['save_checkpoint_freq'] = 1
    run = train(opt)
    for network, label in (('net_g', 'grad_norm'), ('net_d', 'grad_norm_d')):
        assert (label in run.lines()[1]) == (network in clipped)
        assert (change(run, network) <= 1.01e-4) == (network in clipped)


def test_clipping_and_cosine_survive_a_resume(options, train):
    """Together with the history, whose mixin stands beside that of the clipping."""
    recipe = {'grad_clip': {'max_norm': 0.01}, 'optim_g': {'type': 'AdamW', 'lr': 1e-3, 'betas': [0.9, 0.9]},
              'scheduler': {'type': 'TrueCosineAnnealingLR', 'T_max': 3, 'eta_min': 1e-7}}
    opt = options(**recipe, total_iter=8)
    straight = train({**opt, 'name': 'straight'})
    assert 'rises again' in straight.log and straight.lines()[1]['grad_norm'] > 0.01
    train({**options(**recipe, total_iter=4), 'name': 'parts'})
    resumed = train({**opt, 'name': 'parts'}, '--auto_resume')
    assert resumed.lines() == {i: values for i, values in straight.lines().items() if i > 4}
    rates = [re.findall(r'lr:\(([\d.e+-]+)', run.log) for run in (straight, resumed)]
    assert rates[0][4:] == rates[1] and len(set(rates[0])) == 4  # down in three steps, up again, down
    assert all(torch.equal(value, straight.weights(8)[name]) for name, value in resumed.weights(8).items())


@pytest.mark.parametrize('loss', [{'type': 'PSNRLoss', 'loss_weight': 1.0, 'reduction': 'mean'},
                                  {'type': 'SSIMLoss', 'l1_weight': 0.1}])
def test_losses_by_name(options, train, loss):
    run = train(options(pixel_opt=loss, total_iter=2))
    assert run.lines()[2]['l_pix'] < 0 and run.lines()[2]['l_spn'] < 0


@pytest.mark.parametrize(('change', 'said'), [
    ({'grad_clip': {'max_nrom': 0.01}}, ['train.grad_clip.max_nrom', 'did you mean max_norm?']),
    ({'grad_clip': {}}, ['train.grad_clip.max_norm', 'must give it']),
    ({'grad_clip': 0.01}, ['train.grad_clip', '0.01', 'mapping']),
    ({'grad_clip': {'max_norm': 0}}, ['train.grad_clip.max_norm: received 0', '> 0']),
    ({'grad_clip': {'max_norm': 1, 'networks': ['net_q']}}, ['train.grad_clip.networks', "'net_q'", 'net_g']),
    ({'scheduler': {'type': 'TrueCosineAnnealingLR', 'T_mx': 5}}, ['train.scheduler.T_mx', 'did you mean T_max?']),
    ({'scheduler': {'type': 'CosineAnnealingLR'}}, ['train.scheduler.T_max', 'must give it']),
    ({'scheduler': {'type': 'CosineAnnealingLR', 'T_max': 5, 'periods': [5]}}, ['train.scheduler.periods']),
    ({'scheduler': {'type': 'CosineAnnealing'}}, ['train.scheduler.type', "'CosineAnnealing'", 'CosineAnnealingLR']),
])
def test_wrong_blocks_are_named(options, tmp_path, monkeypatch, capsys, change, said):
    monkeypatch.chdir(tmp_path)
    Path('opt.yml').write_text(yaml.safe_dump(options(spn=False, **change)))
    assert main(['train', '-opt', 'opt.yml']) == 2
    error = capsys.readouterr().err
    assert all(text in error for text in said), error


def test_check_takes_recipes(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opt = options(spn=False, grad_clip={'max_norm': 0.01}, pixel_opt={'type': 'PSNRLoss'},
                  scheduler={'type': 'CosineAnnealingLR', 'T_max': 8})
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['check', '-opt', 'opt.yml']) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    assert '(0 warnings)' in said and 'CosineAnnealingLR (T_max 8)' in said
    opt['train']['grad_clip']['networks'] = ['net_d']
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['check', '-opt', 'opt.yml']) == 2
    assert 'train.grad_clip.networks' in capsys.readouterr().out
