"""Two real processes: one history, whatever each rank's batch and batch statistics are."""
import time
from pathlib import Path

import pytest
import torch
from history_networks import Mixed, values
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from mcir_plugin.history import HistoryBank
from mcir_plugin.history.rule import reduce_mean

BUFFERS = ('norm.running_mean', 'norm.running_var', 'norm.num_batches_tracked', 'table', 'on', 'mask')


def run_rank(rank: int, folder: str) -> None:
    """Build, disturb and update a history; write what it is into a file."""
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    torch.manual_seed(rank)  # each rank starts elsewhere; wrapping makes the parameters equal
    network = Mixed()
    network.norm.running_mean.fill_(rank)
    network.mask.fill_(rank)
    network.on.fill_(bool(rank))
    wrapped = DistributedDataParallel(network, broadcast_buffers=False)
    found = {'mean': reduce_mean(torch.tensor(float(rank)))}
    periodic = HistoryBank(wrapped, (1, 2, 3), negatives_per_iter=1, seed=3, init_noise=0.5)
    adaptive = HistoryBank(wrapped, refresh={'type': 'residual_std', 'threshold': 0.1}, num_negatives=2, seed=3)
    found['start'] = values(periodic)
    wrapped(torch.rand(2, 3, 8, 8)).sum().backward()  # other data and batch statistics on each rank
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= 0.1 * parameter.grad
    network.table += rank
    network.mask += 1
    found['buffers'] = {name: values(network)[name] for name in BUFFERS}
    noise = torch.randn(1, 3, 16, 16)
    noise = noise / noise.std()
    found['refreshed'] = [periodic.update(2)]
    for here in ((0.0, 0.24), (0.14, 0.04), (0.08, 0.08)):  # sigma on ranks 0 and 1; means 0.12, 0.09, 0.08
        found['refreshed'].append(adaptive.update(2, 0.5 + here[rank] / 2 * noise, torch.full_like(noise, 0.5)))
    found['end'] = {**values(periodic), **{f'adaptive.{name}': v for name, v in values(adaptive).items()}}
    found.update(other_histories(wrapped, rank))
    drawn = []
    for _ in range(20):
        list(periodic.negatives(torch.zeros(1, 3, 8, 8)))
        drawn.append(periodic.drawn)
    found['drawn'] = drawn
    torch.save(found, Path(folder, f'{rank}.pth'))
    time.sleep(0.2)  # PyTorch 2.1: gloo, still freeing tensors, waits for the GIL, and the end of the group for gloo
    distributed.destroy_process_group()


def other_histories(network: DistributedDataParallel, rank: int) -> dict:
    """Degrade the same image on both ranks, before and after rank 0's state has been loaded; refresh by diversity."""
    image = torch.full((1, 3, 8, 8), 0.5)
    bank, other = (HistoryBank(network, degrade='mix', num_negatives=3, seed=seed) for seed in (3, 9))
    list(bank.negatives(image))
    state = [bank.state_dict()]
    distributed.broadcast_object_list(state, 0)
    other.load_state_dict(state[0])
    seen = {}
    for name, history in (('degraded', bank), ('restored', other)):
        inputs = seen.setdefault(name, [])
        history.copies[0].register_forward_pre_hook(lambda _, given, inputs=inputs: inputs.append(given[0]))
        list(history.negatives(image))
    queue = HistoryBank(network, refresh={'type': 'diversity', 'window': 1, 'threshold': 0.3}, num_negatives=2)
    seen['queue'] = []
    for here in (((1.0, 0.9), (0.2, 1.0)), ((1.0, 0.5), (0.5, 1.0))):  # means 0.6, 0.95 and 0.75, 0.75
        list(queue.negatives(image))
        queue.observe(torch.tensor(here[rank]))
        seen['queue'].append(queue.update(1))
    return {**seen, 'generator': bank.degrade.get_state()}


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    """What both ranks found."""
    folder = tmp_path_factory.mktemp('ranks')
    multiprocessing.spawn(run_rank, (str(folder), ), nprocs=2)
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in (0, 1)]


def test_mean_over_processes(ranks):
    assert [found['mean'].item() for found in ranks] == [0.5, 0.5]


@pytest.mark.parametrize('when', ['start', 'end'])
def test_histories_are_equal(ranks, when):
    a, b = (found[when] for found in ranks)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_history_moved(ranks):
    start, end = ranks[0]['start'], ranks[0]['end']
    moved = [k for k in range(3) if not torch.equal(start[f'copies.{k}.conv.weight'], end[f'copies.{k}.conv.weight'])]
    assert moved == [0, 1]


def test_buffers_are_those_of_rank_0(ranks):
    of_0, of_1 = (found['buffers'] for found in ranks)
    assert all(not torch.equal(of_0[name], of_1[name]) for name in BUFFERS if name != 'norm.num_batches_tracked')
    for found in ranks:
        assert all(torch.equal(found['end'][f'copies.{k}.{name}'], of_0[name]) for k in (0, 1) for name in BUFFERS)


def test_all_ranks_act_alike_on_the_mean_residual(ranks):
    assert [found['refreshed'] for found in ranks] == [[[0, 1], [0], [], []]] * 2


def test_draws_are_equal(ranks):
    assert ranks[0]['drawn'] == ranks[1]['drawn']
    assert len(set(ranks[0]['drawn'])) == 3


def test_noise_is_independent_but_the_work_is_the_same(ranks):
    a, b = (found['degraded'] for found in ranks)
    assert torch.equal(a[0], b[0]) and not any(map(torch.equal, a[1:], b[1:]))
    assert torch.equal(ranks[0]['generator'], ranks[1]['generator'])


def test_state_of_rank_0_restores_the_inputs_of_every_rank(ranks):
    for found in ranks:
        assert all(map(torch.equal, found['degraded'], found['restored']))


def test_all_ranks_act_alike_on_the_mean_distances(ranks):
    """Rank 0 alone would refresh after the first step (diversity 0.1), and nobody alone after the second (0.5)."""
    assert [found['queue'] for found in ranks] == [[[], [0]]] * 2
