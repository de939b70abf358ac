"""Two runs of one name, and ranks that fail: real processes, and nobody who watches over them."""
import errno
import fcntl
import json
import os
import signal
import socket

import pytest
import yaml

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr.survival.lock import ExperimentInUseError, lock_path, locked

FAILING_DATA = """
'''The data set of rank 1 fails at its fourth image.'''
import os
from basicsr.data.paired_image_dataset import PairedImageDataset

get, asked = PairedImageDataset.__getitem__, []


def failing(self, index):
    asked.append(index)
    if os.environ['RANK'] == '1' and len(asked) == 4:
        raise KeyError('p03 is not in the LMDB')
    return get(self, index)


PairedImageDataset.__getitem__ = failing
"""
NAN = """
'''The third batch of rank 1 holds a NaN.'''
import os
from basicsr.models.sr_model import SRModel

feed, fed = SRModel.feed_data, []


def feed_nan(self, data):
    fed.append(1)
    feed(self, data)
    if os.environ['RANK'] == '1' and len(fed) == 3:
        self.gt[:] = float('nan')


SRModel.feed_data = feed_nan
"""
SLOW_TEST = """
'''The first image takes as long as there is no file of this name.'''
import os, time
from basicsr.models.sr_model import SRModel

test = SRModel.test


def slow(self):
    print('TESTING', flush=True)
    while not os.path.exists('go'):
        time.sleep(0.01)
    test(self)


SRModel.test = slow
"""
HANGING_RANK = """
'''One rank hangs after its third step in a call that nothing interrupts, as in a collective of NCCL.'''
import ctypes
import os
from basicsr.models.sr_model import SRModel

step = SRModel.optimize_parameters


def hanging(self, current_iter):
    step(self, current_iter)
    if current_iter == 3 and os.environ['RANK'] == os.environ['HANGS']:
        print('HANGING', flush=True)
        mutex = ctypes.create_string_buffer(64)
        for _ in range(2):
            ctypes.CDLL(None).pthread_mutex_lock(mutex)


SRModel.optimize_parameters = hanging
"""


@pytest.fixture
def endless(options):
    """Options of a run that does not end, with an epoch of four steps on two ranks."""
    opt = options(total_iter=10**6)
    opt['datasets']['train']['batch_size_per_gpu'] = 1
    return opt


@pytest.mark.parametrize('flags', [[], ['--auto_resume']], ids=['anew', 'auto_resume'])
def test_the_second_run_of_a_name_refuses(endless, start, tmp_path, monkeypatch, capsys, flags):
    first = start(endless)
    first.wait_for('Saving models')
    monkeypatch.chdir(tmp_path)
    assert main(['train', '-opt', 'tiny.yml', *flags]) == 2
    said = capsys.readouterr().err
    assert 'tiny is in use by a run of the same name' in said
    assert str(first.pid) in said and socket.gethostname() in said
    assert [path.name for path in (tmp_path / 'experiments').iterdir() if path.is_dir()] == ['tiny']
    assert len(list((tmp_path / 'experiments/tiny').glob('*.log'))) == 1
    first.send(signal.SIGTERM)
    assert first.wait() == 75


