"""N + M iterations in one run equal N, stop, resume, M: bit for bit in weights, negatives and logged losses."""
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.data import TensorDataset

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr import resume
from mcir_plugin.hosts.basicsr.resume import KEY

RANDOM_DRAW = {'update_iter': [2, 3], 'negatives_per_iter': 1}
ADAPTIVE = {'refresh': {'type': 'residual_std', 'threshold': 0.1}, 'num_negatives': 3}
LAZY = {'update_iter': [2, 3], 'interval': 3, 'warmup_iter': 8, 'dtype': 'bfloat16'}


def assert_same_run(resumed, straight, last, first):
    for key in ('params', 'params_ema'):
        files = [torch.load(run.folder / 'models' / f'net_g_{last}.pth', weights_only=True)[key]
                 for run in (resumed, straight)]
        assert all(torch.equal(files[0][name], files[1][name]) for name in files[1])
    banks = [run.state(last)[KEY]['bank'] for run in (resumed, straight)]
    for name, value in banks[1].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(banks[0][name], value), name
    assert banks[0]['_extra_state']['refreshed_at'] == banks[1]['_extra_state']['refreshed_at']
    assert torch.equal(banks[0]['_extra_state']['draw'], banks[1]['_extra_state']['draw'])
    expected = {i: values for i, values in straight.lines().items() if i > first}
    assert expected and resumed.lines() == expected


def in_two_parts(train, opt, first, total):
    """Train ``total`` iterations at once under one name; under another ``first``, then the rest."""
    opt['logger']['save_checkpoint_freq'] = 1
    opt['train']['total_iter'] = total
    straight = train({**opt, 'name': 'straight'})
    opt['train']['total_iter'] = first
    train({**opt, 'name': 'parts'})
    opt['train']['total_iter'] = total
    return train({**opt, 'name': 'parts'}, '--auto_resume'), straight


@pytest.mark.parametrize('history', [RANDOM_DRAW, ADAPTIVE, LAZY], ids=['random-draw', 'adaptive', 'lazy'])
@pytest.mark.parametrize('first', [4, 6], ids=['epoch-end', 'inside-epoch'])
def test_resume_without_workers(options, train, history, first):
    opt = options(history_opt=history)
    assert_same_run(*in_two_parts(train, opt, first, 11), last=11, first=first)


def test_resume_with_workers_at_epoch_end(options, train):
    opt = options(history_opt=RANDOM_DRAW)
    opt['datasets']['train']['num_worker_per_gpu'] = 2
    assert_same_run(*in_two_parts(train, opt, 4, 8), last=8, first=4)


def test_resume_inside_epoch_with_workers_continues_the_order_of_samples(options, train):
    """Workers crop and flip with random states of their own; without augmentation only the order is left to differ."""
    opt = options(history_opt=RANDOM_DRAW)
    opt['datasets']['train'].update(num_worker_per_gpu=2, gt_size=64, use_hflip=False, use_rot=False)
    assert_same_run(*in_two_parts(train, opt, 6, 8), last=8, first=6)


def test_resume_inside_epoch_twice(options, train):
    opt = options(history_opt=RANDOM_DRAW)
    opt['datasets']['train']['dataset_enlarge_ratio'] = 4
    _, straight = in_two_parts(train, opt, 3, 9)
    for total in (3, 6, 9):
        opt['train']['total_iter'] = total
        thrice = train({**opt, 'name': 'thrice'}, '--auto_resume')
    assert_same_run(thrice, straight, last=9, first=6)


