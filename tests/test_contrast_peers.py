"""The term of one step with losses that read ground truth or input, with and without a history."""
import pytest
import torch
from torch import nn

from mcir_plugin import ContrastTerm, HistoryBank
from mcir_plugin.errors import StateError
from mcir_plugin.history import Schedule, Window
from mcir_plugin.losses import CCRLoss, CRLoss, PCLLoss, SPNLoss
from mcir_plugin.losses.inputs import like_output

TINY = {'layer_weights': {'relu1_1': 0.25, 'relu1_2': 0.75}, 'vgg_weights': 'random:0'}


def network(seed=0):
    """Enlarges images twice."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2)).double()


def make(loss, net=None, **options):
    bank = HistoryBank(net, update_iter=(2, 3), seed=3) if 'negatives' in loss.needs else None
    return ContrastTerm(bank, loss.double(), **options)


@pytest.fixture
def batch():
    lq = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gt = torch.rand(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return lq, gt


@pytest.mark.parametrize('loss', [CRLoss, CCRLoss, PCLLoss, lambda **o: SPNLoss(form='ratio', **o),
                                  lambda **o: SPNLoss(gate='ground_truth', **o)])
def test_loss_gets_ground_truth_and_the_input_of_the_network(loss, batch):
    lq, gt = batch
    net = network()
    term = make(loss(**TINY), net)
    pred = net(lq)
    past = None if term.bank is None else list(term.bank.negatives(lq))
    expected, distances = term.loss.score(pred, past, gt=gt, lq=lq)
    assert term(pred, lq, step=1, gt=gt).item() == pytest.approx(expected.item(), rel=1e-12)
    assert term(pred, step=1, gt=gt, x=lq).item() == pytest.approx(expected.item(), rel=1e-12) if past is None else True
    assert term.record.distances.keys() == set(range(len(distances)))
    torch.testing.assert_close(torch.stack(list(term.record.distances.values())), distances)


@pytest.mark.parametrize('size', [5, 8])
@pytest.mark.parametrize('loss', [CRLoss, CCRLoss])
def test_window_is_the_same_in_all_images(loss, size, batch):
    lq, gt = batch
    net = network()
    term = make(loss(**TINY), net, window=Window(size, seed=4))
    pred = net(lq)
    large = like_output(lq, pred)
    corners = set()
    for step in range(1, 6):
        value = term(pred, lq, step=step, gt=gt)
        corners.add(term.window._corner)
        top, left = term.window._corner
        part = (..., slice(top, top + size), slice(left, left + size))
        past = None if term.bank is None else [image[part] for image in term.bank.negatives(lq)]
        expected = term.loss(pred[part], past, gt=gt[part], lq=large[part])
        assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    assert len(corners) > 1


def test_margin_follows_the_iteration(batch):
    lq, gt = batch
    net = network()
    term = make(SPNLoss(form='hinge', margin=100., margin_decay_iter=10, **TINY), net)
    values = [term(net(lq), lq, step=step).item() for step in (1, 2, 3)]
    assert values[0] - values[1] == pytest.approx(1e-3 * 10) and values[1] - values[2] == pytest.approx(1e-3 * 10)


def test_schedule_bound_and_state_without_a_history(batch, tmp_path):
    lq, gt = batch
    net = network()
    term = make(CRLoss(**TINY), schedule=Schedule(interval=2, start_iter=2), max_ratio=0.01, window=Window(8))
    assert [term(net(lq), lq, step=step, gt=gt) is None for step in (1, 2, 3, 4)] == [True, True, True, False]
    pred = net(lq)
    bounded = term(pred, lq, step=4, gt=gt, reference=(pred - gt).abs().mean())
    pull, = torch.autograd.grad(bounded, pred)
    assert pull.norm().item() == pytest.approx(0.01 / pred.numel()**0.5, rel=1e-5)  # of the gradient of L1
    assert (term.num_negatives, term.ages(4), term.update(4)) == (0, [], [])
    torch.save(term.state_dict(), tmp_path / 'term.pth')
    other = make(CRLoss(**TINY), window=Window(8, seed=9))
    other.load_state_dict(torch.load(tmp_path / 'term.pth', weights_only=True))
    assert torch.equal(other.window.get_state(), term.window.get_state())
    assert other.record.distances == term.record.distances
    assert not other.restarts(None, 5)


def test_states_with_and_without_a_history(batch):
    net = network()
    without, with_history = make(CRLoss(**TINY)), make(CCRLoss(**TINY), net)
    without.load_state_dict(with_history.state_dict())
    with pytest.raises(StateError, match='without a history'):
        with_history.load_state_dict(without.state_dict())
    assert with_history.restarts(without.state_dict(), 7) and with_history.restarts(None, 7)
    assert with_history.ages(9) == [2, 2]
    assert not with_history.restarts(with_history.state_dict(), 100) and with_history.ages(9) == [2, 2]


def test_a_history_has_to_fit_the_loss(batch):
    lq, gt = batch
    net = network()
    with pytest.raises(ValueError, match='CCRLoss needs a history: bank must not be None'):
        ContrastTerm(None, CCRLoss(**TINY))
    with pytest.raises(ValueError, match='CRLoss reads no history: bank must be None'):
        ContrastTerm(HistoryBank(net), CRLoss(**TINY))
    with pytest.raises(ValueError, match='CRLoss as configured needs gt'):
        make(CRLoss(**TINY))(net(lq), lq, step=1)
    with pytest.raises(ValueError, match='compares pred with lq'):
        make(CRLoss(**TINY))(net(lq), lq[:1], step=1, gt=gt)
    with pytest.raises(ValueError, match='compares pred with lq'):
        make(CRLoss(**TINY), window=Window(4))(net(lq), lq[0], step=1, gt=gt)


def test_what_a_loss_does_not_read_is_left_alone(batch):
    """A criterion's target may be anything, as long as nobody asks for it."""
    lq, _ = batch
    net = network()
    term = make(SPNLoss(**TINY), net, window=Window(4))
    assert term(net(lq), lq, step=1, gt=('no', 'image')) < 0
