"""PSNRLoss and SSIMLoss against other formulations, in float64."""
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mcir_plugin.config import ConfigError
from mcir_plugin.losses import PSNRLoss, SSIMLoss, psnr_loss


def pair(shape=(3, 3, 24, 31), noise=0.1, seed=0):
    """Smooth images in [0, 1] and noisy ones, float64."""
    rng = np.random.default_rng(seed)
    target = np.stack([correlate(rng.random(shape[1:]), np.ones((1, 5, 5)) / 25) for _ in range(shape[0])])
    target = (target - target.min()) / np.ptp(target)
    pred = np.clip(target + noise * np.linspace(0.5, 2, shape[0])[:, None, None, None] * rng.normal(size=shape), 0, 1)
    return torch.from_numpy(pred), torch.from_numpy(target)


def padded_ssim(pred, target):
    """SSIM of two (H, W) arrays by the definition: a full 2-D Gaussian kernel over images surrounded by zeros."""
    line = [math.exp(-0.5 * ((i - 5) / 1.5)**2) for i in range(11)]
    kernel = np.outer(line, line)
    kernel /= kernel.sum()

    def mean(image):
        return correlate(image, kernel, mode='constant', cval=0)

    mx, my = mean(pred), mean(target)
    vx, vy, cov = mean(pred**2) - mx**2, mean(target**2) - my**2, mean(pred * target) - mx * my
    return (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('weight', [1.0, 0.25])
def test_psnr_loss_is_minus_the_psnr(weight, reduction):
    pred, target = pair()
    decibels = [peak_signal_noise_ratio(t.numpy(), p.numpy(), data_range=1)
                for p, t in zip(pred, target, strict=True)]
    expected = -weight * (np.mean(decibels) if reduction == 'mean' else np.sum(decibels))
    assert PSNRLoss(weight, reduction)(pred, target).item() == pytest.approx(expected, abs=1e-4)


def test_psnr_loss_averages_decibels_not_errors():
    pred, target = torch.zeros(2, 3, 4, 4).double(), torch.zeros(2, 3, 4, 4).double()
    pred[0], pred[1] = 0.1, 0.01
    assert psnr_loss(pred, target).item() == pytest.approx(-(20 + 40) / 2, abs=1e-3)


def test_psnr_loss_of_equal_images_is_finite():
    pred = torch.rand(1, 3, 4, 4).requires_grad_()
    loss = psnr_loss(pred, pred.detach())
    loss.backward()
    assert loss.item() == pytest.approx(-80) and pred.grad.abs().max() == 0


def test_psnr_loss_takes_clips():
    pred, target = pair((2, 15, 12, 12))
    assert psnr_loss(pred.view(2, 5, 3, 12, 12), target.view(2, 5, 3, 12, 12)) == psnr_loss(pred, target)


@pytest.mark.parametrize('shape', [(3, 3, 24, 31), (1, 1, 11, 11), (2, 3, 40, 12)])
def test_ssim_loss_is_minus_the_zero_padded_ssim(shape):
    pred, target = pair(shape)
    expected = -np.mean([padded_ssim(p, t) for p, t in zip(pred.flatten(0, 1).numpy(), target.flatten(0, 1).numpy(),
                                                         strict=True)])
    assert SSIMLoss()(pred, target).item() == pytest.approx(expected, abs=1e-12)
    assert SSIMLoss(0.5)(pred, target).item() == pytest.approx(0.5 * expected, abs=1e-12)


def test_the_definition_above_is_skimages_away_from_the_border():
    pred, target = pair((1, 3, 30, 30))
    full = np.stack([padded_ssim(p, t) for p, t in zip(pred[0].numpy(), target[0].numpy(), strict=True)])
    reference = structural_similarity(pred[0].numpy(), target[0].numpy(), data_range=1, channel_axis=0, sigma=1.5,
                                      gaussian_weights=True, use_sample_covariance=False)
    assert full[:, 5:-5, 5:-5].mean() == pytest.approx(reference, abs=1e-12)


def test_ssim_loss_with_l1():
    pred, target = pair()
    expected = 2 * (0.3 * (pred - target).abs().mean() + SSIMLoss()(pred, target))
    torch.testing.assert_close(SSIMLoss(2.0, l1_weight=0.3)(pred, target), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize('criterion', [PSNRLoss(0.7), SSIMLoss(0.7), SSIMLoss(0.7, l1_weight=0.5)],
                         ids=['psnr', 'ssim', 'ssim-l1'])
def test_gradients(criterion):
    pred, target = pair((2, 2, 12, 13))
    assert torch.autograd.gradcheck(lambda x: criterion(x, target), pred.requires_grad_(), atol=1e-6)


def distance_after(criterion, steps=300):
    """Start far away from the target, as a run that diverged does, and descend; return the mean distance at the end."""
    target = pair((1, 3, 24, 24))[1].float()
    pred = (10 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    optimizer = torch.optim.SGD([pred], lr=500.)
    for _ in range(steps):
        optimizer.zero_grad()
        criterion(pred, target).backward()
        optimizer.step()
    return (pred - target).abs().mean().item()


def test_l1_leads_out_of_the_region_where_ssim_is_flat():
    """The reason for ``l1_weight``: -SSIM alone stays where it is."""
    assert distance_after(SSIMLoss()) > 7
    assert distance_after(SSIMLoss(l1_weight=0.5)) < 0.5


@pytest.mark.parametrize(('make', 'said'), [
    (lambda: PSNRLoss(reduction='none'), "'none'.*mean, sum"), (lambda: SSIMLoss(l1_weight=-1), '-1.*0 or more'),
    (lambda: SSIMLoss(l1_weight=float('nan')), 'nan'),
])
def test_wrong_options_are_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


@pytest.mark.parametrize('criterion', [PSNRLoss(), SSIMLoss()])
def test_shapes_that_would_be_broadcast_are_refused(criterion):
    with pytest.raises(ValueError, match=r'\(2, 3, 16, 16\).*\(2, 1, 16, 16\)'):
        criterion(torch.zeros(2, 3, 16, 16), torch.zeros(2, 1, 16, 16))


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(ValueError, match='11x11.*10x20'):
        SSIMLoss()(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))
