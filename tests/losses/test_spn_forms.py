"""Forms of the SPN loss and the gate by ground truth, against their formulas."""
import gc

import pytest
import torch
from loss_probes import Made, Operations, Recorded, images, require_on_cpu
from peers_naive import (
    VGG19,
    Setting,
    agrees,
    naive_difference,
    naive_hinge,
    naive_infonce,
    naive_masks,
    naive_ratio,
)
from spn_naive import ELEMENTWISE

from mcir_plugin.losses import SPNLoss

SHALLOW = {'layer_weights': {'relu1_1': 0.4, 'relu2_1': 0.6}, 'vgg_weights': 'random:0'}
FORMS = ['difference', 'ratio', 'hinge', 'infonce']
ALL = [{'form': form} for form in FORMS] + [{'form': form, 'gate': 'ground_truth'} for form in ('difference', 'hinge')]


def make(random_vgg, layers=3, criterion='l1', reduction='mean', **options):
    """A loss and the same setting for the formulas, without the constants of ImageNet, which are float32."""
    vgg, path = random_vgg('vgg19')
    positions = dict(list(VGG19.items())[:layers])
    weights = [0.2, 0.3, 0.7][:layers]
    loss = SPNLoss(0.3, dict(zip(positions, weights, strict=True)), 'vgg19', path, criterion=criterion,
                   reduction=reduction, use_input_norm=False, **options).double()
    return loss, Setting(vgg, list(positions.values()), weights, criterion, reduction, use_input_norm=False)


def scene(count, shape=(2, 3, 8, 9)):
    """Output, ground truth, and negatives that are nearer and further away from the output."""
    pred, gt = images(*shape, seed=90).double(), images(*shape, seed=91).double()
    return pred, gt, [pred + (0.1 + 0.3 * k) * (images(*shape, seed=k).double() - 0.5) for k in range(count)]


@pytest.mark.parametrize('layers', [1, 3])
@pytest.mark.parametrize('count', [1, 4])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_ratio_and_infonce_equal_their_formulas(criterion, count, layers, random_vgg):
    pred, gt, negatives = scene(count)
    loss, setting = make(random_vgg, layers, criterion, form='ratio', eps=0.01)
    agrees(loss, pred, lambda p: naive_ratio(setting, p, [gt], negatives, 0.01), negatives=negatives, gt=gt)
    for tau in (0.05, 2.):
        loss, setting = make(random_vgg, layers, criterion, form='infonce', tau=tau)
        agrees(loss, pred, lambda p, tau=tau, setting=setting: naive_infonce(setting, p, [gt], negatives, tau),
               negatives=negatives, gt=gt)


