"""SIGTERM, SIGINT and SIGUSR1 to real training processes, one or two of them."""
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml
from test_resume import assert_same_run

from mcir_plugin.hosts.basicsr.resume import KEY
from mcir_plugin.hosts.basicsr.survival.signals import StopSignals, TrainingStopped

STOPPED = 75
HANGING_STEP = """
'''The third step hangs in a call that no signal interrupts, as a collective of NCCL does.'''
import ctypes
from basicsr.models.sr_model import SRModel

step = SRModel.optimize_parameters


def hanging(self, current_iter):
    step(self, current_iter)
    if current_iter == 3:
        print('HANGING', flush=True)
        mutex = ctypes.create_string_buffer(64)
        for _ in range(2):
            ctypes.CDLL(None).pthread_mutex_lock(mutex)


SRModel.optimize_parameters = hanging
"""
SLOW_VALIDATION = """
import time
from basicsr.models.sr_model import SRModel

test = SRModel.test


def slow(self):
    print('VALIDATING', flush=True)
    time.sleep(0.2)
    test(self)


SRModel.test = slow
"""
SLOW_START = """
import time
print('STARTING', flush=True)
time.sleep(600)
"""


@pytest.fixture
def endless(options):
    """Options of a run that saves nothing by itself and does not end."""

    def make(spn=True, **train):
        opt = options(spn=spn, **{'total_iter': 10**6, **train})
        opt['logger']['save_checkpoint_freq'] = 10**6
        return opt

    return make


def last_iteration(run):
    return max(int(found.replace(',', '')) for found in re.findall(r'iter: *([\d,]+), lr', run.said()))


def saved_states(folder):
    return sorted(int(path.stem) for path in (folder / 'experiments/tiny/training_states').glob('*.state'))


@pytest.mark.parametrize(('name', 'spn'), [('SIGTERM', False), ('SIGINT', True), ('SIGUSR1', True)])
def test_a_signal_finishes_the_step_saves_and_exits(endless, start, tmp_path, name, spn):
    run = start(endless(spn))
    run.wait_for('iter:       3')
    run.send(getattr(signal, name))
    assert run.wait() == STOPPED
    last = last_iteration(run)
    assert saved_states(tmp_path) == [last]
    folder = tmp_path / 'experiments/tiny'
    assert torch.load(folder / f'training_states/{last}.state', weights_only=False)['iter'] == last
    assert f'Stopped by {name} after iteration {last}' in run.said()
    subprocess.run(['sha256sum', '--quiet', '-c', f'{last}.state.sha256'], cwd=folder / 'training_states', check=True)
    assert not list((tmp_path / 'experiments').glob('.*')), 'the lock is gone'


def test_stopped_and_continued_equals_uninterrupted(endless, start, train):
    opt = endless(history_opt={'update_iter': [2, 3], 'negatives_per_iter': 1})
    run = start(opt)
    run.wait_for('iter:       5')
    run.send(signal.SIGTERM)
    assert run.wait() == STOPPED
    first = last_iteration(run)
    opt['train']['total_iter'] = first + 3
    opt['logger']['save_checkpoint_freq'] = 1
    assert_same_run(train(opt, '--auto_resume'), train({**opt, 'name': 'straight'}), last=first + 3, first=first)


def test_the_second_signal_ends_even_a_hanging_run(endless, start, tmp_path):
    (tmp_path / 'hang.py').write_text(HANGING_STEP)
    run = start({**endless(), 'imports': ['hang']})
    run.wait_for('HANGING')
    run.send(signal.SIGTERM)
    run.wait_for('A second signal ends the run at once')
    run.send(signal.SIGINT)
    assert run.wait() == 128 + signal.SIGINT
    assert saved_states(tmp_path) == []


def test_a_signal_before_the_first_step_exits_at_once(endless, start, tmp_path):
    (tmp_path / 'slow.py').write_text(SLOW_START)
    run = start({**endless(), 'imports': ['slow']})
    run.wait_for('STARTING')
    run.send(signal.SIGUSR1)
    assert run.wait() == STOPPED
    assert not (tmp_path / 'experiments').exists()


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT'])
def test_workers_that_get_the_signal_too_do_not_disturb(endless, start, tmp_path, name):
    """A terminal sends Ctrl-C to the whole group, a scheduler its signals to all processes of a job."""
    opt = endless(spn=False)
    opt['datasets']['train'].update(num_worker_per_gpu=2, dataset_enlarge_ratio=1000)  # new workers per epoch
    run = start(opt)
    run.wait_for('iter:       3')
    run.send_to_group(getattr(signal, name))
    assert run.wait() == STOPPED
    assert saved_states(tmp_path) == [last_iteration(run)]
    assert 'Traceback' not in run.said()
    deadline = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):  # no worker is left behind
        while time.monotonic() < deadline:
            os.killpg(run.pid, 0)
            time.sleep(0.05)


