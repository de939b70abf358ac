import copy
import gc
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from loss_probes import Operations, Recorded, images
from spn_naive import ELEMENTWISE, POSITIONS, naive_distance

from mcir_plugin.losses import SPNLoss

LAMBDA = 0.3
SHALLOW = {'layer_weights': {'relu1_1': 0.4, 'relu2_1': 0.6}, 'vgg_weights': 'random:0'}


def compare_with_naive(random_vgg, small_net, vgg_type, count, shape=(2, 3, 8, 9), **options):
    """Total loss and the gradient of every parameter of a network, in float64, against the formula."""
    layers, path = random_vgg(vgg_type)
    positions = POSITIONS[vgg_type]
    weights = [0.2, 0.3, 0.5, 0.7][:len(positions)]
    criterion = SPNLoss(LAMBDA, dict(zip(positions, weights, strict=True)), vgg_type, path, **options).double()
    channels = shape[-3]
    lq, gt = (images(*shape, seed=seed).double() for seed in (1, 2))
    with torch.no_grad():
        negatives = [small_net(10 + k, channels)(lq) for k in range(count)]

    network, twin = small_net(0, channels), small_net(0, channels)
    pred = network(lq)
    term, distances = criterion.score(pred, negatives)
    total = F.l1_loss(pred, gt) + term
    total.backward()

    pred = twin(lq)
    expected = [naive_distance(layers, list(positions.values()), weights, pred, negative, **options)
                for negative in negatives]
    (expected_pixel := (pred - gt).abs().mean()).backward(retain_graph=True)
    pixel_only = [parameter.grad.clone() for parameter in twin.parameters()]
    contrast = -LAMBDA * sum(expected) / count
    contrast.backward()

    torch.testing.assert_close(total, expected_pixel + contrast, rtol=1e-6, atol=0)
    torch.testing.assert_close(distances, torch.stack(expected).detach(), rtol=1e-6, atol=0)
    assert term.item() < 0
    for own, other, pixel in zip(network.parameters(), twin.parameters(), pixel_only, strict=True):
        assert (own.grad - other.grad).norm() <= 1e-6 * other.grad.norm()
        assert (own.grad - pixel).norm() > 1e-3 * pixel.norm()  # the term does matter here


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
@pytest.mark.parametrize('count', [1, 4])
@pytest.mark.parametrize('vgg_type', list(POSITIONS))
def test_total_loss_and_gradients_equal_the_formula(vgg_type, count, criterion, reduction, random_vgg, small_net):
    compare_with_naive(random_vgg, small_net, vgg_type, count, criterion=criterion, reduction=reduction)


@pytest.mark.parametrize('use_input_norm', [True, False])
@pytest.mark.parametrize('range_norm', [True, False])
@pytest.mark.parametrize('shape', [(2, 3, 8, 8), (2, 1, 8, 8), (2, 3, 3, 8, 8), (1, 2, 1, 8, 8)])
def test_input_shapes_and_normalisations(shape, range_norm, use_input_norm, random_vgg, small_net):
    compare_with_naive(random_vgg, small_net, 'vgg16', 2, shape, use_input_norm=use_input_norm, range_norm=range_norm)


@pytest.mark.parametrize('differentiable', [True, False])
@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_negatives_are_asked_for_one_at_a_time_and_released(criterion, differentiable):
    loss = SPNLoss(criterion=criterion, **SHALLOW)
    negatives = Recorded(loss, 3)
    gc.disable()  # what dies only with the garbage collector has not been released
    try:
        term = loss(images(1, 3, 8, 8, seed=9).requires_grad_(differentiable), negatives)
    finally:
        gc.enable()
    assert len(negatives.alive) == 3 * (1 + len(SHALLOW['layer_weights']))
    assert term.requires_grad == differentiable


def test_features_of_the_prediction_are_computed_once():
    loss = SPNLoss(**SHALLOW)
    graph = []
    loss.extractor.register_forward_hook(lambda module, inputs, features: graph.append(features[0].requires_grad))
    negatives = [images(1, 3, 8, 8, seed=k).requires_grad_() for k in range(4)]
    loss(images(1, 3, 8, 8).requires_grad_(), negatives).backward()
    assert graph == [True] + 4 * [False]


