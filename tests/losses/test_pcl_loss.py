"""PCL against its formulas; sharpening, blurring and wavelets against other libraries."""
import inspect

import cv2
import numpy as np
import pytest
import torch
from loss_probes import Made, Operations, images, require_on_cpu
from peers_naive import VGG19, Setting, agrees, naive_infonce, naive_ratio
from torchvision.transforms import functional as vision

from mcir_plugin.losses import PCLLoss
from mcir_plugin.losses.augment import blurred, haar_details, sharpened
from mcir_plugin.losses.inputs import like_output

SHALLOW = {'layer_weights': {'relu1_1': 0.4, 'relu2_1': 0.6}, 'vgg_weights': 'random:0'}
ALL = [{'form': form, 'domain': domain, 'criterion': criterion} for form in ('infonce', 'ratio')
       for domain in ('pixel', 'frequency') for criterion in ('cosine', 'l1')]


def make(random_vgg, layers=3, **options):
    """A loss and the same setting for the formulas, without wavelet."""
    vgg, path = random_vgg('vgg19')
    positions = dict(list(VGG19.items())[:layers])
    weights = [0.2, 0.3, 0.7][:layers]
    loss = PCLLoss(0.3, dict(zip(positions, weights, strict=True)), 'vgg19', path, **options).double()
    norms = {name: getattr(loss.extractor, name) for name in ('use_input_norm', 'range_norm')}
    return loss, Setting(vgg, list(positions.values()), weights, options.get('criterion', 'cosine'), **norms)


def scene(shape=(2, 3, 16, 18)):
    return (images(*shape, seed=seed).double() for seed in (90, 91, 92))


