"""Degraded inputs: one past network, N inputs; strengths measured, kernels and sizes against other implementations."""
import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import nn

from mcir_plugin.history import Degrade, HistoryBank
from mcir_plugin.history.degradations import Draws, add_noise, blur, resize, scaled_size


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1))


def pixel_ranges(sigma):
    """Standard deviation of each image's noise, in units of 1/255, from a flat gray batch."""
    noisy = Degrade('noise', noise_sigma=sigma, gray_prob=0, seed=3)(torch.full((400, 3, 24, 24), 0.5))
    return 255 * (noisy - 0.5).flatten(1).std(1)


def test_sigma_is_drawn_uniformly_for_each_image():
    found = pixel_ranges((1.0, 30.0)).numpy()
    # each estimate is off by about 1.7 %; a uniform law on [1, 30] is then met by the Kolmogorov-Smirnov test
    assert stats.kstest(found, stats.uniform(1, 29).cdf).pvalue > 0.01
    assert 0.9 < found.min() < 2.5 and 28 < found.max() < 32


def test_fixed_sigma_and_normal_law():
    image = torch.full((4, 3, 100, 100), 0.5, dtype=torch.float64)
    noise = (add_noise(image, draws(), (12.0, 12.0), 0.0) - 0.5).flatten().numpy()
    assert noise.std() == pytest.approx(12 / 255, rel=0.01) and abs(noise.mean()) < 3 * 12 / 255 / len(noise)**0.5
    assert stats.kstest(noise / (12 / 255), 'norm').pvalue > 0.01
    assert abs(np.corrcoef(noise.reshape(4, 3, -1)[0])[0, 1]) < 0.05  # channels are independent


def test_gray_noise_in_the_asked_share_of_images():
    image = torch.full((600, 3, 4, 4), 0.5)
    noise = add_noise(image, draws(), (20.0, 20.0), 0.25) - 0.5
    gray = (noise[:, 0] == noise[:, 1]).flatten(1).all(1) & (noise[:, 0] == noise[:, 2]).flatten(1).all(1)
    assert abs(gray.sum().item() - 150) < 4 * (600 * 0.25 * 0.75)**0.5
    assert noise[gray].std() == pytest.approx(20 / 255, rel=0.05)
    assert not (noise[~gray][:, 0] == noise[~gray][:, 1]).any()


@pytest.mark.parametrize('sigma', [0.4, 1.0, 2.0])
def test_blur_is_scipys_gaussian(sigma):
    image = torch.rand(2, 3, 19, 23, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    radius = int(np.ceil(3 * sigma))
    found = blur(image, draws(), (sigma, sigma))
    reach = (0, 0, radius, radius)
    expected = ndimage.gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode='nearest', radius=reach)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_blur_draws_both_axes_for_each_image():
    point = torch.zeros(40, 1, 31, 31, dtype=torch.float64)
    point[..., 15, 15] = 1
    spread = blur(point, draws(), (0.5, 2.0))
    place = torch.arange(31, dtype=torch.float64) - 15
    along = [(spread.sum(axis).squeeze(1) * place**2).sum(1).sqrt() for axis in (3, 2)]  # rows, columns
    for sigma in along:
        assert 0.4 < sigma.min() < 0.8 and 1.6 < sigma.max() < 2.0 and sigma.std() > 0.3
    assert (along[0] - along[1]).abs().mean() > 0.2
    torch.testing.assert_close(spread.sum((1, 2, 3)), torch.ones(40, dtype=torch.float64))


def test_resize_draws_factor_and_method():
    image = torch.rand(1, 1, 40, 60)
    sizes, source = [], draws()
    for _ in range(300):
        height, width = scaled_size(image, source, (0.5, 1.5))
        assert abs(height / 40 - width / 60) < 0.03
        sizes.append(height / 40)
    assert stats.kstest(np.array(sizes), stats.uniform(0.5, 1).cdf).statistic < 0.09
    small = {mode: nn.functional.interpolate(image, (23, 37), mode=mode) for mode in ('area', 'bilinear', 'bicubic')}
    met = [next(mode for mode, expected in small.items() if torch.equal(found, expected))
           for found in (resize(image, source, (23, 37)) for _ in range(60))]
    assert {mode: met.count(mode) > 8 for mode in small} == dict.fromkeys(small, True)


@pytest.mark.parametrize('kind', ['noise', 'blur', 'resize', 'mix'])
@pytest.mark.parametrize('shape', [(2, 3, 16, 18), (2, 4, 3, 9, 7), (1, 1, 5, 5)])
def test_shape_range_and_change(kind, shape):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    before = image.clone()
    found = Degrade(kind, seed=2)(image)
    assert found.shape == image.shape and found.dtype == image.dtype and torch.equal(image, before)
    assert found.min() >= 0 and found.max() <= 1 and not torch.equal(found, image)


def test_clipping_can_be_switched_off():
    image = torch.zeros(1, 3, 16, 16)
    assert Degrade('noise', clip=False)(image).min() < 0 <= Degrade('noise')(image).min()