@pytest.mark.parametrize('criterion', list(ELEMENTWISE))
def test_no_value_is_ever_read(criterion):
    """Reading a value makes the host wait for the accelerator."""
    loss = SPNLoss(criterion=criterion, **SHALLOW)
    pred = images(1, 3, 8, 8).requires_grad_()
    negatives = [images(1, 3, 8, 8, seed=k) for k in (1, 2)]
    with Operations() as operations:
        loss(pred, negatives).backward()
    assert operations.names.count('convolution') == 3 * 3 + 3  # the last ones, transposed, are the backward pass
    assert 'convolution_backward' not in operations.names  # which would have kept every input
    assert not {'_local_scalar_dense', 'item', 'nonzero', 'is_nonzero', 'equal'} & set(operations.names)
    with Operations() as operations:
        pred.mean().item()
    assert '_local_scalar_dense' in operations.names  # this is what it would look like


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_no_synchronisation_and_float32_on_a_gpu():
    loss = SPNLoss(**SHALLOW).cuda()
    pred = images(1, 3, 8, 8).cuda().requires_grad_()
    negatives = [images(1, 3, 8, 8, seed=k).cuda() for k in (1, 2)]
    loss(pred, negatives).backward()  # the first call may set libraries up
    torch.cuda.set_sync_debug_mode('error')
    try:
        with torch.autocast('cuda'):
            term = loss(pred, iter(negatives))
        term.backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert term.dtype == torch.float32
    expected = SPNLoss(**SHALLOW)(pred.detach().cpu(), [negative.cpu() for negative in negatives])
    torch.testing.assert_close(term.detach().cpu(), expected, rtol=1e-2, atol=0)


def test_autocast_does_not_change_the_result():
    loss = SPNLoss(**SHALLOW)
    negatives = [images(1, 3, 8, 8, seed=k) for k in (1, 2)]
    results = []
    for enabled in (True, False):
        pred = images(1, 3, 8, 8).requires_grad_()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            term = loss(pred, negatives)
        term.backward()
        results.append((term, pred.grad))
    assert results[0][0].dtype == torch.float32
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_low_precision_images_and_a_scaled_loss():
    loss = SPNLoss(**SHALLOW)
    low = images(1, 3, 8, 8).bfloat16().requires_grad_()
    term = loss(low, images(1, 3, 8, 8, seed=1).bfloat16())
    assert term.dtype == torch.float32
    full = low.detach().float().requires_grad_()
    (loss(full, images(1, 3, 8, 8, seed=1).bfloat16().float()) * 1024).backward()
    (term * 1024).backward()
    assert low.grad.dtype == torch.bfloat16
    torch.testing.assert_close(low.grad, full.grad.bfloat16())


def test_generator_that_holds_no_grad_does_not_cost_the_gradient():
    def negatives():
        with torch.no_grad():
            yield from [images(1, 3, 8, 8, seed=k) for k in (1, 2)]

    loss = SPNLoss(**SHALLOW)
    first, second = (images(1, 3, 8, 8).requires_grad_() for _ in range(2))
    loss(first, negatives()).backward()
    loss(second, list(negatives())).backward()
    assert first.grad.abs().sum() > 0
    assert torch.equal(first.grad, second.grad)


def test_one_tensor_is_one_negative_and_the_mean_is_over_negatives():
    loss = SPNLoss(LAMBDA, **SHALLOW)
    pred, a, b = (images(2, 3, 8, 8, seed=k) for k in range(3))
    term, distances = loss.score(pred, (a, b))
    assert torch.equal(loss(pred, a), loss(pred, [a]))
    torch.testing.assert_close(term, (loss(pred, a) + loss(pred, b)) / 2)
    torch.testing.assert_close(term, -LAMBDA * distances.mean())
    assert distances.shape == (2,)
    assert not distances.requires_grad


def test_descending_the_term_moves_the_output_away():
    loss = SPNLoss(**SHALLOW)
    pred, negative = images(1, 3, 8, 8).requires_grad_(), images(1, 3, 8, 8, seed=1)
    term, before = loss.score(pred, negative)
    term.backward()
    step = 1e-2 * pred.grad / pred.grad.norm()
    assert loss.score(pred - step, negative)[1] > before > loss.score(pred + step, negative)[1]


def test_weight_can_change_and_zero_is_allowed():
    loss = SPNLoss(**SHALLOW)
    pred, negative = images(1, 3, 8, 8).requires_grad_(), images(1, 3, 8, 8, seed=1)
    first = loss(pred, negative)
    loss.loss_weight = 2e-3
    torch.testing.assert_close(loss(pred, negative), 2 * first)
    loss.loss_weight = 0.
    loss(pred, negative).backward()
    assert pred.grad.abs().max() == 0


def test_evaluation_makes_no_graph():
    loss = SPNLoss(**SHALLOW)
    pred, negative = images(1, 3, 8, 8).requires_grad_(), images(1, 3, 8, 8, seed=1)
    expected = loss(pred, negative)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            term = loss(pred, negative)
        assert not term.requires_grad
        assert torch.equal(term, expected)