def naive_haar(image):
    """The three bands by matrices: rows and columns of averages and differences."""
    image = image.reshape(-1, *image.shape[-3:])
    bands = []
    for vertical, horizontal in (((1, -1), (1, 1)), ((1, 1), (1, -1)), ((1, -1), (1, -1))):
        down, across = (torch.kron(torch.eye(n // 2, dtype=torch.float64), torch.tensor([pair]).double() / 2**0.5)
                        for n, pair in zip(image.shape[-2:], (vertical, horizontal), strict=True))
        bands.append(down @ image @ across.T)
    return torch.cat(bands)


@pytest.mark.parametrize('tau', [1, 0.03])
@pytest.mark.parametrize('range_norm', [False, True])
@pytest.mark.parametrize('options', ALL)
def test_loss_equals_its_formula(options, range_norm, tau, random_vgg):
    own = {'tau': tau} if options['form'] == 'infonce' else {'eps': 0.01 * tau}
    loss, setting = make(random_vgg, 2, **options, **own, range_norm=range_norm, sharpness=(1, 2.5), blur_sigma=0.8,
                         blur_kernel_size=5)
    pred, gt, lq = scene()
    low = -1 if range_norm else 0
    if range_norm:
        pred, gt, lq = (2 * image - 1 for image in (pred, gt, lq))
    negatives = [blurred(gt, 0.8, 5), lq]
    positives = [gt, sharpened(gt, 2.5).clamp(low, 1)]
    bands = {'pixel': lambda image: image,
             'frequency': lambda image: naive_haar(image) / 2 + (0 if range_norm else 0.5)}[options['domain']]

    def naive(p):
        near, far = ([bands(image) for image in group] for group in (positives, negatives))
        if options['form'] == 'infonce':
            return naive_infonce(setting, bands(p), near, far, tau)
        return naive_ratio(setting, bands(p), near, far, 0.01 * tau)

    agrees(loss, pred, naive, gt=gt, lq=lq)


def test_defaults_are_4_positives_and_3_negatives(random_vgg):
    loss, setting = make(random_vgg)
    pred, gt, lq = scene()
    positives = [sharpened(gt, factor).clamp(0, 1) for factor in (1, 1.5, 2, 2.5)]
    agrees(loss, pred, lambda p: naive_infonce(setting, p, positives, [blurred(gt, 1, 11), blurred(gt, 2, 11), lq], 1),
           gt=gt, lq=lq)
    defaults = {name: parameter.default for name, parameter in inspect.signature(PCLLoss).parameters.items()}
    assert defaults == {
        'loss_weight': 0.02, 'layer_weights': dict.fromkeys(('relu1_1', 'relu2_1', 'relu3_1', 'relu4_1'), 0.25),
        'vgg_type': 'vgg19', 'vgg_weights': None, 'use_input_norm': False, 'range_norm': False,
        'criterion': 'cosine', 'form': 'infonce', 'domain': 'pixel', 'sharpness': (1, 1.5, 2, 2.5),
        'blur_sigma': (1, 2), 'blur_kernel_size': 11, 'tau': 1, 'eps': 3e-7, 'extractor': None}
    assert loss.own_images == 7
    clip = [image[:, None].expand(-1, 2, -1, -1, -1) for image in (pred, gt, lq)]
    torch.testing.assert_close(loss(clip[0], gt=clip[1], lq=clip[2]), loss(pred, gt=gt, lq=lq))


@pytest.mark.parametrize('domain', ['pixel', 'frequency'])
def test_small_input_is_enlarged_and_odd_sizes_are_fine(domain):
    loss = PCLLoss(**SHALLOW, domain=domain)
    pred, gt, lq = images(2, 3, 15, 13, seed=1), images(2, 3, 15, 13, seed=2), images(2, 3, 5, 4, seed=3)
    enlarged = like_output(lq, pred).clamp(0, 1)
    assert torch.equal(loss(pred, gt=gt, lq=lq), loss(pred, gt=gt, lq=enlarged))


@pytest.mark.parametrize('factor', [0.5, 1, 1.5, 2.5])
def test_sharpening_is_that_of_torchvision_inside(factor):
    image = images(2, 3, 9, 10) * 0.2 + 0.4  # torchvision clamps
    expected = vision.adjust_sharpness(image, factor)
    torch.testing.assert_close(sharpened(image, factor)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
    assert (sharpened(image, 1) - image).abs().max() < 1e-6


@pytest.mark.parametrize(('sigma', 'size'), [(0.5, 3), (1, 11), (2, 11), (3, 7)])
def test_blur_is_that_of_opencv(sigma, size):
    image = images(1, 3, 14, 9)
    expected = cv2.GaussianBlur(image[0].permute(1, 2, 0).numpy(), (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(blurred(image, sigma, size)[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_wavelet_details():
    image = images(2, 3, 8, 6).double()
    torch.testing.assert_close(haar_details(image), naive_haar(image))
    low = image.unfold(2, 2, 2).unfold(3, 2, 2).sum((-1, -2)) / 2
    torch.testing.assert_close(low.square().sum() + haar_details(image).square().sum(), image.square().sum())
    assert haar_details(torch.ones(1, 3, 8, 8)).abs().max() == 0
    odd = images(1, 1, 5, 7)
    even = torch.cat([odd, odd[..., -1:]], -1)
    even = torch.cat([even, even[..., -1:, :]], -2)
    assert torch.equal(haar_details(odd), haar_details(even))


def test_dead_positions_have_a_gradient_without_nan():
    """All features zero: where no channel responds there is no direction, and nothing may be divided by zero."""
    loss = PCLLoss(**SHALLOW)
    pred = torch.full((1, 3, 8, 8), -5.).requires_grad_()
    loss(pred, gt=images(1, 3, 8, 8), lq=images(1, 3, 8, 8)).backward()
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize('options', ALL)
def test_nothing_is_drawn_read_or_copied(options):
    loss = PCLLoss(**SHALLOW, **options)
    pred, gt, lq = images(1, 3, 16, 16).requires_grad_(), images(1, 3, 16, 16, seed=1), images(1, 3, 8, 8, seed=2)
    state = torch.get_rng_state()
    with Operations() as operations:
        loss(pred, gt=gt, lq=lq).backward()
    assert torch.equal(torch.get_rng_state(), state)
    assert not (operations.READING | operations.COPYING) & set(operations.names)
    assert operations.names.count('convolution') == 3 * 8 + 3  # the last ones, transposed, are the backward pass


def test_memory_does_not_grow_with_the_number_of_images():
    pred, gt = images(1, 3, 16, 16).requires_grad_(), images(1, 3, 16, 16, seed=1)
    peaks = []
    for count in (2, 7):
        loss = PCLLoss(**SHALLOW, sharpness=[1 + k for k in range(count)], blur_sigma=[1 + k for k in range(count)])
        with Made(256) as made:
            loss.extractor.register_forward_hook(made.ask)
            loss(pred, gt=gt, lq=gt)
        assert len(made.alive) == 2 * count + 2
        peaks.append(max(made.alive) - made.alive[0])
    assert peaks[0] == peaks[1] > 0


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('options', ALL)
def test_lower_precision_stays_close(options, dtype):
    require_on_cpu(dtype)
    pred, gt, lq = images(2, 3, 16, 16), images(2, 3, 16, 16, seed=1), images(2, 3, 16, 16, seed=2)
    results = []
    for precision in (torch.float32, dtype):
        loss = PCLLoss(1., **SHALLOW, **options)
        loss.extractor.compute_in(precision)
        leaf = pred.clone().requires_grad_()
        (term := loss(leaf, gt=gt.to(precision), lq=lq)).backward()
        results.append((term.detach(), leaf.grad))
    (exact, gradient), (low, low_gradient) = results
    torch.testing.assert_close(low, exact, rtol=0.02, atol=0)
    assert 0 < (low_gradient - gradient).norm() < 0.25 * gradient.norm()


@pytest.mark.parametrize(('options', 'message'), [
    ({'form': 'hinge'}, "form is 'hinge'; it must be one of infonce, ratio"),
    ({'domain': 'fourier'}, "domain is 'fourier'; it must be one of pixel, frequency"),
    ({'criterion': 'angle'}, "criterion is 'angle'"),
    ({'sharpness': []}, r'sharpness is \[\]'),
    ({'sharpness': (1, 0.5)}, '1 or more'),
    ({'blur_sigma': 0}, r'blur_sigma\[0\] is 0'),
    ({'blur_kernel_size': 4}, 'odd integer'),
    ({'blur_kernel_size': 1}, 'odd integer'),
    ({'tau': 0}, 'tau is 0'), ({'eps': 0}, 'eps is 0'),
])
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        PCLLoss(**{**SHALLOW, **options})


def test_what_is_missing_is_named():
    image = images(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r'PCLLoss as configured needs gt and lq: call it as loss\(pred, gt=gt, lq=lq'):
        PCLLoss(**SHALLOW)(image)
