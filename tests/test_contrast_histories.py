"""The term with other histories: what the parts tell each other in a step. Naive computations are the oracle."""
import pytest
import torch
from torch import nn

from mcir_plugin import ContrastTerm, HistoryBank, SPNLoss
from mcir_plugin.history import Schedule, Uncertainty, Window

LQ = torch.rand(2, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def make_term(schedule=None, window=None, uncertainty=None, **history):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 3, padding=1)).double()
    bank = HistoryBank(net, **{'update_iter': (2, 3, 5), 'init_noise': 0.5, **history})
    loss = SPNLoss(loss_weight=0.3, layer_weights={'relu1_1': 1.0}, vgg_weights='random:0').double()
    return ContrastTerm(bank, loss, schedule, None, window, uncertainty), net


def naive_weight(term, strength):
    """All negatives stacked, standard deviation over them, root of the mean square over channels; no limit."""
    with torch.no_grad():
        stack = torch.stack([past(LQ) for past in term.bank.copies])
    spread = stack.var(0, correction=0).mean(1, keepdim=True).sqrt()
    return 1 + strength * (spread / spread.mean((1, 2, 3), keepdim=True) - 1)


@pytest.mark.parametrize('window', [None, 5])
def test_pixel_weight_is_of_whole_images(window):
    term, net = make_term(uncertainty=Uncertainty(0.6, 100), window=window and Window(window))
    assert term.pixel_weight is None
    pred = net(LQ)
    value = term(pred, LQ, step=1)
    torch.testing.assert_close(term.pixel_weight, naive_weight(term, 0.6), rtol=1e-10, atol=1e-12)
    plain, _ = make_term(window=window and Window(window))
    assert value.item() == plain(pred, LQ, step=1).item()  # the term itself is the same


def test_pixel_weight_follows_warm_up_but_not_the_interval():
    term, net = make_term(Schedule(interval=3, warmup_iter=12), uncertainty=Uncertainty(0.8, 100))
    pred = net(LQ)
    for step, share in ((2, None), (3, 3 / 12), (6, 6 / 12), (7, None), (15, 1)):
        term(pred, LQ, step=step)
        if share is None:
            assert term.pixel_weight is None
        else:
            torch.testing.assert_close(term.pixel_weight, naive_weight(term, 0.8 * share), rtol=1e-10, atol=1e-12)


def test_term_follows_the_learning_rate():
    term, net = make_term(Schedule(shape='lr'))
    pred = net(LQ)
    full = term(pred, LQ, step=1, lr_ratio=1.0).item()
    assert term(pred, LQ, step=2, lr_ratio=0.25).item() == pytest.approx(0.25 * full)
    assert term(pred, LQ, step=3, lr_ratio=0.0) is None
    with pytest.raises(ValueError, match='lr_ratio'):
        term(pred, LQ, step=4)


def test_after_the_end_nothing_runs_and_nothing_is_refreshed():
    term, net = make_term(Schedule(end_iter=4), update_iter=(1, 2))
    calls = []
    for past in term.bank.copies:
        past.register_forward_hook(lambda *_: calls.append(1))
    pred = net(LQ)
    refreshed = []
    for step in range(1, 8):
        acted = term(pred, LQ, step=step) is not None
        assert acted == (step <= 4) == (term.record.term is not None) == bool(term.record.distances)
        refreshed.append(term.update(step))
    assert len(calls) == 8 and refreshed == [[0], [0, 1], [0], [0, 1], [], [], []]


def test_refresh_rule_sees_the_distances_of_the_step():
    rule = {'type': 'diversity', 'window': 2, 'max_iter': 9, 'threshold': 0.99}
    term, net = make_term(update_iter=None, refresh=rule, num_negatives=3)
    pred, sums = net(LQ), 0
    for step in (1, 2):
        term(pred, LQ, step=step)
        sums = sums + torch.stack([term.record.distances[k] for k in range(3)])
        assert term.update(step) == ([0] if step == 2 else [])
    assert term.measured() == {'diversity': pytest.approx((1 - sums.min() / sums.max()).item())}


def test_distances_are_those_of_the_degraded_inputs():
    term, net = make_term(update_iter=None, degrade='noise', num_negatives=4, seed=2)
    again, _ = make_term(update_iter=None, degrade='noise', num_negatives=4, seed=2)
    pred = net(LQ)
    value = term(pred, LQ, step=1)
    features, = term.loss.extractor(pred)
    expected = [(features - term.loss.extractor(negative)[0]).abs().mean() for negative in again.bank.negatives(LQ)]
    assert [term.record.distances[k].item() for k in range(4)] == pytest.approx([d.item() for d in expected])
    assert value.item() == pytest.approx(-0.3 * sum(expected).item() / 4)
    assert term.ages(7) == [7]


def test_fewer_negatives_after_a_resume_leave_no_distances_behind():
    term, net = make_term(update_iter=None, degrade='noise', num_negatives=4)
    term(net(LQ), LQ, step=1)
    fewer, _ = make_term(update_iter=None, degrade='noise', num_negatives=2)
    fewer.load_state_dict(term.state_dict())
    assert set(fewer.record.distances) == {0, 1}


@pytest.mark.parametrize('history', [{'update_iter': 5}, {'negatives_per_iter': 1}])
def test_uncertainty_needs_two_negatives(history):
    with pytest.raises(ValueError, match='only one is made per step'):
        make_term(uncertainty=Uncertainty(), **history)
