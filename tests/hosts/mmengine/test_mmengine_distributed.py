"""Two real processes on the CPU (gloo) under MMDistributedDataParallel, started by torchrun."""
import os
import subprocess
import sys
from pathlib import Path

import torch
from mmengine.config import Config

SCRIPT = """
import os
import sys
import torch
from mmengine.config import Config
from mmengine.runner import Runner
import restoration
import mcir_plugin.hosts.mmengine

torch.set_num_threads(1)
torch.distributed.init_process_group('gloo')  # mmengine itself wants a GPU here
for name in sys.argv[1:]:
    runner = Runner.from_cfg(Config.fromfile(f'{name}.py'))
    runner.train()
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'HistoryNegativeHook')
    torch.save({'bank': hook.contrast.term.bank.state_dict(), 'net': runner.model.module.generator.state_dict(),
                'wrapper': type(runner.model).__name__, 'drawn': hook.contrast.term.bank.drawn, 'seed': runner.seed,
                'steps': hook.steps.count}, f'{name}_rank{os.environ["RANK"]}.pth')
"""


def launch(folder: Path, configs: dict[str, dict], processes: int = 2) -> dict[str, list[dict]]:
    """Train by the configs, one after the other, in the same two processes; return what every rank ended with."""
    (folder / 'run.py').write_text(SCRIPT)
    for name, config in configs.items():
        Config({**config, 'experiment_name': name}).dump(str(folder / f'{name}.py'))
    subprocess.run([sys.executable, '-m', 'torch.distributed.run', f'--nproc_per_node={processes}', '--rdzv_backend',
                    'c10d', '--rdzv_endpoint', 'localhost:0', 'run.py', *configs], cwd=folder, check=True,
                   env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(Path(__file__).parent)})
    return {name: [torch.load(folder / f'{name}_rank{rank}.pth', weights_only=True) for rank in range(processes)]
            for name in configs}


def test_two_processes_keep_one_history_and_resume(config, tmp_path):
    def made(iters, name, **changes):
        return config(iters=iters, hook={'history': {'update_iter': [1, 2], 'negatives_per_iter': 1}},
                      launcher='pytorch', randomness={'seed': 0, 'diff_rank_seed': True},
                      model_wrapper_cfg={'type': 'MMDistributedDataParallel', 'device_ids': None},
                      work_dir=str(tmp_path / name), **changes)

    runs = launch(tmp_path, {'straight': made(4, 'straight'), 'begun': made(2, 'parts'),
                             'resumed': made(4, 'parts', resume=True)})
    straight, resumed = runs['straight'], runs['resumed']
    assert runs['begun'][0]['steps'] == 2
    assert straight[0]['wrapper'] == 'MMDistributedDataParallel' and straight[0]['steps'] == 4
    assert straight[0]['seed'] != straight[1]['seed'], 'every rank has its own seed here'
    for other in (straight[1], *resumed):
        assert other['drawn'] == straight[0]['drawn']
        tensors = [name for name, value in other['bank'].items() if isinstance(value, torch.Tensor)]
        assert tensors
        for name in tensors:
            assert torch.equal(other['bank'][name], straight[0]['bank'][name]), name
    for name, value in straight[0]['net'].items():
        if 'running' not in name:
            assert torch.equal(value, straight[1]['net'][name]) and torch.equal(value, resumed[0]['net'][name]), name
    assert all('loss_spn: -' in log.read_text() for log in tmp_path.glob('parts/*/*.log'))
