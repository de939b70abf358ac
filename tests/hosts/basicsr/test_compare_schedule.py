"""Workers of a comparison: one per GPU at a time, failures reported at the end, nothing left running."""
import json
import os
import time

import pytest

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr.compare import schedule
from mcir_plugin.hosts.basicsr.compare.schedule import Job, RunsFailedError, run_jobs

PRETEND = """
import json, os, sys, time
name, seconds, status = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
start = time.time()
time.sleep(seconds)
print('last words of', name)
with open(name + '.json', 'w') as file:
    json.dump({'gpu': os.environ.get('CUDA_VISIBLE_DEVICES'), 'start': start, 'end': time.time()}, file)
sys.exit(status)
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return ``job(name, seconds, status) -> Job`` of a worker that only waits; training needs no test here."""
    (tmp_path / 'pretend_worker.py').write_text(PRETEND)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    monkeypatch.setattr(schedule, 'WORKER', 'pretend_worker')

    def make(name, seconds=0., status=0, progress=lambda: 0):
        return Job(name, (name, str(seconds), str(status)), tmp_path / 'output' / f'{name}.txt', 10, progress)

    return make


def spans(names):
    found = {}
    for name in names:
        with open(f'{name}.json') as file:
            found[name] = json.load(file)
    return found


def overlap(first, second):
    return first['start'] < second['end'] and second['start'] < first['end']


def test_two_gpus_work_at_the_same_time_each_on_one_run(job):
    names = ['a', 'b', 'c', 'd']
    run_jobs([job(name, 0.6) for name in names], ['3', '5'], 'training')
    found = spans(names)
    assert sorted(one['gpu'] for one in found.values()) == ['3', '3', '5', '5']
    assert overlap(found['a'], found['b'])
    pairs = [(x, y) for x in names for y in names if x < y and found[x]['gpu'] == found[y]['gpu']]
    assert len(pairs) == 2 and not any(overlap(found[x], found[y]) for x, y in pairs)


def test_gpus_are_counted_among_those_that_are_visible(job, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4, GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,7')
    run_jobs([job(name, 0.3) for name in 'abc'], ['0', '1', '2'], 'training')
    assert sorted(one['gpu'] for one in spans('abc').values()) == ['4', '7', 'GPU-8932f937-d72c-4106-c12f-20bd9faed9f6']


def test_without_gpus_one_run_follows_the_other_in_order(job):
    run_jobs([job(name, 0.2) for name in 'abc'], None, 'training')
    found = spans('abc')
    assert found['a']['end'] <= found['b']['start'] and found['b']['end'] <= found['c']['start']
    assert found['a']['gpu'] is None


def test_a_failed_run_does_not_stop_the_others_and_is_reported(job, capsys):
    with pytest.raises(RunsFailedError, match=r'1 of 3 runs failed:\n- b ended with status 7(.|\n)*last words of b'):
        run_jobs([job('a'), job('b', status=7), job('c')], None, 'training')
    assert os.path.exists('c.json')
    assert 'b: FAILED' in capsys.readouterr().err


def test_an_interruption_ends_what_runs(job):
    began = time.monotonic()

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([job('a', 30, progress=interrupt)], None, 'training')
    assert time.monotonic() - began < 10  # it was waited for, so it has ended
    assert not os.path.exists('a.json')


@pytest.mark.skipif(os.name != 'posix', reason='the folder is locked by flock')
def test_a_folder_is_worked_in_by_one_command(tmp_path, capsys):
    import fcntl

    from mcir_plugin.config import ConfigError
    from mcir_plugin.hosts.basicsr.compare.entry import _alone
    with _alone(tmp_path / 'out'), pytest.raises(ConfigError, match='another basicsr'), _alone(tmp_path / 'out'):
        pass
    with _alone(tmp_path / 'out'), (tmp_path / 'out' / '.lock').open() as lock, pytest.raises(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert main(['report', str(tmp_path / 'out')]) == 2
    assert 'no experiment folder' in capsys.readouterr().err
