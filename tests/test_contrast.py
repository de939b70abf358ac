"""The term of one step against a naive computation: one forward per past network, one distance per negative."""
import copy

import pytest
import torch
from torch import nn

from mcir_plugin import ContrastTerm, HistoryBank, SPNLoss
from mcir_plugin.errors import StateError
from mcir_plugin.history import Schedule, Window

LAYERS = {'relu1_1': 0.25, 'relu1_2': 0.75}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 3, 3, padding=1)
                         ).double()


def make_term(net, loss_weight=0.3, schedule=None, max_ratio=None, window=None, **history):
    bank = HistoryBank(net, **{'update_iter': (2, 3, 5), 'seed': 3, **history})
    loss = SPNLoss(loss_weight=loss_weight, layer_weights=LAYERS, vgg_weights='random:0').double()
    return ContrastTerm(bank, loss, schedule, max_ratio, window)


def naive_term(term, past, pred, lq, loss_weight=0.3):
    """-lambda / N * sum_k sum_l w_l * mean |phi_l(pred) - phi_l(past_k(lq))|, straight from the formula."""
    total = 0
    for copy_ in past:
        with torch.no_grad():
            negative = copy_(lq)
        for weight, ours, theirs in zip(LAYERS.values(), term.loss.extractor(pred), term.loss.extractor(negative),
                                        strict=True):
            total = total + weight * (ours - theirs).abs().mean()
    return -loss_weight * total / len(past)


def test_nothing_is_computed_once_the_margin_is_gone():
    net, lq = network(), torch.rand(1, 3, 8, 8, dtype=torch.float64)
    loss = SPNLoss(layer_weights=LAYERS, vgg_weights='random:0', form='hinge', margin=5., margin_decay_iter=4).double()
    term = ContrastTerm(HistoryBank(net, (1, )), loss)
    terms, refreshed = [], []
    for step in range(1, 7):
        terms.append(term(net(lq), lq, step=step))
        refreshed.append(term.update(step))
    assert [value is None for value in terms] == [False] * 3 + [True] * 3 and min(terms[:3]) > 0
    assert [bool(places) for places in refreshed] == [True] * 3 + [False] * 3
    assert term.record.term is None and term.ended(4) and not term.ended(3)