def test_gradient_twice_from_one_graph_but_no_second_derivative():
    loss = SPNLoss(**SHALLOW)
    pred = images(1, 3, 8, 8).requires_grad_()
    term = loss(pred, images(1, 3, 8, 8, seed=1))
    first, = torch.autograd.grad(term, pred, retain_graph=True)
    second, = torch.autograd.grad(term, pred, retain_graph=True)
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match='only once'):
        torch.autograd.grad(term, pred, create_graph=True)
    with pytest.raises(RuntimeError, match='only once'):
        torch.autograd.grad(term * term, pred, create_graph=True)


def test_wrong_inputs_are_refused():
    loss = SPNLoss(**SHALLOW)
    pred = images(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r'\(2, 3, 8, 7\), pred \(2, 3, 8, 8\)'):
        loss(pred, [pred, pred[..., :7]])
    for empty in ([], (), iter(())):
        with pytest.raises(ValueError, match='at least one negative'):
            loss(pred, empty)
    with pytest.raises(TypeError, match='pred must be a tensor, received list'):
        loss([pred], pred)
    with pytest.raises(TypeError, match='A negative must be a tensor, received ndarray'):
        loss(pred, [pred.numpy()])
    with pytest.raises(TypeError, match='not iterable'):
        loss(pred, 3)
    with pytest.raises(ValueError, match=r'SPNLoss as configured needs negatives: call it as loss\(pred, negatives\)'):
        loss(pred)


@pytest.mark.parametrize(('options', 'error', 'message'), [
    ({'loss_weight': -1}, ValueError, 'loss_weight is -1'),
    ({'loss_weight': float('nan')}, ValueError, 'loss_weight is nan'),
    ({'loss_weight': '1e-3'}, TypeError, "loss_weight must be a number, received '1e-3'"),
    ({'loss_weight': True}, TypeError, 'loss_weight must be a number, received True'),
    ({'layer_weights': {}}, ValueError, 'no layer is given'),
    ({'layer_weights': ['relu1_1']}, TypeError, 'layer_weights must map'),
    ({'layer_weights': {'relu1_1': 0}}, ValueError, 'above 0'),
    ({'layer_weights': {'relu1_1': -0.5}}, ValueError, 'layer_weights.relu1_1 is -0.5'),
    ({'layer_weights': {'relu1_1': None}}, TypeError, 'layer_weights.relu1_1 must be a number'),
    ({'layer_weights': {'relu1_9': 1}}, ValueError, "vgg16 has no layer 'relu1_9'; choose from conv1_1"),
    ({'vgg_type': 'vgg11'}, ValueError, "vgg11 has no layer 'relu1_2'"),
    ({'vgg_type': 'resnet50'}, ValueError, "vgg_type is 'resnet50'"),
    ({'criterion': 'cosine'}, ValueError, "criterion is 'cosine'"),
    ({'reduction': 'none'}, ValueError, 'one number'),
])
def test_wrong_options_are_refused_by_the_constructor(options, error, message):
    with pytest.raises(error, match=message):
        SPNLoss(**{'vgg_weights': 'random:0', **options})


def test_defaults_are_the_published_configuration():
    defaults = {name: parameter.default for name, parameter in inspect.signature(SPNLoss).parameters.items()}
    assert defaults == {'loss_weight': 1e-3, 'layer_weights': {'relu1_2': 0.2, 'relu2_2': 0.3, 'relu3_3': 0.5},
                        'vgg_type': 'vgg16', 'vgg_weights': None, 'use_input_norm': True, 'range_norm': False,
                        'criterion': 'l1', 'reduction': 'mean', 'form': 'difference', 'gate': None, 'margin': 0.1,
                        'margin_decay_iter': None, 'tau': 2., 'eps': 1e-7, 'extractor': None}


def test_copies_and_state():
    loss = SPNLoss(**SHALLOW)
    other = SPNLoss(layer_weights=SHALLOW['layer_weights'], vgg_weights='random:1')
    pred, negative = images(1, 3, 8, 8), images(1, 3, 8, 8, seed=1)
    expected = loss(pred, negative)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), loss.to('cpu')):
        assert torch.equal(twin(pred, negative), expected)
    assert not torch.equal(other(pred, negative), expected)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(pred, negative), expected)
    assert not list(filter(lambda parameter: parameter.requires_grad, loss.train().parameters()))
    assert loss.double()(pred, negative).dtype == torch.float64


def test_module_imports_no_toolbox():
    code = ('import sys, mcir_plugin.losses; '
            'print([name for name in ("basicsr", "torchvision", "mmengine") if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == '[]'
