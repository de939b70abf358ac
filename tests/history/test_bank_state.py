"""What the history keeps: its whole state in ``state_dict``, at the precision and place that were asked for."""
import pytest
import torch
from history_networks import Mixed, values, walk
from torch import nn

from mcir_plugin.history import HistoryBank


def trained(steps=7, **options):
    """Return a network after some steps of a walk, its history, and the walk's generator."""
    torch.manual_seed(0)
    network, generator = Mixed(), torch.Generator().manual_seed(5)
    bank = HistoryBank(network, **{'update_iter': (2, 3, 5), 'decay': (0.1, 0.2, 0.3), 'negatives_per_iter': 1,
                                   'seed': 4, **options})
    proceed(network, bank, generator, range(1, steps + 1))
    return network, bank, generator


def proceed(network, bank, generator, steps):
    """Walk, update, draw; return what was refreshed, drawn and put out."""
    seen = []
    x = torch.linspace(0, 1, 48).view(1, 3, 4, 4)
    for step in steps:
        walk(network, generator)
        network.mask.zero_()  # PyTorch saves no such buffers: they are constants, in the history as elsewhere
        seen.append((bank.update(step), list(bank.negatives(x)), bank.drawn, bank.ages(step)))
    return seen


def same(a, b):
    return all(x[0] == y[0] and x[2:] == y[2:] and all(map(torch.equal, x[1], y[1])) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_state_goes_through_a_file(tmp_path, dtype):
    network, bank, generator = trained(dtype=dtype)
    torch.save(bank.state_dict(), tmp_path / 'bank.pth')
    start, state = values(network), generator.get_state()
    following = proceed(network, bank, generator, range(8, 30))

    resumed = Mixed()
    with torch.no_grad():
        for name, tensor in [*resumed.named_parameters(), *resumed.named_buffers()]:
            tensor.copy_(start[name])
    other = HistoryBank(resumed, (2, 3, 5), (0.1, 0.2, 0.3), negatives_per_iter=1, seed=99, dtype=dtype)
    other.load_state_dict(torch.load(tmp_path / 'bank.pth', weights_only=True))
    again = proceed(resumed, other, torch.Generator().set_state(state), range(8, 30))
    assert same(following, again)
    assert len({drawn for _, _, drawn, _ in again}) > 1


def test_state_is_complete_and_owns_no_network():
    network, bank, _ = trained()
    names = {name for name, _ in network.named_parameters()} | {'norm.running_mean', 'norm.running_var',
                                                                 'norm.num_batches_tracked', 'table', 'on'}
    expected = {f'copies.{k}.{name}' for k in range(3) for name in names}
    assert set(bank.state_dict()) == expected | {'_extra_state'}


def test_turn_of_the_residual_rule_is_restored():
    network = nn.Conv2d(3, 3, 1)
    bank, other = (HistoryBank(network, refresh='residual_std', num_negatives=3) for _ in range(2))
    images = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    assert [bank.update(step, *images) for step in (1, 2)] == [[0], [1]]
    other.load_state_dict(bank.state_dict())
    assert other.update(3, *images) == [2]


def test_another_rule_starts_afresh():
    network = nn.Conv2d(3, 3, 1)
    bank = HistoryBank(network, (1, 2))
    bank.update(2)
    other = HistoryBank(network, refresh='residual_std', num_negatives=2)
    other.load_state_dict(bank.state_dict())
    assert other.update(3, torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)) == [0]
    assert other.ages(3) == [0, 1]


def test_another_number_of_negatives_is_an_error():
    network = nn.Linear(2, 2)
    saved = HistoryBank(network, (1, 2, 3)).state_dict()
    with pytest.raises(ValueError, match=r'holds 3 negatives.*ask for 2.*update_iter'):
        HistoryBank(network, (1, 2)).load_state_dict(saved)


def test_newer_format_is_an_error():
    bank = HistoryBank(nn.Linear(2, 2), 1)
    saved = bank.state_dict()
    saved['_extra_state'] = {**saved['_extra_state'], 'format': 99}
    with pytest.raises(ValueError, match=r'format 99.*[Uu]pdate'):
        bank.load_state_dict(saved)


