"""Other histories in a real Runner: resumed bit for bit, weights that follow the learning rate, weighted losses."""
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mcir_plugin.config import ConfigError
from mcir_plugin.hosts.weighting import WeightError

COSINE = {'type': 'CosineAnnealingLR', 'T_max': 12, 'by_epoch': False}
STEPWISE = {'type': 'MultiStepLR', 'milestones': [2, 4], 'gamma': 0.5, 'by_epoch': False}
ALL = {'refresh': {'type': 'diversity', 'window': 2, 'max_iter': 5, 'threshold': 0.9}, 'num_negatives': 3,
       'weight_schedule': {'type': 'cosine'}, 'uncertainty': {'visualize_iter': 3}}
DEGRADED = {'degrade': 'mix', 'num_negatives': 3, 'update_iter': 3, 'weight_schedule': {'type': 'lr'},
            'uncertainty': {'strength': 1}}


@MODELS.register_module()
class WeightedL1(nn.Module):
    """After MMagic's losses: the weight has a name of its own among the arguments."""

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None, **kwargs) -> Tensor:
        loss = (pred - target).abs()
        return loss.mean() if weight is None else (loss * weight).sum() / weight.sum()


def weighted(config, **changes):
    return config(model={'pixel_loss': {'type': 'WeightedL1'}}, **changes)


@pytest.mark.parametrize('history', [ALL, DEGRADED], ids=['diversity-cosine', 'degrade-lr'])
def test_resumed_run_continues_bit_for_bit(config, train, history):
    changes = {'hook': {'history': history}, 'param_scheduler': [COSINE]}
    straight = train(weighted(config, iters=8, **changes))
    resumed = train(weighted(config, iters=8, resume=True, load_from=f'{straight.runner.work_dir}/iter_4.pth',
                             **changes))
    assert 'restored 3 history negatives at step 4' in resumed.text
    for name, value in straight.weights().items():
        assert torch.equal(value, resumed.weights()[name]), name
    banks = [run.hook.contrast.term.bank for run in (straight, resumed)]
    assert banks[0].refreshed_at == banks[1].refreshed_at
    assert banks[0].refresh.state_dict() == banks[1].refresh.state_dict()
    for name, value in banks[0].state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, banks[1].state_dict()[name]), name


def test_weight_follows_the_learning_rate(config, train):
    """The same network and data in every step but for training; the share of the weight is lr / lr_0."""
    hook = {'history': {'update_iter': [100], 'weight_schedule': 'lr'}}
    run = train(config(iters=5, hook=hook, param_scheduler=[STEPWISE]))
    for line in run.lines():
        ratio = line['lr'] / 1e-3
        assert line['loss_spn'] == pytest.approx(-0.05 * ratio * line['spn/dist_1'], rel=1e-4)
    assert sorted({line['lr'] for line in run.lines()}) == pytest.approx([2.5e-4, 5e-4, 1e-3])


@pytest.mark.parametrize(('schedule', 'message'), [
    ('lr', 'lr has no effect, since the learning rate does not change'),
    ({'type': 'constant', 'end_iter': 6}, 'training ends at 6, so it has no effect'),
])
def test_schedule_without_effect(config, train, schedule, message):
    with pytest.raises(ConfigError, match=message):
        train(config(iters=6, hook={'history': {'weight_schedule': schedule}}))


def test_term_is_silent_after_its_end(config, train):
    run = train(config(iters=5, hook={'history': {'update_iter': [1], 'weight_schedule': {'type': 'constant',
                                                                                          'end_iter': 3}}}))
    assert [line['loss_spn'] < 0 for line in run.lines()] == [True] * 3 + [False] * 2
    assert run.lines()[-1]['loss_spn'] == run.lines()[-1]['spn/ratio'] == 0
    assert run.hook.contrast.term.bank.refreshed_at == [3]


def test_loss_is_weighted_and_drawn(config, train):
    run = train(weighted(config, iters=6, hook={'history': {'update_iter': [2, 3], 'uncertainty': {
        'strength': 1, 'visualize_iter': 3}}}))
    pictures = sorted(Path(run.runner.log_dir).rglob('uncertainty_*.png'))
    assert [path.name for path in pictures] == ['uncertainty_3.png', 'uncertainty_6.png']
    assert cv2.imread(str(pictures[0])).shape[2] == 3
    contrast = run.hook.contrast
    weight = contrast.weight
    assert weight.shape == (2, 1, 32, 32) and weight.std() > 0.01
    torch.testing.assert_close(weight.mean((1, 2, 3)), torch.ones(2))
    expected = (weight * (contrast.pred - contrast.gt).abs()).mean()
    assert run.lines()[-1]['loss_pix'] == pytest.approx(expected.item(), rel=1e-5)


def test_loss_that_takes_no_weight(config, train):
    with pytest.raises(WeightError, match='HistoryNegativeHook.history.uncertainty weights the pixels of pixel_loss, '
                                          'but MeanL1 takes no weight'):
        train(config(hook={'history': {'uncertainty': {}}}))