def test_mix_does_all_three():
    """On a flat image only noise shows; on a step edge without noise, only blur and resizing."""
    flat = Degrade('mix', noise_sigma=(20, 20), gray_prob=0, scale=(1, 1))(torch.full((1, 3, 64, 64), 0.5))
    assert flat.std() == pytest.approx(20 / 255, rel=0.05)
    edge = torch.zeros(1, 1, 16, 64)
    edge[..., 29:] = 1
    quiet = {'noise_sigma': (0, 1e-9)}
    for strengths in ({'blur_sigma': (2, 2), 'scale': (1, 1)}, {'blur_sigma': (1e-3, 1e-3), 'scale': (0.6, 0.6)}):
        softened = (Degrade('mix', **quiet, **strengths)(edge) - edge).abs()[0, 0, 8]
        assert softened[27:31].max() > 0.1 and softened[:20].max() < 1e-3


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Conv2d(3, 3, 3, padding=1)


def test_one_past_network_makes_all_negatives():
    bank = HistoryBank(network(), degrade='noise', seed=4)
    assert len(bank.copies) == 1 and bank.num_negatives == 5 and bank.refresh.update_iter == (1000, )
    seen = []
    bank.copies[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    lq = torch.rand(2, 3, 8, 8)
    negatives = list(bank.negatives(lq))
    assert bank.drawn == (0, 1, 2, 3, 4) and len(seen) == 5
    assert torch.equal(seen[0], lq)
    for i, (image, negative) in enumerate(zip(seen, negatives, strict=True)):
        with torch.no_grad():
            torch.testing.assert_close(negative, nn.functional.conv2d(image, bank.copies[0].weight, bank.copies[0].bias,
                                                                      padding=1))
        if i:
            distance = (image - lq).flatten(1).std(1)
            assert (distance > 0.5 / 255).all() and (distance < 31 / 255).all()
            assert not any(torch.equal(image, other) for other in seen[:i])


def test_the_past_network_is_refreshed_as_any():
    net = network().double()
    bank = HistoryBank(net, 2, 0.25, init_noise=0, degrade={'type': 'blur'}, num_negatives=3)
    start = bank.copies[0].weight.clone()
    nn.init.constant_(net.weight, 2.0)
    assert [bank.update(step) for step in (1, 2)] == [[], [0]]
    torch.testing.assert_close(bank.copies[0].weight, 0.25 * start + 0.75 * 2)
    assert bank.ages(5) == [3]


def test_state_continues_and_global_random_state_is_left_alone():
    lq = torch.rand(1, 3, 8, 8)
    bank = HistoryBank(network(), degrade='mix', seed=1)
    other = HistoryBank(network(), degrade='mix', seed=99)
    list(bank.negatives(lq))
    other.load_state_dict(bank.state_dict())
    before = torch.get_rng_state()
    first, second = list(bank.negatives(lq)), list(other.negatives(lq))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, first, second))
    assert not any(map(torch.equal, first[1:], list(bank.negatives(lq))[1:]))  # every step draws anew


def test_image_is_found_among_the_arguments_of_the_network():
    degrade, image, flow = Degrade('noise', with_input=False), torch.rand(1, 3, 8, 8), torch.rand(1, 2)
    args, kwargs = degrade.inputs(0, (flow, image), {'scale': 2})
    assert args[0] is flow and kwargs == {'scale': 2} and not torch.equal(args[1], image)
    args, kwargs = degrade.inputs(0, (), {'flow': flow, 'lq': image})
    assert args == () and kwargs['flow'] is flow and not torch.equal(kwargs['lq'], image)
    with pytest.raises(ValueError, match='no image among the inputs'):
        degrade.inputs(0, (flow, ), {})


def test_autocast_does_not_lower_the_precision_of_a_blur():
    image = torch.rand(1, 3, 16, 16)
    with torch.autocast('cpu', torch.bfloat16):
        found = Degrade('blur', seed=5)(image)
    assert torch.equal(found, Degrade('blur', seed=5)(image)) and found.dtype == torch.float32


@pytest.mark.parametrize(('options', 'said'), [
    ({'degrade': 'rain'}, 'degrade must be one of noise, blur, resize, mix'),
    ({'degrade': 'noise', 'num_negatives': 1}, 'at least 2'),
    ({'degrade': {'type': 'noise', 'noise_sigma': (30, 1)}}, 'noise_sigma'),
    ({'degrade': {'type': 'blur', 'blur_sigma': (0, 1)}}, 'blur_sigma'),
    ({'degrade': {'type': 'noise', 'gray_prob': 2}}, 'gray_prob'),
    ({'degrade': 'noise', 'update_iter': (5, 6)}, 'one past copy; received 2'),
    ({'degrade': 'noise', 'negatives_per_iter': 2}, 'smaller num_negatives'),
    ({'degrade': 'noise', 'refresh': 'diversity'}, 'at least 2'),
])
def test_constructor_names_the_option(options, said):
    with pytest.raises(ValueError, match=said):
        HistoryBank(network(), **options)


def test_unknown_strength():
    with pytest.raises(TypeError, match='sigma_noise'):
        Degrade('noise', sigma_noise=(1, 2))
