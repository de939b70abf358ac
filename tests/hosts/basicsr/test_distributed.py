"""Two real processes on the CPU (gloo), started by torchrun."""
import os
import subprocess
import sys

import pytest
import torch
import yaml

from mcir_plugin.hosts.basicsr.resume import KEY

WATCH = """
'''Writes each rank's negatives and gradients to files; imported by the runs through ``imports``.'''
import os
import torch
from mcir_plugin.hosts.basicsr import model

finish = model.StepContrast.finish


def watched(self):
    refreshed = finish(self)
    network = self.term.bank.network
    torch.save({'grad': {n: p.grad.clone() for n, p in network.named_parameters()},
                'bank': self.term.bank.state_dict(), 'drawn': self.term.bank.drawn},
               f'step{self.step}_of_{os.environ.get("WORLD_SIZE", 1)}_rank{os.environ.get("RANK", 0)}.pth')
    return refreshed


model.StepContrast.finish = watched
"""


def launch(folder, name, opt, processes, *flags):
    (folder / 'watch.py').write_text(WATCH)
    (folder / f'{name}.yml').write_text(yaml.safe_dump({**opt, 'name': name, 'imports': ['watch']}))
    runner = ['-m', 'torch.distributed.run', f'--nproc_per_node={processes}', '--master_port', '0',
              '--rdzv_backend', 'c10d', '--rdzv_endpoint', 'localhost:0'] if processes > 1 else []
    launcher = ['--launcher', 'pytorch'] if processes > 1 else []
    ended = subprocess.run([sys.executable, *runner, '-m', 'mcir_plugin', 'train', '-opt', f'{name}.yml', *launcher,
                            *flags], cwd=folder, env={**os.environ, 'OMP_NUM_THREADS': '1'}, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert ended.returncode == 0, f'{name} {flags}: exit status {ended.returncode}\n{ended.stdout[-10000:]}'


def load(path):
    return torch.load(path, weights_only=True)


@pytest.fixture
def whole_patches(options):
    """Options without augmentation: both set-ups see the same samples in each step."""
    opt = options(history_opt={'update_iter': [1, 2], 'negatives_per_iter': 1}, total_iter=3)
    opt['datasets']['train'].update(gt_size=64, use_hflip=False, use_rot=False)
    opt['train']['spn_opt']['loss_weight'] = 0.05
    opt['train']['optim_g'] = {'type': 'SGD', 'lr': 1e-3}
    opt['logger']['save_checkpoint_freq'] = 2
    return opt


def test_two_processes_at_half_the_batch_equal_one(whole_patches, tmp_path):
    opt = whole_patches
    opt['datasets']['train']['batch_size_per_gpu'] = 4
    launch(tmp_path, 'one', opt, 1)
    opt['datasets']['train']['batch_size_per_gpu'] = 2
    launch(tmp_path, 'two', opt, 2)
    for step in (1, 2, 3):
        one = load(tmp_path / f'step{step}_of_1_rank0.pth')
        ranks = [load(tmp_path / f'step{step}_of_2_rank{rank}.pth') for rank in (0, 1)]
        assert one['drawn'] == ranks[0]['drawn'] == ranks[1]['drawn']
        for name, gradient in one['grad'].items():
            assert torch.equal(ranks[0]['grad'][name], ranks[1]['grad'][name])
            scale = gradient.abs().max().clamp_min(1e-8)
            assert (ranks[0]['grad'][name] - gradient).abs().max() / scale < 1e-4, (step, name)
        for name, value in ranks[0]['bank'].items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, ranks[1]['bank'][name]), 'negatives differ between ranks'
    assert len(list((tmp_path / 'experiments/two').glob('*.log'))) == 1, 'only rank 0 writes'
    log = next((tmp_path / 'experiments/two').glob('*.log')).read_text()
    assert 'l_spn' in log and 'spn/dist_1' in log

    state = load_state(tmp_path / 'experiments/two/training_states/2.state')
    assert len(state[KEY]['ranks']) == 2
    assert not torch.equal(state[KEY]['ranks'][0]['random']['torch'], state[KEY]['ranks'][1]['random']['torch'])


def test_two_processes_resume_bit_for_bit(options, tmp_path):
    opt = options(history_opt={'update_iter': [1, 2], 'negatives_per_iter': 1}, total_iter=4)
    opt['datasets']['train']['batch_size_per_gpu'] = 1  # 4 iterations per epoch: 2 is inside it
    opt['logger']['save_checkpoint_freq'] = 2
    launch(tmp_path, 'straight', opt, 2)
    expected = load(tmp_path / 'experiments/straight/models/net_g_4.pth')['params']
    launch(tmp_path, 'parts', {**opt, 'train': {**opt['train'], 'total_iter': 2}}, 2)
    launch(tmp_path, 'parts', opt, 2, '--auto_resume')
    resumed = load(tmp_path / 'experiments/parts/models/net_g_4.pth')['params']
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())


def load_state(path):
    from mcir_plugin.hosts.basicsr.compat.saving import load_safely
    return load_safely(path)
