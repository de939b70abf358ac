"""Training steps of two real processes: every network through DistributedDataParallel without unused parameters."""
from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from mcir_plugin.archs import IDT, DehazeFormer, FFANet, NAFNet, NAFNetLocal

TINY = {'width': 4, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1], 'middle_blk_num': 1}
SMALL = {'embed_dims': [4, 8, 12, 8, 4], 'num_heads': [1, 2, 2, 1, 1], 'depths': [1, 2, 2, 1, 1]}
BUILT = {
    'FFANet': lambda: FFANet(blocks=1),
    'DehazeFormer': lambda: DehazeFormer(**SMALL),
    'DehazeFormer with Conv': lambda: DehazeFormer('M', **SMALL),
    # half of the paths of a sample are dropped, on each rank others: parameters still take part, with zero
    'IDT': lambda: IDT(img_size=32, embed_dim=4, win_size=4, num_heads=[1, 2, 2, 2, 2, 2, 2, 2, 2], drop_path_rate=0.5),
    'NAFNet': lambda: NAFNet(**TINY),
    'NAFNetLocal': lambda: NAFNetLocal(**TINY, train_size=16),
}


def run_rank(rank: int, folder: str) -> None:
    """Train every network for two steps; the second one fails if a parameter had no part in the first."""
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    found = {}
    for name, build in BUILT.items():
        torch.manual_seed(rank)  # each rank starts elsewhere and sees other images
        network = DistributedDataParallel(build(), find_unused_parameters=False)
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.l1_loss(network(torch.rand(2, 3, 32, 32)), torch.rand(2, 3, 32, 32)).backward()
            optimizer.step()
        found[name] = network.module.state_dict()
    torch.save(found, Path(folder, f'{rank}.pth'))
    time.sleep(0.2)  # PyTorch 2.1: gloo, still freeing tensors, waits for the GIL, and the end of the group for gloo
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def ranks(tmp_path_factory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What either process ended with, by network."""
    folder = tmp_path_factory.mktemp('ranks')
    multiprocessing.spawn(run_rank, (str(folder), ), nprocs=2)
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize('name', BUILT)
def test_both_processes_hold_the_same_trained_network(ranks, name):
    first, second = (rank[name] for rank in ranks)
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    torch.manual_seed(0)
    start = BUILT[name]().state_dict()
    assert any(not torch.equal(value, start[key]) for key, value in first.items())
