"""Nothing inside a training step reads a value, which on a GPU would make the host wait."""
import sys
import traceback

import basicsr.train
import pytest
import torch
import yaml
from basicsr.models import build_model
from torch.utils._python_dispatch import TorchDispatchMode

from mcir_plugin.hosts.basicsr import guard
from mcir_plugin.hosts.late import LateValues


class Reads(TorchDispatchMode):
    """Notes where a value of a tensor is read, outside of the optimizer, whose counters are on the CPU anyway."""

    def __init__(self):
        super().__init__()
        self.places = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ('_local_scalar_dense', 'is_nonzero', 'nonzero', 'equal'):
            stack = traceback.extract_stack()
            if not any('torch/optim' in frame.filename for frame in stack):
                self.places.append(''.join(traceback.format_list(stack[-4:-1])))
        return func(*args, **kwargs or {})


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    """Return ``parsed(opt) -> opt`` as BasicSR's own reader completes it; losses are not read at once, as on a GPU."""
    monkeypatch.setattr(guard, 'require_finite_sum', lambda model: None)

    def parse(opt):
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
        monkeypatch.setattr(sys, 'argv', ['basicsr', '-opt', 'opt.yml'])
        return basicsr.train.parse_options(str(tmp_path), is_train=True)[0]

    return parse


@pytest.mark.parametrize('train_block', [{}, {'grad_clip': {'max_norm': 0.1}}])
def test_a_step_reads_no_value_until_losses_are_printed(options, parsed, train_block):
    opt = options(total_iter=8)
    opt['logger']['print_freq'] = 4
    opt['train'].update(train_block)
    model = build_model(parsed(opt))
    reads = {}
    for step in range(1, 9):
        model.feed_data({'lq': torch.rand(2, 3, 16, 16), 'gt': torch.rand(2, 3, 32, 32)})
        with Reads() as noted:
            model.optimize_parameters(step)
        reads[step] = noted.places
        log = model.get_current_log()
        assert {'l_pix', 'l_spn'} <= set(log)
        assert f'{log["l_spn"]:.3e}' != ''
    assert [step for step in reads if reads[step]] == [4, 8], reads[1] + reads[2]


def test_a_loss_that_is_read_late_still_stops_the_run_before_it_is_saved(options, parsed, tmp_path, monkeypatch):
    monkeypatch.setattr(LateValues, 'arrived', False)  # as on a GPU
    (tmp_path / 'experiments/tiny').mkdir(parents=True)
    opt = options(total_iter=8)
    opt['logger']['print_freq'] = 100
    model = build_model(parsed(opt))
    good = {'lq': torch.rand(2, 3, 16, 16), 'gt': torch.rand(2, 3, 32, 32)}
    model.feed_data(good)
    model.optimize_parameters(1)
    model.feed_data({**good, 'lq': good['lq'] * float('nan')})
    model.optimize_parameters(2)
    with pytest.raises(FloatingPointError, match='l_pix is nan at iteration 2'):
        model.save(0, 2)
    assert not list((tmp_path / 'experiments/tiny/models').glob('*.pth'))
    snapshot = torch.load(tmp_path / 'experiments/tiny/diverged_iter_2_rank0.pth', weights_only=True)
    assert torch.equal(snapshot['gt'], good['gt']) and snapshot['lq'].isnan().all()
    model.feed_data(good)
    with pytest.raises(FloatingPointError, match='at iteration 3'):
        model.optimize_parameters(3)
        model.feed_data(good)
        model.optimize_parameters(4)