def test_a_killed_run_does_not_block_the_next_one_even_while_its_workers_live(endless, start, tmp_path):
    endless['datasets']['train'].update(num_worker_per_gpu=2, dataset_enlarge_ratio=1000)  # new workers per epoch
    first = start(endless)
    first.wait_for('iter:       5')
    first.send(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert lock_path(tmp_path / 'experiments/tiny').exists()
    second = start(endless, '--auto_resume')
    second.wait_for('Resuming training from epoch')
    second.send(signal.SIGTERM)
    assert second.wait() == 75


def test_distributed_runs_refuse_on_all_ranks(endless, start, start_ranks):
    first = start(endless)
    first.wait_for('Start training')
    ranks = start_ranks(endless)
    assert [rank.wait() for rank in ranks] == [2, 2]
    assert all('is in use by a run of the same name' in rank.said() for rank in ranks)
    first.send(signal.SIGTERM)
    assert first.wait() == 75


def test_the_second_test_of_a_name_refuses(options, run_server, tmp_path):
    """It would rename the results of the first one away, which goes on to write them."""
    (tmp_path / 'slow.py').write_text(SLOW_TEST)
    opt = options(spn=False)
    opt['datasets'] = {'test': {**opt['datasets']['train'], 'name': 'Set'}}
    opt = {**{key: opt[key] for key in ('name', 'model_type', 'scale', 'num_gpu', 'datasets', 'network_g', 'path')},
           'manual_seed': 0, 'imports': ['slow'], 'val': {'save_img': True, 'suffix': None}}
    (tmp_path / 'tiny.yml').write_text(yaml.safe_dump(opt))
    first = run_server.start(tmp_path, 'test', '-opt', 'tiny.yml')
    first.wait_for('TESTING')
    second = run_server.start(tmp_path, 'test', '-opt', 'tiny.yml')
    assert second.wait() == 2
    assert 'results/tiny is in use by a run of the same name' in second.said() and str(first.pid) in second.said()
    (tmp_path / 'go').touch()
    assert first.wait() == 0
    assert [path.name for path in (tmp_path / 'results').iterdir()] == ['tiny'], 'neither renamed nor locked any more'
    assert len(list((tmp_path / 'results/tiny').rglob('*.png'))) == 8
    third = run_server.start(tmp_path, 'test', '-opt', 'tiny.yml')
    assert third.wait() == 0 and len(list((tmp_path / 'results').iterdir())) == 2


def test_file_systems_without_locks(tmp_path, monkeypatch):
    """A warning; a process of this machine that is named in the file is still found."""
    def flock(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', flock)
    folder, warnings = tmp_path / 'run', []
    with locked(folder, warnings.append):
        assert json.loads(lock_path(folder).read_text())['pid'] == os.getpid()
    assert len(warnings) == 1 and 'file system without locks' in warnings[0]
    owner = {'host': socket.gethostname(), 'pid': os.getppid(), 'since': '2024-01-01 00:00:00'}
    lock_path(folder).write_text(json.dumps(owner))
    with pytest.raises(ExperimentInUseError, match=str(os.getppid())), locked(folder, warnings.append):
        pass
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    for other in ({**owner, 'pid': child}, {**owner, 'host': 'another'}):
        lock_path(folder).write_text(json.dumps(other))
        with locked(folder, warnings.append):
            pass
    assert not lock_path(folder).exists()


def ended(ranks):
    return [rank.wait(60) for rank in ranks]


def test_data_that_fails_on_one_rank_end_the_other(endless, start_ranks, tmp_path):
    (tmp_path / 'failing.py').write_text(FAILING_DATA)
    ranks = start_ranks({**endless, 'imports': ['failing']})
    assert ended(ranks) == [1, 2]
    assert 'rank 1 failed: ' in ranks[0].said() and 'p03 is not in the LMDB' in ranks[0].said()
    assert 'This rank ends, too' in ranks[0].said() and 'Traceback' not in ranks[0].said()
    assert 'rank 1 failed: ' in next((tmp_path / 'experiments/tiny').glob('*.log')).read_text()


def test_a_nan_on_one_rank_ends_the_other(endless, start_ranks, tmp_path):
    (tmp_path / 'nan.py').write_text(NAN)
    ranks = start_ranks({**endless, 'imports': ['nan']})
    assert ended(ranks) == [1, 2]
    assert 'rank 1 failed: TrainingDivergedError: l_pix is nan at iteration 3' in ranks[0].said()


@pytest.mark.parametrize('hanging', [0, 1])
def test_a_killed_rank_ends_one_that_hangs(endless, run_server, tmp_path, hanging):
    (tmp_path / 'hang.py').write_text(HANGING_RANK.replace("os.environ['HANGS']", f"'{hanging}'"))
    (tmp_path / 'tiny.yml').write_text(yaml.safe_dump({**endless, 'imports': ['hang']}))
    ranks = run_server.start_ranks(tmp_path, 'train', '-opt', 'tiny.yml')
    ranks[hanging].wait_for('HANGING')
    ranks[1 - hanging].send(signal.SIGKILL)
    assert ranks[hanging].wait(60) == 1
    assert f'rank {1 - hanging} has ended without a word' in ranks[hanging].said()


def test_a_rank_that_waits_for_a_stopped_one_ends_with_its_status(endless, start_ranks, tmp_path):
    """A signal to one rank before its first step: nothing is to be saved."""
    (tmp_path / 'slow.py').write_text("""
import os, time
from basicsr.models.sr_model import SRModel
if os.environ['RANK'] == '1':
    init = SRModel.init_training_settings
    def slow(self):
        init(self)
        print('STARTING', flush=True)
        time.sleep(600)
    SRModel.init_training_settings = slow
""")
    ranks = start_ranks({**endless, 'imports': ['slow']})
    ranks[1].wait_for('STARTING')
    ranks[1].send(signal.SIGTERM)
    assert ended(ranks) == [75, 75]
    assert 'rank 1 was stopped by SIGTERM' in ranks[0].said()
