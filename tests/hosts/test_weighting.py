"""Pixel weights for other people's criteria, and the learning rate that a weight may follow."""
import pytest
import torch
from torch import nn

import mcir_plugin  # noqa: F401  (first: it mends the import of basicsr)
from mcir_plugin.hosts.learning_rate import relative_lr
from mcir_plugin.hosts.weighting import WeightError, require_weight, with_weight

SHAPES = [(2, 3, 4, 5), (2, 1, 4, 5), (2, 3, 3, 4, 5), (2, 1, 3, 4, 5)]  # images and videos, one channel, one frame


def losses():
    from basicsr.losses.basic_loss import CharbonnierLoss, L1Loss, MSELoss
    return {'l1': L1Loss(), 'l2': MSELoss(loss_weight=3.0), 'charbonnier': CharbonnierLoss(eps=0.01)}


def weight_of(shape, seed=1):
    weight = torch.rand((*shape[:-3], 1, *shape[-2:]), generator=torch.Generator().manual_seed(seed)).double() + 0.5
    return weight / weight.flatten(1).mean(1).view(-1, *[1] * (len(shape) - 1))


@pytest.mark.parametrize('name', ['l1', 'l2', 'charbonnier'])
@pytest.mark.parametrize('shape', SHAPES)
def test_weighted_mean_of_basicsrs_losses(name, shape):
    pred, gt = torch.rand((2, *shape), generator=torch.Generator().manual_seed(0)).double()
    difference = pred - gt
    error = {'l1': difference.abs(), 'l2': 3 * difference**2, 'charbonnier': (difference**2 + 0.01).sqrt()}[name]
    criterion, weight = losses()[name], weight_of(shape)
    args, kwargs = with_weight(criterion, (pred, gt), {}, weight)
    assert criterion(*args, **kwargs).item() == pytest.approx((weight * error).mean().item(), rel=1e-12)
    args, kwargs = with_weight(criterion, (pred, gt), {}, torch.ones_like(weight))
    assert criterion(*args, **kwargs).item() == pytest.approx(criterion(pred, gt).item(), rel=1e-14)


@pytest.mark.parametrize('as_keyword', [False, True])
def test_a_weight_that_is_given_already_is_kept(as_keyword):
    pred, gt = torch.rand(2, 1, 3, 4, 4)
    mask = torch.zeros(1, 3, 4, 4)
    mask[..., :2] = 1
    criterion, weight = losses()['l1'], weight_of((1, 3, 4, 4)).float()
    given = ((pred, gt), {'weight': mask}) if as_keyword else ((pred, gt, mask), {})
    args, kwargs = with_weight(criterion, *given, weight)
    expected = (mask * weight * (pred - gt).abs()).sum() / (mask * weight).expand_as(pred).sum()
    assert criterion(*args, **kwargs).item() == pytest.approx(expected.item(), rel=1e-6)


def test_criterion_without_a_weight():
    require_weight(losses()['l1'], 'cri_pix', 'option')
    with pytest.raises(WeightError, match='option weights the pixels of cri_pix, but L1Loss takes no weight'):
        require_weight(nn.L1Loss(), 'cri_pix', 'option')


def test_learning_rate_of_the_group_that_trains_the_network():
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)
    net.weight.requires_grad_(False)
    first = torch.optim.SGD([*other.parameters(), net.weight], lr=1.0)  # the weight is not trained
    second = torch.optim.SGD([{'params': [net.weight], 'lr': 5.0}, {'params': [net.bias], 'lr': 0.1}], lr=7.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(second, [1, 2], 0.5)
    found = []
    for _ in range(3):
        found.append(relative_lr([first, second], net))
        second.step()
        scheduler.step()
    assert found == [1, 0.5, 0.25]
    assert relative_lr([first, second], other) == 1
    for group in first.param_groups:
        group['lr'] = 0.3  # without a scheduler there is no initial_lr
    assert relative_lr([first], other) == pytest.approx(0.3)
    with pytest.raises(ValueError, match='No optimizer trains'):
        relative_lr([first], net)


def test_learning_rate_after_a_resume():
    net = nn.Linear(2, 2)
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for _ in range(2)]
    schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5) for optimizer in optimizers]
    optimizers[0].step()
    schedulers[0].step()
    optimizers[1].load_state_dict(optimizers[0].state_dict())
    assert relative_lr([optimizers[1]], net) == relative_lr([optimizers[0]], net) == 0.5
