"""CR and CCR against their formulas; the input in the size of the output."""
import gc
import inspect

import cv2
import numpy as np
import pytest
import torch
from loss_probes import Made, Operations, Recorded, images, require_on_cpu
from peers_naive import VGG19, Setting, agrees, naive_ratio, psnr_of_batch
from spn_naive import ELEMENTWISE

from mcir_plugin.losses import CCRLoss, CRLoss
from mcir_plugin.losses.inputs import like_output

SHALLOW = {'layer_weights': {'relu1_1': 0.4, 'relu2_1': 0.6}, 'vgg_weights': 'random:0'}
PUBLISHED = {'layer_weights': {'relu1_1': 1 / 32, 'relu2_1': 1 / 16, 'relu3_1': 1 / 8, 'relu4_1': 1 / 4, 'relu5_1': 1},
             'vgg_type': 'vgg19', 'vgg_weights': None, 'use_input_norm': False, 'range_norm': False,
             'criterion': 'l1', 'eps': 1e-7, 'extractor': None}


def make(cls, random_vgg, layers=3, criterion='l1', **options):
    """A loss and the same setting for the formulas."""
    vgg, path = random_vgg('vgg19')
    positions = dict(list(VGG19.items())[:layers])
    weights = [0.2, 0.3, 0.7][:layers]
    loss = cls(0.3, dict(zip(positions, weights, strict=True)), 'vgg19', path, criterion=criterion, **options).double()
    norms = {name: getattr(loss.extractor, name) for name in ('use_input_norm', 'range_norm')}
    return loss, Setting(vgg, list(positions.values()), weights, criterion, **norms)


def scene(count=0, shape=(2, 3, 8, 9)):
    """Output, ground truth, input, and negatives, some of a higher and some of a lower PSNR than the output."""
    gt, lq, noise = (images(*shape, seed=seed).double() for seed in (91, 92, 93))
    negatives = [gt + (0.1 + 0.2 * k) * (images(*shape, seed=k).double() - 0.5) for k in range(count)]
    return gt + 0.35 * (noise - 0.5), gt, lq, negatives


@pytest.mark.parametrize('eps', [1e-7, 0.1])
@pytest.mark.parametrize('layers', [1, 3])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_cr_equals_its_formula(criterion, layers, eps, random_vgg):
    loss, setting = make(CRLoss, random_vgg, layers, criterion, eps=eps)
    pred, gt, lq, _ = scene()
    agrees(loss, pred, lambda p: naive_ratio(setting, p, [gt], [lq], eps), gt=gt, lq=lq)


@pytest.mark.parametrize('options', [{'use_input_norm': True}, {'range_norm': True}])
@pytest.mark.parametrize('shape', [(2, 3, 8, 8), (2, 1, 8, 8), (1, 2, 3, 8, 8)])
def test_cr_of_other_shapes_and_normalisations(shape, options, random_vgg):
    loss, setting = make(CRLoss, random_vgg, **options)
    pred, gt, lq, _ = scene(shape=shape)
    agrees(loss, pred, lambda p: naive_ratio(setting, p, [gt], [lq], 1e-7), gt=gt, lq=lq)


@pytest.mark.parametrize('lq_weight', [6, 0.5])
@pytest.mark.parametrize('gamma', [0.25, 0.9])
@pytest.mark.parametrize('count', [1, 4])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_ccr_equals_its_formula(criterion, count, gamma, lq_weight, random_vgg):
    loss, setting = make(CCRLoss, random_vgg, criterion=criterion, gamma=gamma, lq_weight=lq_weight)
    pred, gt, lq, negatives = scene(count)
    exceeds = [psnr_of_batch(pred, gt) > psnr_of_batch(negative, gt) for negative in negatives]
    assert count == 1 or {True, False} == set(exceeds)
    shares = [*(1 + gamma if more else 1 - gamma for more in exceeds), lq_weight]

    def naive(p):
        value, each = naive_ratio(setting, p, [gt], [*negatives, lq], 1e-7, shares)
        return value, each[:-1]

    agrees(loss, pred, naive, negatives=negatives, gt=gt, lq=lq)


