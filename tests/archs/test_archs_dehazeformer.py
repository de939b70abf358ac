"""DehazeFormer against the records of the published network."""
import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from arch_behaviour import (
    assert_autocasts,
    assert_compiles,
    assert_copies_are_independent,
    assert_no_random_numbers,
    gradients,
    random_images,
    seeded,
)
from arch_checks import assert_layouts_and_batches
from arch_facts import assert_same_layout, assert_same_outputs, fill, load, names, on_meta

from mcir_plugin.archs import ArchError, DehazeFormer
from mcir_plugin.metrics.ssim import gaussian_window, plane_mean, ssim_map

SMALL = {'embed_dims': [8, 16, 24, 16, 8], 'depths': [1, 2, 2, 1, 1]}
ARGUMENTS = ('embed_dims', 'mlp_ratios', 'depths', 'num_heads', 'attn_ratio', 'conv_type')
VARIANT_L = dict(zip(ARGUMENTS, ([48, 96, 192, 96, 48], [2, 4, 4, 2, 2], [16, 16, 16, 12, 12], [2, 4, 6, 1, 1],
                                 [.25, .5, .75, 0, 0], ['Conv'] * 5), strict=True))
SHARED = Path(os.environ.get('MCIR_SHARED', Path(__file__).parents[3] / 'shared'))
WEIGHTS = SHARED / 'weights' / 'dehazeformer_t_indoor.pth'


@pytest.fixture(scope='module')
def small():
    return seeded(DehazeFormer, **SMALL).eval()


@pytest.mark.parametrize('name', names('dehazeformer'))
def test_published_keys_shapes_and_counts(name):
    assert_same_layout(on_meta(DehazeFormer, variant=name[-1].upper()), load(name))


@pytest.mark.parametrize('variant', ['T', 'M'])
def test_published_outputs(variant):
    facts = load(f'dehazeformer_{variant.lower()}')
    assert_same_outputs(DehazeFormer(variant), facts, to_published=lambda y: y * 2 - 1)


def test_default_is_t_and_lists_replace_those_of_the_variant():
    assert_same_layout(on_meta(DehazeFormer), load('dehazeformer_t'))
    assert_same_layout(on_meta(DehazeFormer, **VARIANT_L), load('dehazeformer_l'))
    deeper = on_meta(DehazeFormer, variant='S', depths=[16, 16, 16, 8, 8])
    assert_same_layout(deeper, load('dehazeformer_b'))


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'variant': 'X'}, "variant: received 'X', must be one of T, S, B, D, W, M, L"),
    ({'variant': 't'}, 'did you mean T'),
    ({'variant': ['T']}, r"variant: received \['T'\]"),
    ({'depths': [4, 4, 4, 2]}, r'depths: received \[4, 4, 4, 2\], must be a list of 5 .* integer >= 1. These are 4'),
    ({'depths': 4}, 'depths: received 4, must be a list of 5'),
    ({'depths': [4, 4, 0, 2, 2]}, r'depths\[2\]: received 0, must be an integer >= 1'),
    ({'attn_ratio': [0, 0.5, 1.5, 0, 0]}, r'attn_ratio\[2\]: received 1.5, must be a number >= 0 and <= 1'),
    ({'conv_type': ['DWConv'] * 4 + ['Dwconv']}, r"conv_type\[4\].*'Dwconv'.*did you mean DWConv"),
    ({'embed_dims': [24, 48, 96, 24, 48]}, r'embed_dims: .* write \[24, 48, 96, 48, 24\]'),
    ({'num_heads': [2, 5, 6, 1, 1]}, r'num_heads\[1\]: received 5, must divide embed_dims\[1\], which is 48'),
])
def test_arguments_that_are_refused(arguments, message):
    with pytest.raises(ArchError, match=message):
        DehazeFormer(**arguments)


def test_heads_do_not_matter_without_attention():
    on_meta(DehazeFormer, num_heads=[5, 4, 6, 7, 9])


def test_other_shapes_are_refused(small):
    with pytest.raises(ArchError, match=r'DehazeFormer takes .* received \(1, 1, 32, 32\)'):
        small(torch.zeros(1, 1, 32, 32))


@pytest.mark.parametrize(('height', 'width'), [(25, 26), (27, 40), (33, 28)])
def test_from_25_pixels_on_the_padding_is_only_to_multiples_of_4(small, height, width):
    x = random_images(2, 3, height, width)
    padded = F.pad(x, (0, -width % 4, 0, -height % 4), 'reflect')
    with torch.no_grad():
        assert torch.equal(small(x), small(padded)[..., :height, :width])


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (2, 3), (24, 24), (9, 50), (31, 1)])
def test_short_sides_are_reflected_up_to_28_pixels(small, height, width):
    x = random_images(1, 3, height, width)
    below, right = (28 - side if side < 25 else -side % 4 for side in (height, width))
    padded = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (0, below), (0, right)), 'reflect'))
    with torch.no_grad():
        assert torch.equal(small(x), small(padded)[..., :height, :width])