@pytest.mark.parametrize('layers', [1, 3])
@pytest.mark.parametrize('count', [1, 4])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_hinge_equals_its_formula_inside_across_and_outside_the_margin(criterion, count, layers, random_vgg):
    pred, _, negatives = scene(count)
    setting = make(random_vgg, layers, criterion)[1]
    near, *_, far = sorted(float(d) for d in naive_difference(setting, pred, negatives)[1] * 2)
    for margin in (0.5 * near, (near + far) / 2 if count > 1 else 1.5 * near, 2 * far):
        loss, setting = make(random_vgg, layers, criterion, form='hinge', margin=margin)
        gradient = agrees(loss, pred, lambda p, m=margin, s=setting: naive_hinge(s, p, negatives, m),
                          negatives=negatives)
        assert (gradient.abs().max() > 0) == (margin > near)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('shape', [(2, 3, 8, 9), (1, 2, 3, 9, 8), (2, 1, 8, 8)])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_gate_weights_elements_by_the_share_of_worse_pixels(criterion, shape, reduction, random_vgg):
    pred, gt, negatives = scene(3, shape)
    height, width = shape[-2:]
    sizes = [(height, width), (height // 2, width // 2), (height // 4, width // 4)]
    masks = [naive_masks(pred, negative, gt, sizes) for negative in negatives]
    assert all(0 < mask[0].mean() < 1 for mask in masks)
    loss, setting = make(random_vgg, 3, criterion, reduction, gate='ground_truth')
    agrees(loss, pred, lambda p: naive_difference(setting, p, negatives, masks), negatives=negatives, gt=gt)
    shares = [float(mask[0].mean()) for mask in masks]
    gated = naive_difference(setting, pred, negatives, masks)[1]
    middle = sorted(float(d) / share for d, share in zip(gated, shares, strict=True))[1]
    loss, setting = make(random_vgg, 3, criterion, reduction, form='hinge', gate='ground_truth', margin=1.01 * middle)
    agrees(loss, pred, lambda p: naive_hinge(setting, p, negatives, 1.01 * middle, masks), negatives=negatives, gt=gt)


def test_gate_leaves_what_is_better_alone():
    """With a receptive field of 3 x 3, the gradient ends one pixel beside the part where the output is worse."""
    loss = SPNLoss(1., {'relu1_1': 1.}, vgg_weights='random:0', gate='ground_truth')
    gt, negative = images(1, 3, 8, 8), images(1, 3, 8, 8) + 0.1
    pred = images(1, 3, 8, 8) + 0.05
    pred[..., :3] += 0.1  # worse than the negative
    pred.requires_grad_()
    loss(pred, negative, gt=gt).backward()
    assert pred.grad[..., :3].abs().min(1)[0].max() > 0
    assert pred.grad[..., 4:].abs().max() == 0
    for form in ({}, {'form': 'hinge', 'margin': 10.}):
        loss = SPNLoss(1., {'relu1_1': 1.}, vgg_weights='random:0', gate='ground_truth', **form)
        better = (images(1, 3, 8, 8) + 0.05).requires_grad_()
        term = loss(better, negative, gt=gt)
        term.backward()
        assert term == 0 and better.grad.abs().max() == 0


def test_a_far_negative_is_not_pushed_where_few_pixels_are_gated():
    """One pixel of 64 is worse than the negative, and far from it: little in the mean over all, but not by itself."""
    gt, negative = torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 0.6)
    pred = gt.clone()
    pred[..., 3, 3] = 5.
    for form, pushed in (('difference', True), ('hinge', False)):
        loss = SPNLoss(1., {'relu1_1': 1.}, vgg_weights='random:0', gate='ground_truth', form=form)
        output = pred.clone().requires_grad_()
        loss(output, negative, gt=gt).backward()
        assert bool(output.grad.abs().max() > 0) == pushed


@pytest.mark.parametrize(('step', 'share'), [(1, 0.99), (50, 0.5), (99, 0.01), (100, 0), (10**6, 0)])
def test_margin_falls_linearly(step, share):
    fixed = SPNLoss(form='hinge', margin=max(1e-9, share * 5.), **SHALLOW)
    falling = SPNLoss(form='hinge', margin=5., margin_decay_iter=100, **SHALLOW)
    pred, negatives = images(1, 3, 8, 8), [images(1, 3, 8, 8, seed=k) for k in (1, 2)]
    torch.testing.assert_close(falling(pred, negatives, step=step), fixed(pred, negatives))
    assert (falling(pred, negatives, step=step) > 0) == (step < 90)


@pytest.mark.parametrize('tau', [1e-4, 1e-2, 1e4])
def test_infonce_neither_overflows_nor_loses_the_nearest(tau, random_vgg):
    """Exponents of thousands: only the nearest negative counts, whenever it comes."""
    pred, gt, negatives = scene(4)
    loss, setting = make(random_vgg, form='infonce', tau=tau)
    for order in (negatives, negatives[::-1], negatives[2:] + negatives[:2]):
        agrees(loss, pred, lambda p, order=order: naive_infonce(setting, p, [gt], order, tau), negatives=order, gt=gt)


@pytest.mark.parametrize('form', FORMS[1:])
def test_bounds(form):
    """Whatever the images: at least 0, a hinge at most its margin; InfoNCE's slope stays below 1 / tau."""
    loss = SPNLoss(1., form=form, **SHALLOW)
    assert loss.lower_bound == 0
    gt = images(1, 3, 8, 8)
    for scale in (0., 1e-3, 1., 30.):
        pred = (gt + scale * (images(1, 3, 8, 8, seed=1) - 0.5)).requires_grad_()
        for negatives in ([gt], [pred.detach()], [images(1, 3, 8, 8, seed=2), 5 * gt]):
            value = loss(pred, negatives, gt=gt)
            assert value >= 0 and torch.isfinite(value)
            assert form != 'hinge' or value <= loss.margin
    assert SPNLoss(**SHALLOW).lower_bound is None


@pytest.mark.parametrize('options', ALL)
def test_negatives_are_asked_for_one_at_a_time_and_released(options):
    loss = SPNLoss(**options, **SHALLOW)
    negatives = Recorded(loss, 3)
    gc.disable()  # what dies only with the garbage collector has not been released
    try:
        loss(images(1, 3, 8, 8, seed=9).requires_grad_(), negatives, gt=images(1, 3, 8, 8, seed=8))
    finally:
        gc.enable()
    assert not negatives.left


@pytest.mark.parametrize('options', ALL)
def test_memory_does_not_grow_with_the_number_of_negatives(options):
    loss = SPNLoss(**options, **SHALLOW)
    pred, gt = images(1, 3, 8, 8, seed=9).requires_grad_(), images(1, 3, 8, 8, seed=8)
    peaks = []
    for count in (2, 7):
        with Made(64) as made:
            loss(pred, made.asking(count, (1, 3, 8, 8)), gt=gt)
        peaks.append(max(made.alive) - made.alive[0])
    assert 0 < peaks[0] == peaks[1]


@pytest.mark.parametrize('options', ALL)
def test_no_value_is_ever_read_and_none_is_copied_from_python(options):
    loss = SPNLoss(**options, **SHALLOW)
    pred = images(1, 3, 8, 8).requires_grad_()
    gt, *negatives = (images(1, 3, 8, 8, seed=k) for k in (1, 2, 3))
    with Operations() as operations:
        loss(pred, negatives, gt=gt, step=1).backward()
    images_seen = len(negatives) + 1 + loss.own_images
    assert operations.names.count('convolution') == 3 * images_seen + 3  # the last ones are the backward pass
    assert not (operations.READING | operations.COPYING) & set(operations.names)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('options', ALL)
def test_lower_precision_stays_close(options, dtype):
    require_on_cpu(dtype)
    options = {**options, **({'margin': 1.} if options['form'] == 'hinge' else {})}
    pred, gt, *negatives = (images(2, 3, 16, 16, seed=k) for k in range(4))
    results = []
    for precision in (torch.float32, dtype):
        loss = SPNLoss(1., **options, **SHALLOW)
        loss.extractor.compute_in(precision)
        leaf = pred.clone().requires_grad_()
        (term := loss(leaf, negatives, gt=gt)).backward()
        results.append((term.detach(), leaf.grad))
    (exact, gradient), (low, low_gradient) = results
    assert low.dtype == low_gradient.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=0.02, atol=1e-3)
    assert 0 < (low_gradient - gradient).norm() < 0.2 * gradient.norm()


