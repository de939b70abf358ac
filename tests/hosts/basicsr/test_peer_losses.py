"""Every loss and form through BasicSR's loop: log, plan, resuming, ``basicsr check``; the comparison files."""
import re
from pathlib import Path

import pytest
import torch
import yaml

from mcir_plugin.cli import main
from mcir_plugin.hosts.guard import RatioWatch
from mcir_plugin.losses import LOSSES as LOSSES_BY_NAME

COMPARISON = Path(__file__).parents[3] / 'options' / 'comparison'
TINY = {'vgg_weights': 'random:0', 'layer_weights': {'relu1_2': 1.0}}
LOSSES = {
    'CRLoss': {'type': 'CRLoss'},
    'CCRLoss': {'type': 'CCRLoss'},
    'PCLLoss': {'type': 'PCLLoss'},
    'PCL ratio of details': {'type': 'PCLLoss', 'form': 'ratio', 'domain': 'frequency', 'criterion': 'l1'},
    'SPN ratio': {'form': 'ratio'},
    'SPN hinge': {'form': 'hinge', 'margin': 10.0, 'margin_decay_iter': 5},
    'SPN infonce': {'form': 'infonce'},
    'SPN gated': {'gate': 'ground_truth'},
}
PLANS = {
    'CRLoss': '+ 0.1 * distance to ground truth / distance to the input',
    'CCRLoss': '+ 0.2 * distance to ground truth / distance to the negatives (weights 1 +- 0.25 by PSNR) and the input',
    'PCLLoss': '+ 0.02 * InfoNCE of 4 sharpened among 3 degraded versions of ground truth (tau 1)',
    'PCL ratio of details': '/ to 3 degraded versions of ground truth, of details by wavelet',
    'SPN ratio': '+ 0.001 * distance to ground truth / mean distance to the negatives',
    'SPN hinge': '+ 0.001 * mean of max(10 - distance to a negative, 0), the margin falls to 0 over 5 iterations',
    'SPN infonce': '+ 0.001 * InfoNCE of ground truth among the negatives (tau 2)',
    'SPN gated': '- 0.001 * mean distance to the negatives, where the output is worse than the negative',
}
PASSES = {'CRLoss': (0, 2), 'CCRLoss': (2, 4), 'PCLLoss': (0, 7), 'PCL ratio of details': (0, 7), 'SPN ratio': (2, 3),
          'SPN hinge': (2, 2), 'SPN infonce': (2, 3), 'SPN gated': (2, 2)}


def with_loss(opt, name, **history):
    """Replace the loss; a loss without a history gets no options of one."""
    opt['train']['spn_opt'] = {**TINY, **LOSSES[name]}
    uses_history = PASSES[name][0] > 0
    opt['train']['history_opt'] = {**({'update_iter': [2, 3]} if uses_history else {}), **history}
    return opt


@pytest.mark.parametrize('name', LOSSES)
def test_log_and_plan(name, options, train):
    run = train(with_loss(options(total_iter=6), name))
    lines = run.lines()
    assert sorted(lines) == list(range(1, 7))
    for step, values in lines.items():
        assert values['l_pix'] > 0
        assert (values['l_spn'] < 0) == (name == 'SPN gated')
        assert (values['l_spn'] == 0) == (name == 'SPN hinge' and step >= 5)  # the margin has fallen to 0
        assert values['spn/ratio'] == pytest.approx(abs(values['l_spn']) / values['l_pix'], rel=1e-3)
        negatives = {'CRLoss': 1, 'PCLLoss': 3, 'PCL ratio of details': 3, 'SPN hinge': 2 * (step < 5)}.get(name, 2)
        assert sum(key.startswith('spn/dist_') for key in values) == negatives
        assert sum(key.startswith('spn/age_') for key in values) == PASSES[name][0]
    copies, images = PASSES[name]
    assert re.search(rf'joins: cri_pix \(L1Loss\); total = L1Loss .*{re.escape(PLANS[name])}', run.log)
    assert f'{copies} forwards of the network and {images} of the extractor' in run.log
    assert ('2 past copies of EDSR' if copies else f'history: none, {LOSSES[name].get("type")} compares') in run.log


def test_forms_follow_from_logged_distances(options, train):
    """l_spn of difference and hinge are functions of spn/dist_k."""
    for step, values in train(with_loss(options(total_iter=4), 'SPN hinge')).lines().items():
        each = [max(10 * (1 - step / 5) - values[f'spn/dist_{k}'], 0) for k in (1, 2)]
        assert values['l_spn'] == pytest.approx(1e-3 * sum(each) / 2, rel=2e-3)


@pytest.mark.parametrize('name', ['CRLoss', 'CCRLoss', 'PCLLoss', 'SPN hinge'])
def test_resumed_run_continues_bit_for_bit(name, options, train):
    history = {'crop_size': 16}  # so that the generator of the window has to be restored
    whole = train(with_loss(options(), name, **history))
    opt = with_loss(options(total_iter=4), name, **history)
    opt['name'] = 'halves'
    train(opt)
    opt['train']['total_iter'] = 8
    resumed = train(opt, '--auto_resume')
    assert ('Restored 2 history negatives' in resumed.log) == (PASSES[name][0] > 0)
    assert 'starts anew' not in resumed.log
    for key, value in whole.weights().items():
        assert torch.equal(value, resumed.weights()[key])
    assert whole.lines()[8] == resumed.lines()[8]


@pytest.mark.parametrize(('first', 'second', 'said'), [
    ('CRLoss', 'CCRLoss', 'the history starts anew at iteration 4'),
    ('CCRLoss', 'CRLoss', 'history negatives, which CRLoss does not read'),
    (None, 'CCRLoss', 'the history starts anew at iteration 4'), (None, 'CRLoss', None)])
