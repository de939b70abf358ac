"""FFANet against the recorded outputs and keys of the published network."""
from __future__ import annotations

import pytest
import torch
from arch_behaviour import (
    assert_autocasts,
    assert_compiles,
    assert_copies_are_independent,
    assert_no_random_numbers,
    random_images,
    seeded,
)
from arch_checks import (
    assert_default_initialisation,
    assert_every_parameter_learns,
    assert_layouts_and_batches,
    assert_recorded_spread,
)
from arch_facts import assert_same_layout, assert_same_outputs, load, names, on_meta
from torch import Tensor

from mcir_plugin.archs import ArchError, FFANet

MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.64, 0.60, 0.58), (0.14, 0.15, 0.152)))


@pytest.fixture
def tiny() -> FFANet:
    return seeded(FFANet, blocks=1)


def image_of_rounded(x: Tensor) -> Tensor:
    """An image whose normalised version is the float32 one that the record was made from, exactly."""
    normalised = (x.float() - MEAN) / STD
    return (normalised.double() * STD.double() + MEAN.double()).to(x.dtype)


@pytest.mark.parametrize('name', names('ffanet'))
def test_keys_shapes_and_parameters(name):
    facts = load(name)
    assert_same_layout(on_meta(FFANet, **facts.kwargs), facts)


@pytest.mark.parametrize('name', names('ffanet'))
def test_outputs_for_images_in_the_unit_range(name):
    facts = load(name)
    assert_same_outputs(FFANet(**facts.kwargs), facts)


def test_outputs_are_exact_where_the_normalised_image_is():
    facts = load('ffanet_gps3_b2')
    assert_same_outputs(FFANet(**facts.kwargs), facts, image_of_rounded, tolerances={torch.float64: 1e-12})


def test_normalisation_is_not_saved_but_moves_with_the_network(tiny):
    assert not {'mean', 'std'} & set(tiny.state_dict())
    assert tiny.mean.dtype == torch.float64
    assert tiny.to('meta').std.device.type == 'meta'


def test_untrained_tensors_are_those_of_pytorch():
    network = seeded(FFANet, blocks=2)
    assert_default_initialisation(network)
    assert_recorded_spread(network, load('ffanet_gps3_b2'))


def test_every_parameter_learns(tiny):
    assert_every_parameter_learns(tiny, random_images(2, 3, 12, 10))


def test_layouts_and_copies(tiny):
    x = random_images(2, 3, 9, 14)
    assert_layouts_and_batches(tiny, x)
    assert_copies_are_independent(tiny, x)
    assert_no_random_numbers(tiny, x)


def test_precision_and_compilation(tiny):
    x = random_images(1, 3, 9, 14)
    assert_compiles(tiny, x)
    assert_autocasts(tiny, x)


@pytest.mark.parametrize('height, width', [(1, 1), (1, 5), (3, 2), (17, 31)])
def test_any_size_is_taken(tiny, height, width):
    x = random_images(1, 3, height, width)
    assert tiny(x).shape == x.shape


def test_nothing_is_clamped(tiny):
    output = tiny(random_images(1, 3, 16, 16))
    assert output.min() < -1 and output.max() > 1  # an untrained network returns about the normalised image


@pytest.mark.parametrize('arguments, message', [
    ({'gps': 2}, 'gps must be 3, received 2'),
    ({'blocks': 0}, 'blocks must be an integer >= 1, received 0'),
    ({'blocks': 1.5}, 'blocks must be an integer >= 1, received 1.5'),
    ({'blocks': True}, 'received True'),
])
def test_wrong_arguments(arguments, message):
    with pytest.raises(ArchError, match=message):
        FFANet(**arguments)


@pytest.mark.parametrize('shape', [(1, 1, 8, 8), (3, 8, 8), (1, 4, 8, 8)])
def test_wrong_images(tiny, shape):
    with pytest.raises(ArchError, match=r'FFANet takes images of shape \(N, 3, H, W\), received'):
        tiny(torch.rand(shape))
