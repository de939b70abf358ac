"""Other histories in real runs: resumed bit for bit, weights over time, weighted criteria and their pictures."""
import copy
import re
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from test_resume import assert_same_run, in_two_parts
from torch.nn import functional

from mcir_plugin.cli import main
from mcir_plugin.config import HistoryOptions, parse_block
from mcir_plugin.hosts.basicsr.resume import KEY
from mcir_plugin.hosts.term import build_schedule

DEGRADED = {'degrade': 'mix', 'num_negatives': 3, 'update_iter': 3, 'uncertainty': {},
            'weight_schedule': {'type': 'linear', 'end_iter': 13, 'end_factor': 0.1}}
QUEUE = {'refresh': {'type': 'diversity', 'window': 2, 'max_iter': 5, 'threshold': 0.9}, 'num_negatives': 3,
         'negatives_per_iter': 2, 'uncertainty': {'strength': 1}, 'weight_schedule': {'type': 'cosine', 'end_iter': 12}}
STAGED = {'preset': 'dckd', 'refresh': {'type': 'staged', 'intervals': [2, 3], 'stage_iter': 5}, 'warmup_iter': 3,
          'weight_schedule': 'lr'}


@pytest.mark.parametrize('history', [DEGRADED, QUEUE, STAGED], ids=['degrade-linear', 'diversity-cosine', 'staged-lr'])
@pytest.mark.parametrize('first', [4, 6], ids=['epoch-end', 'inside-epoch'])
def test_resume(options, train, history, first):
    resumed, straight = in_two_parts(train, options(history_opt=history), first, 11)
    assert_same_run(resumed, straight, last=11, first=first)
    extra = [run.state(11)[KEY]['bank']['_extra_state'] for run in (resumed, straight)]
    assert extra[0]['rule_state'] == extra[1]['rule_state']
    assert (extra[0]['degrade'] is None) == (history is QUEUE)
    assert history is QUEUE or torch.equal(extra[0]['degrade'], extra[1]['degrade'])


def test_one_past_network_in_the_state_and_in_the_log(options, train):
    run = train(options(history_opt={'preset': 'dckd'}, total_iter=4))
    bank = run.state(4)[KEY]['bank']
    assert {name.split('.')[1] for name in bank if name.startswith('copies.')} == {'0'}
    assert '1 past copies of EDSR on 5 inputs, 4 of them degraded by noise' in run.log.replace('\n\t', ' ')
    assert {name for name in run.lines()[4] if name.startswith('spn/')} == {
        'spn/ratio', 'spn/grad_ratio', 'spn/age_1', *(f'spn/dist_{k}' for k in range(1, 6))}


def share(values):
    """The weight over its full value, from what was logged: one negative, loss_weight 1e-3."""
    return -values['l_spn'] / (1e-3 * values['spn/dist_1'])


def test_weight_follows_the_learning_rate(options, train):
    opt = options(history_opt={'update_iter': [100], 'weight_schedule': 'lr'}, total_iter=6)
    opt['train']['scheduler']['milestones'] = [2, 4]
    run = train(opt)
    rates = [float(rate) / 1e-3 for rate in re.findall(r'lr:\((.*?),\)', run.log)]  # as BasicSR prints them
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert [share(values) for values in run.lines().values()] == pytest.approx(rates, rel=2e-3)


def test_weight_decays_to_the_end_of_training(options, train):
    schedule = {'type': 'linear', 'end_factor': 0.5}
    run = train(options(history_opt={'update_iter': [100], 'weight_schedule': schedule}, total_iter=4))
    assert [share(values) for values in run.lines().values()] == pytest.approx([0.875, 0.75, 0.625, 0.5], rel=2e-3)


def test_term_is_silent_after_its_end(options, train):
    run = train(options(history_opt={'update_iter': [1], 'weight_schedule': {'type': 'constant', 'end_iter': 3}}))
    lines = run.lines()
    assert [lines[i]['l_spn'] < 0 for i in range(1, 9)] == [True] * 3 + [False] * 5
    assert lines[8]['l_spn'] == lines[8]['spn/ratio'] == 0 and 'spn/dist_1' not in lines[8]
    assert lines[8]['spn/age_1'] == 5  # and it is refreshed no more
    assert 'weight constant until 3' in run.log