@pytest.mark.parametrize('update_iter', [(2, ), (2, 3, 5, 7)])
def test_total_and_gradients_over_a_training_run(update_iter):
    """Past networks kept by hand and a naive term give the same training, step after step."""
    ours, naive = network(), network()
    term = make_term(ours, update_iter=update_iter, init_noise=0)
    past = [copy.deepcopy(naive).eval() for _ in update_iter]
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.05) for net in (ours, naive)]
    torch.manual_seed(1)
    for step in range(1, 12):
        lq, gt = torch.rand(2, 2, 3, 12, 12, dtype=torch.float64)
        losses = []
        for net, optimizer in zip((ours, naive), optimizers, strict=True):
            pred = net(lq)
            pixel = (pred - gt).abs().mean()
            added = term(pred, lq, step=step) if net is ours else naive_term(term, past, pred, lq)
            optimizer.zero_grad()
            (pixel + added).backward()
            losses.append((pixel + added).item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
        for a, b in zip(ours.parameters(), naive.parameters(), strict=True):
            assert torch.allclose(a.grad, b.grad, rtol=1e-6, atol=1e-12)
        for optimizer in optimizers:
            optimizer.step()
        term.update(step)
        for interval, old in zip(update_iter, past, strict=True):
            if step % interval == 0:
                for a, b in zip(old.parameters(), naive.parameters(), strict=True):
                    a.data = 0.1 * a.data + 0.9 * b.data
                for a, b in zip(old.buffers(), naive.buffers(), strict=True):
                    a.copy_(b)


def test_schedule_multiplies_the_term_and_lets_it_rest():
    net = network()
    term = make_term(net, schedule=Schedule(interval=2, start_iter=2, warmup_iter=4))
    full = make_term(net)
    lq = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    pred = net(lq)
    expected = full(pred, lq, step=1).item()
    values = [term(pred, lq, step=step) for step in range(1, 9)]
    assert [value is None for value in values] == [True, True, True, False, True, False, True, False]
    # interval 2 doubles the weight; warm-up: (4 - 2) / 4, then full
    acting = [value.item() for value in values if value is not None]
    assert acting == pytest.approx([2 * 0.5 * expected, 2 * expected, 2 * expected])


@pytest.mark.parametrize('max_ratio', [0.01, 0.5, 1e6])
def test_max_ratio_bounds_the_gradient_at_the_output(max_ratio):
    """Scaled by what norms of gradients, taken apart and by hand, say; the criterion's gradient stays what it is."""
    net = network()
    lq, gt = torch.rand(2, 1, 3, 8, 8, dtype=torch.float64)
    pred = net(lq).detach().requires_grad_()
    free = make_term(net)(pred, lq, step=1)
    pull, = torch.autograd.grad(free, pred)
    pixel = torch.sign(pred.detach() - gt) / gt.numel()  # the gradient of L1
    scale = min(1, max_ratio * (pixel.norm() / pull.norm()).item())
    term = make_term(net, max_ratio=max_ratio)
    loss = (pred - gt).abs().mean()
    value = term(pred, lq, step=1, reference=loss)
    total, = torch.autograd.grad(loss + value, pred)
    assert value.item() == pytest.approx(free.item() * scale, rel=1e-5)
    assert torch.allclose(total, pixel + scale * pull, rtol=1e-5)
    assert term.record.term.item() == value.item()
    assert term.record.grad_ratio.item() == pytest.approx(min(max_ratio, (pull.norm() / pixel.norm()).item()), rel=1e-5)


def test_without_max_ratio_gradients_are_compared_now_and_then_and_change_nothing():
    net = network()
    lq, gt = torch.rand(2, 1, 3, 8, 8, dtype=torch.float64)
    term, silent = make_term(net), make_term(net)
    measured = []
    for step in range(1, 32):
        pred = net(lq)
        value = term(pred, lq, step=step, reference=(pred - gt).abs().mean())
        assert value.item() == silent(pred, lq, step=step).item() and silent.record.grad_ratio is None
        measured += [step] if term.record.measured else []
    assert measured == [*range(1, 11), 20, 30] and term.record.grad_ratio > 0


def test_max_ratio_needs_the_loss_with_its_graph():
    net = network()
    lq = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    term = make_term(net, max_ratio=0.1)
    for reference in (torch.tensor(0.2), torch.tensor(0.2, requires_grad=True)):
        with pytest.raises(ValueError, match='reference must be'):
            term(net(lq), lq, step=1, reference=reference)


def test_record_names_the_drawn_copies():
    net = network()
    term = make_term(net, negatives_per_iter=1)
    lq = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    seen = {}
    for step in range(1, 20):
        value = term(net(lq), lq, step=step)
        (drawn, ) = term.bank.drawn
        seen[drawn] = -value.item() / 0.3
        assert term.record.distances[drawn].item() == pytest.approx(seen[drawn])
    assert seen.keys() == {0, 1, 2} == set(term.record.distances)


def test_state_restores_everything(tmp_path):
    net = network()
    lq = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    term, other = make_term(net, negatives_per_iter=2), make_term(network(7), negatives_per_iter=2, seed=9)
    term(net(lq), lq, step=1)
    term.update(2)
    torch.save(term.state_dict(), tmp_path / 'term.pth')
    other.load_state_dict(torch.load(tmp_path / 'term.pth', weights_only=True))
    pred = net(lq)
    for step in range(3, 9):
        assert term(pred, lq, step=step).item() == other(pred, lq, step=step).item()
        assert term.bank.drawn == other.bank.drawn
    assert term.bank.ages(9) == other.bank.ages(9)


def test_newer_format_is_refused():
    term = make_term(network())
    with pytest.raises(StateError, match='Update mcir_plugin'):
        term.load_state_dict({**term.state_dict(), 'format': 99})


@pytest.mark.parametrize('max_ratio', [0, -1, float('nan')])
def test_wrong_max_ratio(max_ratio):
    with pytest.raises(ValueError, match='max_ratio'):
        make_term(network(), max_ratio=max_ratio)


@pytest.mark.parametrize(('drawn', 'interval'), [('all', 1), (1, 1), (2, 3)])
def test_forward_passes_are_those_of_the_cost_table(drawn, interval):
    """k forwards of past copies and k + 1 of the extractor in every S-th step, none in the others."""
    net = network()
    term = make_term(net, schedule=Schedule(interval=interval), negatives_per_iter=drawn)
    calls = {'copies': 0, 'extractor': 0}

    def count(name):
        return lambda *_: calls.__setitem__(name, calls[name] + 1)

    for copy_ in term.bank.copies:
        copy_.register_forward_hook(count('copies'))
    term.loss.extractor.register_forward_hook(count('extractor'))
    lq = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    for step in range(1, 13):
        term(net(lq), lq, step=step)
    k, scored = 3 if drawn == 'all' else drawn, 12 // interval
    assert calls == {'copies': k * scored, 'extractor': (k + 1) * scored}


def image_gradient(term, pred, lq, step):
    value = term(pred, lq, step=step)
    return torch.autograd.grad(value, pred)[0]


def test_random_negatives_and_the_interval_keep_the_expected_gradient():
    """All single draws together are the exact gradient; so are S steps of which one acts."""
    net = network()
    lq, pred = torch.rand(2, 2, 3, 10, 10, dtype=torch.float64)
    pred.requires_grad_()
    past = make_term(net).bank.copies
    exact, = torch.autograd.grad(naive_term(make_term(net), past, pred, lq), pred)
    one = make_term(net, negatives_per_iter=1)
    by_copy, counts = {}, {0: 0, 1: 0, 2: 0}
    for step in range(1, 601):
        gradient = image_gradient(one, pred, lq, step)
        (drawn, ) = one.bank.drawn
        assert torch.equal(by_copy.setdefault(drawn, gradient), gradient)
        counts[drawn] += 1
    assert all(abs(count - 200) < 5 * (600 * 1 / 3 * 2 / 3)**0.5 for count in counts.values())
    mean = sum(by_copy.values()) / 3
    assert (mean - exact).norm() < 1e-6 * exact.norm()
    assert (by_copy[0] - exact).norm() > 1e-2 * exact.norm()  # a single draw is not the exact gradient
    lazy = make_term(net, schedule=Schedule(interval=4))
    values = [lazy(pred, lq, step=step) for step in range(1, 9)]
    mean = sum(torch.autograd.grad(value, pred)[0] for value in values if value is not None) / 8
    assert (mean - exact).norm() < 1e-6 * exact.norm()


@pytest.mark.parametrize('size', [5, 8, 64])
def test_window_scores_the_same_part_of_output_and_negatives(size):
    net = network()
    lq = torch.rand(1, 3, 12, 12, dtype=torch.float64)
    term = make_term(net, window=Window(size, seed=4))
    pred = net(lq).detach().requires_grad_()
    seen = set()
    for step in range(1, 6):
        value = term(pred, lq, step=step)
        value.backward()
        (top, left), side = term.window._corner, min(size, 12)
        seen.add((top, left))
        inside = torch.zeros_like(pred)
        inside[..., top:top + side, left:left + side] = 1
        part = pred.detach()[..., top:top + side, left:left + side].requires_grad_()
        past = [torch.nn.Sequential(copy_, Part(top, left, side)) for copy_ in term.bank.copies]
        expected = naive_term(term, past, part, lq)
        assert value.item() == pytest.approx(expected.item(), rel=1e-9)
        gradient, = torch.autograd.grad(expected, part)
        torch.testing.assert_close(pred.grad[inside == 1], gradient.flatten(), rtol=1e-6, atol=1e-15)
        assert pred.grad[inside == 0].abs().sum() == 0
        pred.grad = None
    assert len(seen) > 1 or size == 64


class Part(nn.Module):
    def __init__(self, top, left, side):
        super().__init__()
        self.place = (..., slice(top, top + side), slice(left, left + side))

    def forward(self, x):
        return x[self.place]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_lower_precision_stays_close_and_reaches_both_networks(dtype):
    try:
        with torch.autocast('cpu', dtype):
            nn.Conv2d(3, 3, 3)(torch.rand(1, 3, 4, 4))
    except RuntimeError:
        pytest.skip(f'torch {torch.__version__} has no {dtype} on a CPU')
    net = network().float()
    lq, gt = torch.rand(2, 2, 3, 16, 16)
    results = {}
    for precision in (None, dtype):
        term = make_term(net, precision=precision)
        term.loss.float()
        if precision:
            term.loss.extractor.compute_in(precision)
        pred = net(lq).detach().requires_grad_()
        assert {negative.dtype for negative in term.bank.negatives(lq)} == {precision or torch.float32}
        assert {feature.dtype for feature in term.loss.extractor(pred)} == {precision or torch.float32}
        results[precision] = (value := term(pred, lq, step=1)), torch.autograd.grad(value, pred)[0]
    value, gradient = results[dtype]
    assert value.dtype == gradient.dtype == torch.float32
    assert value.item() == pytest.approx(results[None][0].item(), rel=0.02)
    exact = results[None][1]
    assert 0 < (gradient - exact).norm() < 0.2 * exact.norm()
    assert torch.nn.functional.cosine_similarity(gradient.flatten(), exact.flatten(), dim=0) > 0.98


def test_channels_last_negatives_are_the_same_up_to_rounding():
    net = network()
    lq = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    plain, by_pixel = make_term(net), make_term(net, channels_last=True)
    assert by_pixel.bank.copies[0][0].weight.is_contiguous(memory_format=torch.channels_last)
    outputs = [list(term.bank.negatives(lq)) for term in (plain, by_pixel)]
    for ours, theirs in zip(*outputs, strict=True):
        assert theirs.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    net[0].weight.data += 1
    assert by_pixel.update(30) == [0, 1, 2]
    expected = 0.1 * plain.bank.copies[0][0].weight + 0.9 * net[0].weight
    torch.testing.assert_close(by_pixel.bank.copies[0][0].weight, expected)