def test_a_validation_is_left(endless, start, tmp_path, lmdb_pairs):
    (tmp_path / 'slow.py').write_text(SLOW_VALIDATION)
    opt = {**endless(), 'imports': ['slow'], 'val': {'val_freq': 2, 'save_img': False}}
    opt['datasets']['val'] = {'type': 'PairedImageDataset', 'name': 'Val', **lmdb_pairs(2),
                              'io_backend': {'type': 'lmdb'}}
    run = start(opt)
    run.wait_for('VALIDATING')
    run.send(signal.SIGTERM)
    assert run.wait() == STOPPED
    assert saved_states(tmp_path) == [2] and 'The validation at iteration 2 is left unfinished' in run.said()
    assert run.said().count('VALIDATING') < 8


def test_handlers_that_are_there_stay():
    before = signal.signal(signal.SIGUSR1, handler := lambda *_: None)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert signal.getsignal(signal.SIGUSR1) is handler
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signals.received is None and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_outside_of_the_main_thread_nothing_is_touched():
    def enter():
        with StopSignals():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            ended.append(True)

    ended = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert ended == [True] and TrainingStopped().code == STOPPED


@pytest.mark.parametrize('spn', [True, False], ids=['spn', 'plain'])
def test_two_ranks_stop_after_the_same_step(endless, start_ranks, tmp_path, spn):
    """The signal reaches rank 1 only."""
    opt = endless(spn)
    opt['datasets']['train']['batch_size_per_gpu'] = 1
    ranks = start_ranks(opt)
    ranks[0].wait_for('iter:       2')
    ranks[1].send(signal.SIGTERM)
    assert [rank.wait() for rank in ranks] == [STOPPED, STOPPED], [rank.said() for rank in ranks]
    last = last_iteration(ranks[0])
    state = torch.load(tmp_path / f'experiments/tiny/training_states/{last}.state', weights_only=False)
    assert state['iter'] == last and saved_states(tmp_path) == [last]
    assert not spn or len(state[KEY]['ranks']) == 2
    opt['train']['total_iter'], opt['logger']['save_checkpoint_freq'] = last + 2, 1
    for name, flags in (('tiny', ['--auto_resume']), ('straight', [])):
        assert [rank.wait() for rank in start_ranks({**opt, 'name': name}, *flags)] == [0, 0]
    if spn:
        resumed, straight = (torch.load(tmp_path / f'experiments/{name}/models/net_g_{last + 2}.pth', weights_only=True)
                             for name in ('tiny', 'straight'))
        assert all(torch.equal(resumed['params'][key], value) for key, value in straight['params'].items())


def test_the_slurm_script_requeues_a_stopped_run_only(tmp_path):
    """The script itself; srun, scontrol and squeue are stand-ins, since there is no Slurm here."""
    script = Path(__file__).parents[3] / 'scripts/slurm_train.sh'
    srun = 'echo "$@" > srun.txt; grep SigIgn /proc/$$/status > ignored.txt; kill -USR1 $PPID; exit $STATUS'
    for name, body in {'srun': srun, 'squeue': 'echo $STATE', 'scontrol': 'echo "$@" > scontrol.txt'}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\n{body}\n')
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '7'}
    for status, state, requeued in ((0, 'RUNNING', False), (2, 'RUNNING', False), (75, 'RUNNING', True),
                                    (75, 'COMPLETING', False)):
        (tmp_path / 'scontrol.txt').unlink(missing_ok=True)
        ended = subprocess.run(['bash', str(script), 'X.yml', '--force_yml', 'a=1'], cwd=tmp_path,
                               env={**environment, 'STATUS': str(status), 'STATE': state})
        assert ended.returncode == (0 if requeued else status)
        assert (tmp_path / 'scontrol.txt').exists() == requeued, (status, state)
        assert not requeued or (tmp_path / 'scontrol.txt').read_text() == 'requeue 7\n'
    ignored = int((tmp_path / 'ignored.txt').read_text().split()[1], 16)
    assert not any(ignored >> (number - 1) & 1 for number in (signal.SIGUSR1, signal.SIGTERM)), 'they are inherited'
    assert '-opt X.yml --launcher slurm --auto_resume --force_yml a=1' in (tmp_path / 'srun.txt').read_text()


def test_compare_leaves_its_workers_a_moment_to_save(endless, run_server, tmp_path, lmdb_pairs):
    """Ctrl-C in a terminal reaches the command alone; it asks its worker to stop, which saves."""
    opt = endless()
    opt['datasets']['val'] = {'type': 'PairedImageDataset', 'name': 'Val', **lmdb_pairs(2),
                              'io_backend': {'type': 'lmdb'}}
    opt['val'] = {'val_freq': 10**6, 'save_img': False, 'metrics': {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}}}
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    command = run_server.start(tmp_path, 'compare', '-opt', 'opt.yml', '--variants', 'spn', '--seeds', '0')
    run = tmp_path / 'experiments/compare_tiny/tiny_spn_seed0'
    deadline = time.monotonic() + 240
    while not any('iter:       2' in log.read_text() for log in run.glob('*.log')):
        assert time.monotonic() < deadline, command.said()
        time.sleep(0.05)
    command.send_to_group(signal.SIGINT)
    assert command.wait() != 0
    assert len(list((run / 'training_states').glob('*.state'))) == 1