@pytest.mark.parametrize(('history', 'message'), [
    ({'weight_schedule': {'type': 'lr', 'end_iter': 8}}, 'training ends at 8, so it has no effect'),
    ({'weight_schedule': 'cosine', 'warmup_iter': 8}, 'which leaves nothing'),
    ({'uncertainty': {}, 'negatives_per_iter': 1}, 'only one takes part'),
])
def test_options_without_effect_stop_the_command(options, tmp_path, monkeypatch, capsys, history, message):
    monkeypatch.chdir(tmp_path)
    Path('opt.yml').write_text(yaml.safe_dump(options(history_opt={'update_iter': [2, 3], **history})))
    assert main(['train', '-opt', 'opt.yml']) == 2
    assert message in capsys.readouterr().err and not Path('experiments').exists()


def test_criterion_that_takes_no_weight_stops_the_command(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opt = options(history_opt={'update_iter': [2, 3], 'uncertainty': {}}, pixel_opt={'type': 'PSNRLoss'})
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['train', '-opt', 'opt.yml']) == 2
    said = capsys.readouterr().err
    assert 'train.history_opt.uncertainty weights the pixels of cri_pix, but PSNRLoss takes no weight' in said


def build(options, criterion, uncertainty):
    """Return a model as BasicSR builds it, with three past copies, and a batch."""
    from basicsr.models import build_model
    opt = options(pixel_opt={'type': criterion, 'loss_weight': 2.0}, optim_g={'type': 'SGD', 'lr': 1e-2}, history_opt={
        'update_iter': [1, 2, 3], 'init_noise': 0.5, 'uncertainty': uncertainty})
    opt['train']['spn_opt']['loss_weight'] = 0.05
    opt.update(dist=False, rank=0, world_size=1, is_train=True)
    opt['path'].update(experiments_root='.', visualization='visualization')
    model = build_model(opt)
    torch.manual_seed(0)
    model.feed_data({'lq': torch.rand(2, 3, 12, 12), 'gt': torch.rand(2, 3, 24, 24)})
    return model


@pytest.mark.parametrize('criterion', ['L1Loss', 'MSELoss', 'CharbonnierLoss'])
def test_total_and_gradients_of_a_weighted_step(options, criterion):
    """Outputs of all past copies stacked, their standard deviation, a weighted mean by hand: same gradients."""
    model = build(options, criterion, {'strength': 0.7})
    term, network = model.contrast.term, copy.deepcopy(model.net_g)
    with torch.no_grad():
        stack = torch.stack([past(model.lq) for past in term.bank.copies])
    spread = stack.double().var(0, correction=0).mean(1, keepdim=True).sqrt()
    relative = spread / spread.mean((1, 2, 3), keepdim=True)
    assert relative.max() < 10  # the limit does not act here
    weight = 1 + 0.7 * (relative - 1)
    output = network(model.lq)
    error = {'L1Loss': functional.l1_loss, 'MSELoss': functional.mse_loss, 'CharbonnierLoss': functional.l1_loss}
    pixel = 2.0 * (weight * error[criterion](output, model.gt, reduction='none')).mean()
    ours = [(a - b).abs().mean() for a, b in zip(term.loss.extractor(output) * 3, [
        feature for image in stack for feature in term.loss.extractor(image)], strict=True)]
    (pixel - 0.05 * sum(ours) / 3).backward()
    model.optimize_parameters(1)
    torch.testing.assert_close(model.contrast.weight.double(), weight, rtol=1e-4, atol=1e-5)
    assert model.log_dict['l_pix'] == pytest.approx(pixel.item(), rel=1e-5)
    for mine, naive in zip(model.net_g.parameters(), network.parameters(), strict=True):
        scale = naive.grad.abs().max()
        assert (mine.grad - naive.grad).abs().max() < 1e-4 * scale