def test_another_network_is_an_error():
    with pytest.raises(RuntimeError, match='weight'):
        HistoryBank(nn.Linear(2, 3), 1).load_state_dict(HistoryBank(nn.Linear(2, 2), 1).state_dict())


def test_start_iter_counts_ages_from_there():
    bank = HistoryBank(nn.Linear(2, 2), (3, 100), start_iter=40)
    assert bank.ages(50) == [10, 10]
    bank.update(51)
    assert bank.ages(53) == [2, 13]


@pytest.mark.parametrize(('dtype', 'digits'), [('bfloat16', 8), ('float16', 11)])
def test_low_precision_storage(dtype, digits):
    """The recursion, rounded to so many binary digits at each refresh; one more rounding of its sum is allowed."""
    torch.manual_seed(0)
    network, generator = Mixed(), torch.Generator().manual_seed(5)
    bank = HistoryBank(network, (1, 2), (0.5, 0.1), dtype=dtype)
    stored = getattr(torch, dtype)
    past = [values(copy)['conv.weight'] for copy in bank.copies]
    assert all(weight.dtype == stored for weight in past)
    for step in range(1, 9):
        before = [weight.clone() for weight in past]
        walk(network, generator)
        bank.update(step)
        past = [values(copy)['conv.weight'] for copy in bank.copies]
        for k, (interval, decay) in enumerate([(1, 0.5), (2, 0.1)]):
            exact = before[k].double()
            if step % interval == 0:
                exact = decay * exact + (1 - decay) * network.conv.weight.detach().double()
            size = torch.maximum(before[k].double().abs(), network.conv.weight.detach().double().abs())
            assert ((past[k].double() - exact).abs() <= 2 * size * 2.0**-digits).all()


@pytest.mark.parametrize('dtype', ['bfloat16', torch.float16])
def test_low_precision_runs_at_full_precision(dtype):
    torch.manual_seed(0)
    network, x = Mixed().eval(), torch.rand(1, 3, 8, 8)
    bank = HistoryBank(network, (1, 2), init_noise=0.3, dtype=dtype)
    for copy, output in zip(bank.copies, bank.negatives(x), strict=True):
        reference = Mixed().eval()
        with torch.no_grad():
            for name, tensor in [*reference.named_parameters(), *reference.named_buffers()]:
                tensor.copy_(values(copy)[name])
            expected = reference(x)
        assert output.dtype == torch.float32
        torch.testing.assert_close(output, expected)


def test_low_precision_leaves_buffers_exact():
    network = Mixed()
    network.norm.running_mean.fill_(1 / 3)
    bank = HistoryBank(network, 1, dtype='bfloat16')
    assert torch.equal(bank.copies[0].norm.running_mean, network.norm.running_mean)
    network.norm.running_var.fill_(1 / 7)
    bank.update(1)
    assert torch.equal(bank.copies[0].norm.running_var, network.norm.running_var)


def test_full_precision_is_the_default_and_needs_no_further_network():
    network = nn.Linear(64, 64)
    bank = HistoryBank(network, (1, 2))
    same_asked = HistoryBank(network, (1, 2), dtype='float32', device='cpu')
    for each in (bank, same_asked):
        assert {p.dtype for p in each.copies.parameters()} == {torch.float32}
        assert each._running._shared is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_copies_are_kept_off_the_gpu(dtype):
    network, x = Mixed().cuda().eval(), torch.rand(1, 3, 8, 8, device='cuda')
    on_gpu = HistoryBank(network, (1, 2), (0.1, 0.2), dtype=dtype)
    on_cpu = HistoryBank(network, (1, 2), (0.1, 0.2), dtype=dtype, device='cpu')
    generator = torch.Generator('cuda').manual_seed(1)
    for step in (1, 2, 3):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator, device='cuda')
        on_gpu.update(step)
        on_cpu.update(step)
    assert {t.device.type for t in [*on_cpu.parameters(), *on_cpu.buffers()]} == {'cpu'}
    for a, b in zip(on_gpu.negatives(x), on_cpu.negatives(x), strict=True):
        assert b.device == x.device
        torch.testing.assert_close(a, b, rtol=1e-2 if dtype else 1e-5, atol=1e-2 if dtype else 1e-5)
