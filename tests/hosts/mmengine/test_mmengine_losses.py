"""Other losses of the table in a real Runner: by name, without a history where they read none, resumed."""
import pytest
import torch
from mmengine.registry import MODELS

from mcir_plugin.config import ConfigError
from mcir_plugin.hosts.mmengine import HistoryNegativeHook
from mcir_plugin.losses import LOSSES

TINY = {'vgg_weights': 'random:0', 'layer_weights': {'relu1_2': 1.0}}


def hook(kind, **options):
    """Arguments of a hook with this loss; a history only if it reads one."""
    history = {'crop_size': 16} if kind in ('CRLoss', 'PCLLoss') else {'update_iter': [2, 3]}
    return {'spn': {'type': kind, **TINY, **options}, 'history': history}


@pytest.mark.parametrize('kind', LOSSES)
def test_every_loss_of_the_table_is_built_by_name(kind):
    loss = MODELS.build({'type': f'mcir.{kind}', **TINY})
    assert type(loss) is LOSSES[kind]


def test_losses_of_recipes_are_built_by_name_and_carry_the_term(config, train):
    pred, gt = torch.rand(2, 1, 3, 16, 16)
    built = {kind: MODELS.build({'type': f'mcir.{kind}'}) for kind in ('PSNRLoss', 'SSIMLoss')}
    decibels = 10 * (pred - gt).square().mean().log10().item()
    assert built['PSNRLoss'](pred, gt).item() == pytest.approx(decibels, abs=1e-4)
    assert built['SSIMLoss'](gt, gt) < built['SSIMLoss'](pred, gt)
    run = train(config(iters=2, hook=hook('SPNLoss'), model={'pixel_loss': {'type': 'mcir.PSNRLoss'}}))
    for line in run.lines():
        assert line['loss_pix'] < 0 and line['loss'] == pytest.approx(line['loss_pix'] + line['loss_spn'], rel=1e-4)


@pytest.mark.parametrize(('kind', 'options', 'negatives', 'said'), [
    ('CRLoss', {}, 1, '+ 0.1 * distance to ground truth / distance to the input, layer by layer; no history'),
    ('PCLLoss', {'form': 'ratio'}, 3, '; no history'),
    ('CCRLoss', {}, 2, '(weight 6), layer by layer; 2 past copies of generator (TinySR)'),
    ('SPNLoss', {'form': 'infonce'}, 2, '+ 0.001 * InfoNCE of ground truth among the negatives (tau 2); 2 past')])
def test_runs_log_and_resume(kind, options, negatives, said, config, train, tmp_path):
    straight = train(config(iters=6, hook=hook(kind, **options)))
    assert said in straight.text
    history = kind in ('CCRLoss', 'SPNLoss')
    for line in straight.lines():
        assert line['loss_spn'] > 0 and line['loss'] == pytest.approx(line['loss_pix'] + line['loss_spn'], rel=1e-4)
        assert sum(name.startswith('spn/dist_') for name in line) == negatives
        assert any(name.startswith('spn/age_') for name in line) == history
    parts = {'hook': hook(kind, **options), 'work_dir': str(tmp_path / 'parts')}
    train(config(iters=4, **parts))
    resumed = train(config(iters=6, resume=True, **parts))
    assert ('restored 2 history negatives' in resumed.text) == history
    for name, value in straight.weights().items():
        assert torch.equal(value, resumed.weights()[name])


def test_resuming_with_another_loss(config, train, tmp_path):
    folder = str(tmp_path / 'parts')
    train(config(iters=2, hook=hook('CCRLoss'), work_dir=folder))
    run = train(config(iters=4, hook=hook('CRLoss'), work_dir=folder, resume=True))
    assert 'the checkpoint holds history negatives, which CRLoss does not read' in run.text
    run = train(config(iters=6, hook=hook('CCRLoss'), work_dir=folder, resume=True))
    assert 'the history starts anew at step 4' in run.text and run.hook.steps.count == 6


def test_options_are_checked_for_the_chosen_loss():
    with pytest.raises(ConfigError, match=r'HistoryNegativeHook\.spn\.gama: received 1, but there is no such option'):
        HistoryNegativeHook(spn={'type': 'mcir.CRLoss', 'gama': 1})
    with pytest.raises(ConfigError, match=r'HistoryNegativeHook\.history\.momentum: has no effect with CRLoss'):
        HistoryNegativeHook(spn={'type': LOSSES['CRLoss']}, history={'momentum': 0.9})
    assert HistoryNegativeHook(spn={'type': 'CCRLoss'}, history={'momentum': 0.9}).config.history.decay == (0.1, ) * 4
