"""SIGTERM, SIGINT and SIGUSR1 to real training processes."""
import re
import signal

import pytest
import torch

STOPPED = 75


def last_iteration(run):
    return max(int(found.replace(',', '')) for found in re.findall(r'iter: *([\d,]+), lr', run.said()))


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT', 'SIGUSR1'])
@pytest.mark.parametrize('spn', [True, False], ids=['spn', 'plain'])
def test_a_signal_saves_and_exits(options, start, tmp_path, name, spn):
    opt = options(spn=spn, total_iter=10**6)
    opt['logger']['save_checkpoint_freq'] = 10**6
    run = start(opt)
    run.wait_for('iter:       3')
    run.send(getattr(signal, name))
    assert run.wait() == STOPPED
    print(run.said())
    last = last_iteration(run)
    states = list((tmp_path / 'experiments/tiny/training_states').glob('*.state'))
    assert [path.stem for path in states] == [str(last)]
    assert torch.load(states[0], weights_only=False)['iter'] == last