def test_resuming_with_another_loss(first, second, said, options, train):
    opt = options(total_iter=4, spn=False) if first is None else with_loss(options(total_iter=4), first)
    train(opt)
    run = train(with_loss(options(total_iter=6), second), '--auto_resume')
    assert sorted(run.lines()) == [5, 6]
    for text in ('starts anew', 'does not read'):
        assert (text in run.log) == (said is not None and text in said)
    assert said is None or said in run.log


def test_a_bounded_term_is_warned_about_in_other_words(options, train):
    log = train(with_loss(options(total_iter=2), 'CRLoss', warn_ratio=1e-4)).log
    assert log.count('It does not fall below 0, so it cannot run away') == 1
    assert 'no lower bound' not in log and 'train.spn_opt.loss_weight' in log
    said = []
    RatioWatch(0.5, True, said.append, lower_bound=0.)(0.7, 3)
    assert 'max_ratio bounds it' in said[0]


def test_max_ratio_bounds_a_positive_term(options, train):
    lines = train(with_loss(options(total_iter=3), 'CRLoss', max_ratio=0.01)).lines()
    free = train(with_loss(options(total_iter=3), 'CRLoss')).lines()
    assert all(values['spn/grad_ratio'] == pytest.approx(0.01, rel=1e-3) for values in lines.values())
    assert lines[1]['l_spn'] == pytest.approx(free[1]['l_spn'] * 0.01 / free[1]['spn/grad_ratio'], rel=1e-3)


def test_loss_of_another_type_fails_with_one_sentence(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opt = with_loss(options(), 'CRLoss', update_iter=[5])
    opt['train']['spn_opt']['gama'] = 1
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['train', '-opt', 'opt.yml']) != 0
    assert 'train.spn_opt.gama: received 1, but there is no such option' in capsys.readouterr().err
    del opt['train']['spn_opt']['gama']
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['train', '-opt', 'opt.yml']) != 0
    assert 'update_iter: has no effect with CRLoss' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['CRLoss', 'CCRLoss', 'PCLLoss', 'SPN infonce'])
def test_check_measures_a_step_and_shows_the_plan(name, options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('opt.yml').write_text(yaml.safe_dump(with_loss(options(), name)))
    status = main(['check', '-opt', 'opt.yml'])
    text = capsys.readouterr().out
    assert status == 0, text
    assert PLANS[name] in text and 'l_spn' in text
    label = LOSSES[name].get('type', 'SPNLoss').removesuffix('Loss')
    assert re.search(rf'time per step: .* without {label}, .* with {label}, ratio', text)


def test_loss_of_the_same_name_in_another_package_is_not_meant(options, train, monkeypatch):
    from basicsr.utils.registry import LOSS_REGISTRY
    for name, loss in LOSSES_BY_NAME.items():
        assert LOSS_REGISTRY.get(name) is loss
    foreign = type('CRLoss', (torch.nn.Module, ), {})
    monkeypatch.setitem(LOSS_REGISTRY._obj_map, 'CRLoss', foreign)
    assert LOSS_REGISTRY.get('CRLoss') is foreign
    assert PLANS['CRLoss'] in train(with_loss(options(total_iter=1), 'CRLoss')).log


OVERRIDES = ['num_gpu=0', 'train:total_iter=2', 'train:scheduler:periods=[2]', 'val:val_freq=100',
             'logger:print_freq=1', 'logger:save_checkpoint_freq=100', 'logger:use_tb_logger=false',
             'network_g:embed_dim=8', 'network_g:num_heads=[2]', 'network_g:img_size=16', 'datasets:train:gt_size=32',
             'datasets:train:num_worker_per_gpu=0', 'datasets:train:batch_size_per_gpu=2',
             'datasets:train:dataset_enlarge_ratio=1']


@pytest.mark.parametrize('name', ['none', 'cr', 'ccr', 'pcl', 'spn'])
def test_comparison_file_trains(name, lmdb_pairs, tmp_path, monkeypatch):
    roots = lmdb_pairs(2)
    data = [f'datasets:{phase}:{key}={roots[key]}' for phase in ('train', 'val') for key in roots]
    term = [] if name == 'none' else ['train:history_opt:interval=1']
    monkeypatch.chdir(tmp_path)
    assert main(['train', '-opt', str(COMPARISON / f'{name}.yml'), '--force_yml', *OVERRIDES, *data, *term]) == 0
    log = next(Path('experiments', f'comparison_{name}_SwinIR_SRx2').glob('*.log')).read_text()
    assert len(re.findall(r'l_pix: \d', log)) == 2
    assert ('l_spn' in log) == (name != 'none')


def test_comparison_files_differ_in_one_block():
    from mcir_plugin.config import load_options, read_contrast
    files = {path.stem: load_options(path) for path in COMPARISON.glob('[a-z]*.yml')}
    assert set(files) == {'none', 'cr', 'ccr', 'pcl', 'spn'}
    kinds = set()
    for name, opt in files.items():
        config = read_contrast(opt)
        kinds.add(config and config.spn.type)
        assert config is None or config.history.interval == 5
        opt['train'] = {key: value for key, value in opt['train'].items() if key not in ('spn_opt', 'history_opt')}
        assert opt.pop('name') == f'comparison_{name}_SwinIR_SRx2'
    assert kinds == {None, 'SPNLoss', 'CRLoss', 'CCRLoss', 'PCLLoss'}
    assert all(opt == files['none'] for opt in files.values())
