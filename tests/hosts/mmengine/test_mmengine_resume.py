"""Checkpoints of a real Runner: resuming continues bit for bit, and says what it could not restore."""
import pickle

import pytest
import torch
from mmengine.logging import HistoryBuffer

from mcir_plugin.errors import StateError
from mcir_plugin.hosts.mmengine import allow_resume

HISTORY = {'update_iter': [2, 3], 'negatives_per_iter': 1}


def parts(config, tmp_path, iters, **changes):
    """Return a config that saves into, and resumes from, one fixed folder."""
    return config(iters=iters, hook={'history': HISTORY}, work_dir=str(tmp_path / 'parts'), **changes)


def assert_equal_states(left, right):
    tensors = {name: value for name, value in left.items() if isinstance(value, torch.Tensor)}
    assert tensors
    for name, value in tensors.items():
        assert torch.equal(value, right[name]), name


def test_resumed_run_continues_bit_for_bit(config, train, tmp_path):
    straight = train(config(iters=8, hook={'history': HISTORY}))
    train(parts(config, tmp_path, 4))
    resumed = train(parts(config, tmp_path, 8, resume=True))
    assert 'restored 2 history negatives at step 4' in resumed.text
    assert_equal_states(straight.weights(), resumed.weights())
    ours, theirs = (run.hook.contrast.term.bank for run in (straight, resumed))
    assert_equal_states(ours.state_dict(), theirs.state_dict())
    assert ours.refreshed_at == theirs.refreshed_at == [8, 6]
    assert torch.equal(ours.draw.get_state(), theirs.draw.get_state())


def test_resumed_by_epochs_and_with_accumulation(config, train, tmp_path):
    """Three batches an epoch, two of them a step; the last iteration of a run steps whatever the count."""
    changes = {
        'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 2},
        'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'interval': 1},
                          'logger': {'type': 'LoggerHook', 'interval': 1}},
        'log_processor': {'window_size': 1}}

    def epochs(count):
        made = parts(config, tmp_path, 1, train_cfg={'by_epoch': True, 'max_epochs': count}, **changes)
        made['train_dataloader']['sampler'] = {'type': 'DefaultSampler', 'shuffle': True}
        return made

    train(epochs(2))
    run = train({**epochs(4), 'resume': True})
    assert 'restored 2 history negatives at step 3' in run.text
    assert run.hook.steps.count == 6


def test_checkpoint_without_history_warns_loudly(config, train, tmp_path):
    train(config(iters=4, plain=True, work_dir=str(tmp_path / 'parts')))
    run = train(parts(config, tmp_path, 6, resume=True))
    assert 'WARNING - HistoryNegativeHook: the checkpoint was written without a history of generator' in run.text
    assert 'the history starts anew at step 4' in run.text
    last = run.lines()[-2:]
    assert [line['spn/age_2'] for line in last] == [1, 2]


def test_another_number_of_negatives_is_an_error(config, train, tmp_path):
    train(parts(config, tmp_path, 4))
    other = parts(config, tmp_path, 8, resume=True)
    other['custom_hooks'][0]['history'] = {'update_iter': [2, 3, 5]}
    with pytest.raises(StateError, match='2.*3|3.*2'):
        train(other)


def test_load_from_begins_a_new_history_from_the_loaded_weights(config, train, tmp_path):
    first = train(parts(config, tmp_path, 4))
    run = train(config(iters=2, hook={'history': {'update_iter': [9], 'init_noise': 0.0}},
                       load_from=str(tmp_path / 'parts' / 'iter_4.pth')))
    assert run.hook.steps.count == 2
    loaded = first.weights()['generator.head.weight']
    assert torch.equal(run.hook.contrast.term.bank.copies[0].head.weight, loaded)


def test_checkpoint_of_a_run_with_history_is_usable_without(config, train, tmp_path):
    train(parts(config, tmp_path, 4))
    run = train(config(iters=6, plain=True, work_dir=str(tmp_path / 'parts'), resume=True))
    assert 'resumed epoch: 0, iter: 4' in run.text and 'missing keys' not in run.text


class Evil:
    """Calls a function of its choice when it is unpickled."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize('evil', [Evil(print, 'code has run'), Evil(getattr, HistoryBuffer, '__init__'),
                                  Evil(getattr, 'text', 'join')], ids=['call', 'attribute', 'other object'])
def test_protection_stays_on(evil, tmp_path, capsys):
    allow_resume()
    torch.save({'message_hub': evil}, tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'evil.pth', weights_only=True)  # the default since PyTorch 2.6
    assert 'code has run' not in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(torch.serialization, 'add_safe_globals'), reason='this torch has no allow-list')
def test_log_buffers_come_back_equal(tmp_path):
    buffer = HistoryBuffer()
    for value in (1.5, 2, 3.25):
        buffer.update(value)
    torch.save(buffer, tmp_path / 'buffer.pth')
    loaded = torch.load(tmp_path / 'buffer.pth', weights_only=True)
    assert loaded.statistics('mean') == 2.25 and loaded.current() == 3.25