def test_resume_after_kill(options, train, tmp_path, monkeypatch):
    """A process killed by SIGKILL at an arbitrary moment goes on from its newest checkpoint."""
    opt = options(history_opt=RANDOM_DRAW, total_iter=400)
    opt['logger']['save_checkpoint_freq'] = 25
    monkeypatch.chdir(tmp_path)
    Path('killed.yml').write_text(yaml.safe_dump({**opt, 'name': 'killed'}))
    process = subprocess.Popen([sys.executable, '-m', 'mcir_plugin', 'train', '-opt', 'killed.yml'],
                               env={**os.environ, 'OMP_NUM_THREADS': '1'}, stdout=subprocess.DEVNULL)
    states = Path('experiments/killed/training_states')
    deadline = time.monotonic() + 240
    while not list(states.glob('*.state')) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, 'the run ended before it could be killed'
    newest = max(int(path.stem) for path in states.glob('*.state'))
    opt['train']['total_iter'] = newest + 25
    straight = train({**opt, 'name': 'straight'})
    resumed = train({**opt, 'name': 'killed'}, '--auto_resume')
    assert_same_run(resumed, straight, last=newest + 25, first=newest)


def test_auto_resume_without_checkpoint_starts_from_scratch(options, train):
    assert sorted(train(options(total_iter=2), '--auto_resume').lines()) == [1, 2]


def test_auto_resume_looks_in_the_experiments_root_it_was_given(options, train, tmp_path):
    opt = options(total_iter=4)
    opt['path']['experiments_root'] = str(tmp_path / 'elsewhere')
    train(opt)
    assert (tmp_path / 'elsewhere' / 'tiny' / 'training_states' / '4.state').exists()
    opt['train']['total_iter'] = 6
    assert 'Resuming training from epoch: 0, iter: 4' in train(opt, '--auto_resume').log
    assert not (tmp_path / 'experiments').exists()


def test_plain_checkpoint_resumes_with_a_new_history(options, train):
    train(options(spn=False, total_iter=4))
    run = train(options(total_iter=6), '--auto_resume')
    assert 'the history starts anew at iteration 4' in run.log.replace('\n', ' ')
    assert run.lines()[5]['spn/age_2'] == 1


def test_checkpoint_with_history_resumes_without_spn(options, train):
    train(options(total_iter=4))
    assert sorted(train(options(spn=False, total_iter=6), '--auto_resume').lines()) == [5, 6]


def test_changed_number_of_negatives_is_a_clear_error(options, train, capsys, tmp_path):
    train(options(total_iter=4))
    Path('opt.yml').write_text(yaml.safe_dump(options(history_opt={'update_iter': [2, 3, 4]}, total_iter=6)))
    assert main(['train', '-opt', 'opt.yml', '--auto_resume']) == 2
    said = capsys.readouterr().err
    assert 'holds 2 negatives' in said and 'ask for 3' in said and 'pretrain_network_g' in said


def test_files_stay_loadable_by_stock_basicsr(options, train):
    """Stock BasicSR reads the network strictly, and its own keys of the training state, with a plain torch.load."""
    from basicsr.archs.edsr_arch import EDSR
    opt = options(total_iter=4)
    run = train(opt)
    network = EDSR(**{k: v for k, v in opt['network_g'].items() if k != 'type'})
    network.load_state_dict(run.weights(4), strict=True)
    assert set(torch.load(run.folder / 'models/net_g_4.pth', weights_only=True)) == {'params', 'params_ema'}
    state = run.state(4)
    assert {'epoch', 'iter', 'optimizers', 'schedulers'} < set(state)
    torch.optim.Adam(network.parameters()).load_state_dict(state['optimizers'][0])


def test_the_place_in_the_epoch_is_for_the_epoch_and_not_for_an_earlier_thread(monkeypatch):
    """BasicSR's CPU prefetcher makes an iterator that nobody reads, in a thread that may come late."""
    monkeypatch.setattr(resume.DATA, 'pending', {'samples': 3, 'random': resume.random_state()})
    sampler = resume.ResumableSampler(TensorDataset(torch.arange(10)), 1, 0, 1)
    go, taken = threading.Event(), {}

    def read(name):
        taken[name] = len(list(sampler))

    def late():
        go.wait()
        read('late')

    thread = threading.Thread(target=late)
    thread.start()
    sampler.set_epoch(0)
    go.set()
    thread.join()
    reader = threading.Thread(target=read, args=('epoch', ))
    reader.start()
    reader.join()
    read('next')
    assert taken == {'late': 10, 'epoch': 7, 'next': 10}
