"""``spn_opt.extractor`` through BasicSR's loop: the discriminator of a GAN as it is in each step, and a frozen one."""
import random
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from model_cases import GAN, adam

from mcir_plugin.cli import main
from mcir_plugin.config import read_contrast
from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr.blame import blamed
from mcir_plugin.hosts.basicsr.extractor import require_extractor

CRITIC = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4}
LAYERS = {'conv1': 0.5, 'conv2': 0.5}


def with_extractor(opt, extractor, gan=True, kind='PCLLoss'):
    """Make a GAN of the tiny options, with a loss over other features than a VGG's."""
    opt['train']['spn_opt'] = {'type': kind, 'extractor': extractor, 'layer_weights': LAYERS}
    opt['train'].pop('history_opt')
    if gan:
        opt['model_type'] = 'SRGANModel'
        opt['network_d'] = dict(CRITIC)
        opt['train'].update(GAN, optim_d=adam(1e-3))
    return opt


def frozen(weights):
    return {'type': 'network', 'network': dict(CRITIC), 'weights': str(weights)}


def test_live_discriminator_is_followed_and_left_alone(options, train, monkeypatch):
    """The features of every step are those of net_d at that step; training without the term moves net_d alike."""
    from mcir_plugin.losses import PCLLoss
    seen, score = [], PCLLoss.score

    def watched(self, pred, *args, **kwargs):
        term, distances = score(self, pred, *args, **kwargs)
        network = self.extractor.network
        seen.append((network.conv0.weight.clone(), network.training))
        return term, distances

    monkeypatch.setattr(PCLLoss, 'score', watched)
    run = train(with_extractor(options(total_iter=3), 'live'))
    lines = run.lines()
    assert all(values['l_spn'] > 0 and 'l_d_real' in values for values in lines.values())
    assert 'extractor: net_d of the model, as it is in each step, layers conv1 0.5' in run.log
    assert 'MB of copies, 0.0 MB of extractor' in run.log
    weights = [weight for weight, _ in seen]
    assert len(weights) == 3 and all(training for _, training in seen)
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])
    saved = run.weights(label='net_d')
    assert not any('network' in key or 'hook' in key for key in saved)
    assert not torch.equal(saved['conv0.weight'], weights[2])  # one more step of the optimizer
    term_only = {name: values['l_spn'] for name, values in lines.items()}
    opt = with_extractor(options(total_iter=3), 'live')
    opt['name'] = 'again'
    assert {name: values['l_spn'] for name, values in train(opt).lines().items()} == term_only


@pytest.mark.parametrize('extractor', ['live', frozen('random:0')], ids=['live', 'frozen'])
def test_looking_for_the_extractor_draws_nothing(extractor, options):
    """With one seed a run starts from the same weights, whatever its loss."""
    opt = with_extractor(options(), extractor)
    before = torch.get_rng_state(), random.getstate()
    require_extractor(read_contrast(opt).spn, opt)
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]


def test_another_fault_is_not_blamed_on_the_extractor(options):
    opt = with_extractor(options(), 'live')
    with pytest.raises(McirError, match='model_type SRGANModel.*no such thing'), blamed(opt):
        raise RuntimeError('no such thing')


def test_frozen_discriminator_comes_from_the_file_of_a_run(options, train, tmp_path):
    trained = train(with_extractor(options(total_iter=2), 'live'))
    path = tmp_path / 'critic.pth'
    shutil.copy(trained.folder / 'models' / 'net_d_latest.pth', path)
    opt = with_extractor(options(total_iter=2), frozen(path), gan=False)
    opt['name'] = 'frozen'
    run = train(opt)
    assert f'extractor: UNetDiscriminatorSN, weights {path}, layers conv1 0.5, conv2 0.5' in run.log
    drawn = with_extractor(options(total_iter=2), frozen('random:0'), gan=False)
    drawn['name'] = 'drawn'
    other = train(drawn)
    first, second = (r.lines()[1] for r in (run, other))
    assert first['l_pix'] == second['l_pix'] and first['l_spn'] != second['l_spn']  # no random number was taken away


@pytest.mark.parametrize(('change', 'says'), [
    ({'extractor': 'live'}, "received 'net_d', but the option file has no network_d"),
    ({'extractor': {'type': 'live', 'name': 'net_g'}}, 'net_g is the network that the term trains'),
    ({'extractor': {'type': 'live', 'name': 'net_x'}}, "received 'net_x', but the option file has no network_x"),
    ({'extractor': frozen('missing.pth')}, "extractor.weights: there is no file 'missing.pth'"),
    ({'extractor': {**frozen('random:0'), 'network': {**CRITIC, 'type': 'UNetDiscriminator'}}},
     "extractor.network.type: received 'UNetDiscriminator', but nothing of this name is registered"),
    ({'extractor': {**frozen('random:0'), 'network': {**CRITIC, 'num_fea': 4}}}, 'did you mean num_feat?'),
    ({'extractor': {**frozen('random:0'), 'network': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4,
                                                      'input_size': 64}}}, 'cannot be built'),
    ({'extractor': frozen('random:0'), 'layer_weights': {'convv1': 1}}, "has no layer 'convv1' (did you mean conv1?)"),
    ({'extractor': frozen('other.pth')}, 'other.pth does not fit UNetDiscriminatorSN: '),
])
@pytest.mark.parametrize('command', ['train', 'check'])
def test_what_cannot_be_an_extractor_is_said_before_data_are_loaded(command, change, says, options, tmp_path,
                                                                  monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({'params': {'conv0.weight': torch.zeros(2)}}, 'other.pth')
    opt = with_extractor(options(), None, gan=False)
    opt['train']['spn_opt'].update(change)
    if command == 'train':
        opt['datasets']['train']['dataroot_gt'] = 'nowhere'
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main([command, '-opt', 'opt.yml']) != 0
    captured = capsys.readouterr()
    text = ' '.join((captured.out + captured.err).split())
    assert says in text and 'Traceback' not in text, text
    assert command == 'check' or 'nowhere' not in text


def test_check_trains_steps_with_a_live_extractor(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('opt.yml').write_text(yaml.safe_dump(with_extractor(options(), 'live')))
    status = main(['check', '-opt', 'opt.yml'])
    text = capsys.readouterr().out
    assert status == 0, text
    assert 'net_d of the model, as it is in each step' in text and 'l_spn' in text
