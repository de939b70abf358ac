"""kill -9 at any moment: one run is killed over and over, and ends with the weights of a run that never was.

Two thirds of the kills come from inside the process, at a chosen point of a step, of a save, of a validation; the rest
from outside, after a random time. Every life continues by ``--auto_resume``.
"""
import random
import re
import signal
import time

import pytest
import torch
from test_resume import assert_same_run

HAZARD = """
'''Kills this process at the n-th point of a phase: PHASE=writing POINT=17.'''
import os
import signal
from pathlib import Path

import torch
from basicsr.models.sr_model import SRModel

from mcir_plugin.hosts.basicsr.compat import saving

PHASE, POINT = os.environ['PHASE'], int(os.environ['POINT'])
passed, saved = 0, 0


def point(what):
    global passed
    passed += PHASE in ('step', 'validation') or saved > 0
    if passed == POINT:
        os.write(1, f'KILLED in {PHASE} at {what}\\n'.encode())
        os.kill(os.getpid(), signal.SIGKILL)


def around(owner, name, phase=None):
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        point(f'the start of {name}')
        result = original(*args, **kwargs)
        point(f'the end of {name}')
        return result

    setattr(owner, name, wrapped)


def torn_write(self, data):
    half = len(data) // 2
    self.file.write(data[:half])
    self.file.flush()
    point('half of a write')
    self.sha256.update(data)
    return half + self.file.write(data[half:])


def counted_save(self, *args, save=SRModel.save, **kwargs):
    global saved
    saved += 1
    save(self, *args, **kwargs)


if PHASE in ('writing', 'renaming'):
    SRModel.save = counted_save
if PHASE == 'writing':
    saving._Hashing.write = torn_write
elif PHASE == 'renaming':  # and flushing, and all that follows a save: checksums, the deletion of old checkpoints
    for owner, name in ((os, 'replace'), (os, 'fsync'), (os, 'chmod'), (Path, 'unlink')):
        around(owner, name)
elif PHASE == 'step':
    around(torch.optim.Adam, 'step')
    around(torch.Tensor, 'backward')
elif PHASE == 'validation':
    around(SRModel, 'test')
"""
DEATHS = {'writing': 7, 'renaming': 9, 'step': 7, 'validation': 7, 'outside': 10}
POINTS = {'writing': 250, 'renaming': 48, 'step': 16, 'validation': 20, 'outside': 1}


@pytest.fixture
def opt(options, lmdb_pairs):
    opt = options(history_opt={'update_iter': [2, 3], 'negatives_per_iter': 1}, total_iter=10**6)
    opt['network_g']['num_feat'] = 4
    opt['datasets']['val'] = {'type': 'PairedImageDataset', **lmdb_pairs(2), 'io_backend': {'type': 'lmdb'},
                              'name': 'Val'}
    opt['val'] = {'val_freq': 3, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}}
    opt['logger'].update(save_checkpoint_freq=2, keep_last=2)
    opt['imports'] = ['hazard']
    return opt


def newest_loadable(folder):
    """The iteration of the newest checkpoint, by a plain ``torch.load`` of its files; 0 if there is none."""
    for state in sorted((folder / 'training_states').glob('*.state'), key=lambda path: -int(path.stem)):
        iteration = torch.load(state, weights_only=False)['iter']
        torch.load(folder / 'models' / f'net_g_{iteration}.pth', weights_only=True)
        assert iteration == int(state.stem)
        return iteration
    return 0


def live_and_die(start, opt, phase, point, delay):
    run = start(opt, '--auto_resume', PHASE=phase, POINT=str(point))
    if phase == 'outside':
        if delay > 0.5:
            run.wait_for('lr:(')
        time.sleep(delay % 0.5)
        run.send(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, run.said()[-3000:]
    return run


def test_forty_kills(options, opt, start, train, tmp_path):
    (tmp_path / 'hazard.py').write_text(HAZARD)
    draw = random.Random(0)
    deaths = [phase for phase, count in DEATHS.items() for _ in range(count)]
    draw.shuffle(deaths)
    folder, seen, leftovers = tmp_path / 'experiments/tiny', [], 0
    for phase in deaths:
        expected = newest_loadable(folder)
        run = live_and_die(start, opt, phase, draw.randint(1, POINTS[phase]), draw.random())
        said = run.said()
        if phase != 'outside':
            seen += re.findall(r'KILLED in (\w+) at', said)
        for epoch_and_iteration in re.findall(r'Start training from epoch: \d+, iter: (\d+)', said):
            assert int(epoch_and_iteration) == expected
        leftovers += len(list(folder.glob('*/.*.tmp')))
        assert newest_loadable(folder) >= expected
    assert {phase: seen.count(phase) for phase in set(seen)} == {
        phase: count for phase, count in DEATHS.items() if phase != 'outside'}
    assert leftovers > 0, 'no kill has torn a file'

    last = newest_loadable(folder) + 3
    opt['train']['total_iter'], opt['imports'] = last, []
    opt['logger']['save_checkpoint_freq'] = 1
    survivor = train(opt, '--auto_resume')
    straight = train({**opt, 'name': 'straight'})
    assert_same_run(survivor, straight, last=last, first=last - 3)
    assert not list(folder.rglob('.*.tmp'))
    assert len(list((folder / 'training_states').glob('*.state'))) == 2