def test_equal_negatives_train_as_the_plain_criterion_does(options):
    runs = []
    for uncertainty in (None, {'strength': 1}):
        model = build(options, 'L1Loss', uncertainty)
        for past in model.contrast.term.bank.copies:
            past.load_state_dict(model.net_g.state_dict())
        model.optimize_parameters(1)
        runs.append((model.log_dict['l_pix'], list(model.net_g.parameters())))
    assert runs[0][0] == pytest.approx(runs[1][0], rel=1e-6)
    for plain, weighted in zip(runs[0][1], runs[1][1], strict=True):
        torch.testing.assert_close(plain, weighted, rtol=1e-6, atol=1e-8)


def test_plain_criterion_where_the_term_rests(options):
    model = build(options, 'L1Loss', {'strength': 1})
    object.__setattr__(model.contrast.term.schedule, 'start_iter', 1)
    model.optimize_parameters(1)
    expected = 2.0 * functional.l1_loss(model.output, model.gt)
    assert model.contrast.weight is None and model.log_dict['l_pix'] == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(('visualize', 'interval', 'expected'), [(3, 1, [3, 6]), (None, 1, [4, 8]), (3, 2, [4, 6])])
def test_pictures_of_the_weight(options, train, visualize, interval, expected):
    opt = options(history_opt={'update_iter': [2, 3], 'interval': interval,
                               'uncertainty': {'visualize_iter': visualize}})
    data = opt['datasets']['train']
    opt['datasets']['val'] = {'name': 'Val', 'type': data['type'], 'io_backend': {'type': 'disk'},
                              **{key: data[key].removesuffix('.lmdb') for key in ('dataroot_gt', 'dataroot_lq')}}
    opt['val'] = {'val_freq': 4, 'save_img': False, 'metrics': {}}
    run = train(opt)
    files = sorted((run.folder / 'visualization' / 'uncertainty').iterdir())
    assert [path.name for path in files] == [f'uncertainty_{step}.png' for step in expected]
    image = cv2.imread(str(files[0]))
    assert image.shape[2] == 3 and image.std() > 10
    assert 'is weighted by the spread of the negatives' in run.log


def test_only_rank_0_draws(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for rank, drawn in ((1, False), (0, True)):
        model = build(options, 'L1Loss', {'visualize_iter': 1})
        model.opt['rank'] = rank
        model.optimize_parameters(1)
        assert Path('visualization/uncertainty/uncertainty_1.png').exists() is drawn


@pytest.mark.parametrize(('pixel', 'status', 'words'), [
    ('L1Loss', 0, ('1 past copies of EDSR on 5 inputs, 4 of them degraded by noise', 'weight cosine until 8',
                   'L1Loss is weighted by the spread of the negatives, strength 0.5')),
    ('PSNRLoss', 2, ('uncertainty weights the pixels of cri_pix, but PSNRLoss takes no weight', )),
])
def test_check_tells_the_plan_or_what_is_wrong(options, tmp_path, monkeypatch, capsys, pixel, status, words):
    monkeypatch.chdir(tmp_path)
    opt = options(history_opt={'preset': 'dckd', 'uncertainty': {}, 'weight_schedule': 'cosine'},
                  pixel_opt={'type': pixel})
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['check', '-opt', 'opt.yml']) == status
    printed = capsys.readouterr()
    assert all(word in printed.out + printed.err for word in words)


@pytest.mark.parametrize(('schedule', 'interval', 'start', 'total'), [
    ({'type': 'constant', 'end_iter': 30}, 4, 6, 100), ({'type': 'linear', 'end_iter': 50}, 1, 0, 40),
    ({'type': 'lr', 'end_iter': None}, 3, 5, 40)])
def test_iterations_with_the_term_in_the_estimate(schedule, interval, start, total):
    from mcir_plugin.hosts.basicsr.check.estimate import acting_iterations
    history = parse_block(HistoryOptions, {'weight_schedule': schedule, 'interval': interval, 'start_iter': start}, 'x')
    acts = build_schedule(history)
    assert acting_iterations(history, total) == sum(acts.factor(step, 1.0) > 0 for step in range(1, total + 1))