@pytest.mark.parametrize('options', ALL)
def test_evaluation_gives_the_value_of_training(options):
    loss = SPNLoss(**options, **SHALLOW)
    pred, gt, negative = (images(1, 3, 8, 8, seed=k) for k in range(3))
    with torch.no_grad():
        value = loss(pred.requires_grad_(), negative, gt=gt)
    assert not value.requires_grad
    assert torch.equal(value, loss(pred, negative, gt=gt))


@pytest.mark.parametrize(('options', 'message'), [
    ({'form': 'triplet'}, "form is 'triplet'; it must be one of difference, ratio, hinge, infonce"),
    ({'gate': 'on'}, "gate is 'on'"),
    ({'gate': 'ground_truth', 'form': 'ratio'}, 'ground_truth with form difference or hinge'),
    ({'margin': 0}, 'margin is 0; it must be above 0'),
    ({'margin_decay_iter': 0}, 'margin_decay_iter is 0'),
    ({'tau': -1}, 'tau is -1'),
    ({'eps': 0.0}, 'eps is 0.0'),
])
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        SPNLoss(vgg_weights='random:0', **options)


def test_what_is_missing_is_named():
    pred = images(1, 3, 8, 8)
    for options in ({'form': 'ratio'}, {'form': 'infonce'}, {'gate': 'ground_truth'}):
        loss = SPNLoss(**options, **SHALLOW)
        with pytest.raises(ValueError, match=r'SPNLoss as configured needs gt: .* loss\(pred, negatives, gt=gt\)'):
            loss(pred, pred)
        with pytest.raises(ValueError, match=r'compares pred with gt, .*\(1, 3, 8, 7\), pred \(1, 3, 8, 8\)'):
            loss(pred, pred, gt=pred[..., :7])
        with pytest.raises(TypeError, match='gt must be a floating point tensor, received ndarray'):
            loss(pred, pred, gt=pred.numpy())
        with pytest.raises(ValueError, match='at least one negative'):
            loss(pred, [], gt=pred)
    with pytest.raises(ValueError, match=r'needs step: call it as loss\(pred, negatives, step=step\)'):
        SPNLoss(form='hinge', margin_decay_iter=5, **SHALLOW)(pred, pred)