def test_head_works_on_images_from_minus_1_to_1_and_clamps_nothing(small):
    network = seeded(DehazeFormer, **SMALL)
    bias = network.patch_unembed.proj[0].bias
    with torch.no_grad():
        network.patch_unembed.proj[0].weight.zero_()
        bias.copy_(torch.tensor([0.5, 0.1, -0.2, 0.3]))
        x = random_images(1, 3, 28, 28) * 4 - 2
        published = 0.5 * (2 * x - 1) - bias[1:].view(1, 3, 1, 1) + (2 * x - 1)
        torch.testing.assert_close(network(x), (published + 1) / 2)


def test_initialisation_is_as_wide_as_that_of_the_published_network():
    recorded = load('dehazeformer_t').init_std
    assert len(recorded) > 200
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parameters = dict(DehazeFormer('T').named_parameters())
    for key, std in recorded.items():
        if key not in parameters:
            continue
        values = parameters[key].detach().double()
        if std == 0:
            assert (values == (1 if key.endswith(('norm1.weight', 'meta1.bias')) else 0)).all(), key
        elif values.numel() >= 20:
            # two samples of a normal distribution; the record has three digits
            assert abs(values.std() / std - 1) < 5 / values.numel()**0.5 + 0.005, key


@pytest.mark.parametrize(('variant', 'blocks'), [('S', 32), ('M', 48)])
def test_initialisation_is_the_narrower_the_more_blocks_there_are(variant, blocks):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DehazeFormer(variant)
    checked = 0
    for name, module in network.named_modules():
        if '.blocks.' not in name or not isinstance(module, torch.nn.Conv2d) or '.meta' in name:
            continue
        weight = module.weight.detach().double()
        fans = (weight.shape[0] + weight.shape[1]) * weight[0, 0].numel()
        gain = 1 if name.endswith('.QK') else (8 * blocks)**-0.25
        assert weight.std() == pytest.approx(gain * (2 / fans)**0.5, rel=5 / (2 * weight.numel())**0.5), name
        assert (module.bias == 0).all()
        checked += 1
    assert checked > 2 * blocks


@pytest.mark.parametrize('arguments', [SMALL, {**SMALL, 'conv_type': ['Conv'] * 5, 'attn_ratio': [1, 1, 1, 1, 1]}])
def test_every_parameter_takes_part(arguments):
    found = gradients(fill(DehazeFormer(**arguments), 0.5).double(), random_images(2, 3, 32, 32))
    silent = {name for name, gradient in found.items() if gradient.abs().max() < 1e-12}
    # the same for all offsets, which a softmax does not see
    assert silent == {name for name in found if name.endswith('.meta.2.bias')}


def test_training_mode_computes_the_same_and_draws_nothing(small):
    network, x = seeded(DehazeFormer, **SMALL), random_images(1, 3, 30, 30)
    with torch.no_grad():
        assert torch.equal(network.train()(x), small(x))
    assert_no_random_numbers(network, x)


def test_copies_and_autocast():
    network, x = seeded(DehazeFormer, **SMALL), random_images(2, 3, 30, 34)
    assert_copies_are_independent(network, x)
    assert_autocasts(network, x)


def test_compiles():
    assert_compiles(seeded(DehazeFormer, embed_dims=[8, 8, 12, 8, 8], depths=[1] * 5), random_images(1, 3, 20, 34))


def test_layouts_and_batches():
    assert_layouts_and_batches(seeded(DehazeFormer, **SMALL), random_images(3, 3, 30, 34))


def _rgb(path):
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def _crop(x, size):
    top, left = ((a - b) // 2 for a, b in zip(x.shape[-2:], size, strict=True))
    return x[..., top:top + size[0], left:left + size[1]]


@pytest.mark.skipif(not WEIGHTS.is_file(), reason='no trained weights in ../shared or MCIR_SHARED')
def test_trained_weights_reach_the_recorded_scores():
    """One image; more of them go through ``basicsr test`` in ``test_published_weights.py``."""
    folder, image = SHARED, '1406_10.png'
    saved = torch.load(WEIGHTS, map_location='cpu', weights_only=True)
    state = {key.removeprefix('module.'): value for key, value in saved['state_dict'].items()}
    network = DehazeFormer('T').eval()
    for key, value in network.named_buffers():
        assert torch.equal(value, state[key])
    network.load_state_dict(state)
    with open(folder / 'arch_facts/dehazeformer_t_sots_reference.csv') as file:
        expected = next(row for row in csv.DictReader(file) if row['image'] == image)
    hazy = _rgb(folder / 'data/SOTS_indoor/hazy' / image)
    clear = _crop(_rgb(folder / f'data/SOTS_indoor/clear/{image.split("_")[0]}.png'), hazy.shape[-2:])
    with torch.no_grad():
        output = network(hazy).clamp(0, 1)
    psnr = -10 * (output - clear).square().mean().log10()
    pooled = (F.avg_pool2d(x, round(min(hazy.shape[-2:]) / 256)) for x in (output, clear))
    ssim = ssim_map(*pooled, lambda x: plane_mean(x, gaussian_window())).mean()
    assert float(psnr) == pytest.approx(float(expected['psnr_rgb_float']), abs=1e-3)
    assert float(ssim) == pytest.approx(float(expected['ssim_pooled']), abs=1e-4)