def test_psnr_is_the_mean_over_the_images_of_the_batch(random_vgg):
    """Errors of 3 and 0.01 per cent against 1 and 1: the higher mean PSNR, but also the higher error of the batch."""
    loss, setting = make(CCRLoss, random_vgg, gamma=0.5, lq_weight=0.1)
    _, gt, lq, _ = scene()
    sizes = torch.tensor([0.03, 0.0001], dtype=torch.float64).view(2, 1, 1, 1)
    pred, negative = gt + sizes * (lq - 0.5).sign(), gt + 0.01
    assert psnr_of_batch(pred, gt) > psnr_of_batch(negative, gt)
    assert (pred - gt).square().mean() > (negative - gt).square().mean()

    def naive(p):  # the output itself as a negative: equal PSNRs do not exceed each other
        value, each = naive_ratio(setting, p, [gt], [negative, pred, lq], 1e-7, [1.5, 0.5, 0.1])
        return value, each[:-1]

    agrees(loss, pred, naive, negatives=[negative, pred], gt=gt, lq=lq)


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_input_of_super_resolution_becomes_as_large_as_the_output(scale):
    lq = images(1, 3, 12, 10)
    enlarged = like_output(lq, torch.empty(1, 3, 12 * scale, 10 * scale))
    picture = lq[0].permute(1, 2, 0).numpy()
    expected = cv2.resize(picture, (10 * scale, 12 * scale), interpolation=cv2.INTER_CUBIC)  # the same a = -0.75
    np.testing.assert_allclose(enlarged[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)
    clip = like_output(lq.expand(2, 5, 3, 12, 10), torch.empty(2, 5, 3, 12 * scale, 10 * scale))
    torch.testing.assert_close(clip[1, 4], enlarged[0])
    assert like_output(lq, lq).data_ptr() == lq.data_ptr()


@pytest.mark.parametrize('cls', [CRLoss, CCRLoss])
def test_loss_brings_the_input_to_the_size_of_the_output(cls):
    loss = cls(**SHALLOW)
    pred, gt, negative = (images(2, 3, 16, 16, seed=k) for k in range(3))
    lq = images(2, 3, 8, 8, seed=9)
    given = {'negatives': [negative], 'gt': gt}
    assert torch.equal(loss(pred, **given, lq=lq), loss(pred, **given, lq=like_output(lq, pred)))
    assert loss(pred, **given, lq=lq) != loss(pred, **given, lq=lq.flip(-1))


@pytest.mark.parametrize(('cls', 'own'), [(CRLoss, {'loss_weight': 0.1}),
                                          (CCRLoss, {'loss_weight': 0.2, 'gamma': 0.25, 'lq_weight': 6})])
def test_defaults_are_published(cls, own):
    defaults = {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}
    assert defaults == {**PUBLISHED, **own}


def test_published_layers_work():
    loss = CRLoss(vgg_weights='random:0')
    assert loss.extractor.min_size == 16
    pred = images(1, 3, 16, 16).requires_grad_()
    loss(pred, gt=images(1, 3, 16, 16, seed=1), lq=images(1, 3, 8, 8, seed=2)).backward()
    assert torch.isfinite(pred.grad).all() and pred.grad.abs().max() > 0


def test_ccr_asks_for_one_negative_at_a_time():
    loss = CCRLoss(**SHALLOW)
    negatives = Recorded(loss, 3)
    gc.disable()
    try:
        loss(images(1, 3, 8, 8, seed=9).requires_grad_(), negatives, gt=images(1, 3, 8, 8), lq=images(1, 3, 8, 8))
    finally:
        gc.enable()
    assert not negatives.left
    peaks = []
    for count in (2, 7):
        with Made(64) as made:
            loss(images(1, 3, 8, 8, seed=9).requires_grad_(), made.asking(count, (1, 3, 8, 8)), gt=images(1, 3, 8, 8),
                 lq=images(1, 3, 8, 8))
        peaks.append(max(made.alive) - made.alive[0])
    assert 0 < peaks[0] == peaks[1]


@pytest.mark.parametrize('cls', [CRLoss, CCRLoss])
def test_no_value_is_ever_read_and_none_is_copied_from_python(cls):
    loss = cls(**SHALLOW)
    pred = images(1, 3, 8, 8).requires_grad_()
    gt, *negatives = (images(1, 3, 8, 8, seed=k) for k in (1, 2, 3))
    with Operations() as operations:
        loss(pred, negatives, gt=gt, lq=images(1, 3, 4, 4)).backward()
    assert not (operations.READING | operations.COPYING) & set(operations.names)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('cls', [CRLoss, CCRLoss])
def test_lower_precision_stays_close(cls, dtype):
    require_on_cpu(dtype)
    pred, gt, lq, *negatives = (images(2, 3, 16, 16, seed=k) for k in range(5))
    results = []
    for precision in (torch.float32, dtype):
        loss = cls(1., **SHALLOW)
        loss.extractor.compute_in(precision)
        leaf = pred.clone().requires_grad_()
        (term := loss(leaf, [n.to(precision) for n in negatives], gt=gt, lq=lq)).backward()
        results.append((term.detach(), leaf.grad))
    (exact, gradient), (low, low_gradient) = results
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=0.02, atol=0)
    assert 0 < (low_gradient - gradient).norm() < 0.2 * gradient.norm()


@pytest.mark.parametrize('cls', [CRLoss, CCRLoss])
def test_wrong_input_is_refused(cls):
    loss = cls(**SHALLOW)
    image = images(2, 3, 8, 8)
    given = {'negatives': image, 'gt': image, 'lq': image}
    for name in loss.needs:
        with pytest.raises(ValueError, match=f'{cls.__name__} as configured needs {name}: call it as .*gt=gt, lq=lq'):
            loss(image, **{**given, name: None})
    for wrong in (image[:1], image[:, :1], image[:, None], image[0]):
        with pytest.raises(ValueError, match='compares pred with lq, .* but for height and width'):
            loss(image, **{**given, 'lq': wrong})
    with pytest.raises(TypeError, match=r'lq must be a floating point tensor, received torch\.uint8'):
        loss(image, **{**given, 'lq': image.byte()})
    with pytest.raises(TypeError, match='pred must be a tensor'):
        loss([image], **given)
    if cls is CCRLoss:
        with pytest.raises(ValueError, match='at least one negative besides lq'):
            loss(image, **{**given, 'negatives': []})
        with pytest.raises(ValueError, match=r'A negative has the shape \(2, 3, 8, 7\)'):
            loss(image, **{**given, 'negatives': [image[..., :7]]})


@pytest.mark.parametrize(('cls', 'options', 'message'), [
    (CRLoss, {'eps': 0}, 'eps is 0'), (CCRLoss, {'gamma': 1}, 'gamma is 1; it must be below 1'),
    (CCRLoss, {'gamma': 0}, 'gamma is 0'), (CCRLoss, {'lq_weight': -2}, 'lq_weight is -2'),
])
def test_wrong_options(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**{**SHALLOW, **options})
