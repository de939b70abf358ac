"""The spread against torch.std over a stack, and the weight against its own optimality."""
import pytest
import torch

from mcir_plugin.history import Moments, Uncertainty

SHAPES = [(2, 3, 6, 7), (1, 1, 4, 4), (2, 3, 3, 5, 5)]


def images(shape, count=5, dtype=torch.float64, seed=0):
    return list(torch.rand((count, *shape), dtype=dtype, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('count', [2, 3, 7])
def test_spread_is_the_standard_deviation_over_the_stack(shape, count):
    moments, given = Moments(), images(shape, count)
    for image in given:
        assert moments.taken(image) is image
    expected = torch.stack(given).std(0, correction=0).square().mean(-3, keepdim=True).sqrt()
    torch.testing.assert_close(moments.spread(), expected, rtol=1e-12, atol=1e-14)


def test_spread_of_nearly_equal_bright_images():
    """Sums of squares would lose it: 1e6 + {0, 1} in float32."""
    moments = Moments()
    for value in (1e6, 1e6 + 1):
        moments.taken(torch.full((1, 3, 2, 2), value))
    torch.testing.assert_close(moments.spread(), torch.full((1, 1, 2, 2), 0.5))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_summed_in_float32(dtype):
    moments, given = Moments(), images((1, 3, 8, 8), 6, dtype)
    for image in given:
        moments.taken(image)
    expected = torch.stack(given).double().std(0, correction=0).square().mean(-3, keepdim=True).sqrt().float()
    torch.testing.assert_close(moments.spread(), expected, rtol=1e-5, atol=1e-7)


def test_memory_does_not_grow_with_the_number_of_images():
    moments = Moments()
    for image in images((1, 3, 8, 8), 50):
        moments.taken(image)
    held = [value for value in vars(moments).values() if isinstance(value, torch.Tensor)]
    assert len(held) == 2 and all(value.shape == (1, 3, 8, 8) for value in held)


@pytest.mark.parametrize('strength', [0.25, 1.0])
@pytest.mark.parametrize('seed', range(3))
def test_weight_is_the_optimum_that_it_was_derived_from(strength, seed):
    """A numerical optimiser over all weights with mean 1 finds the same: sum w t - 1 / (2 b) sum (w - 1)^2."""
    spread = images((2, 1, 4, 5), 1, seed=seed)[0]
    found = Uncertainty(strength, limit=1e9).weight(spread)
    for image, weight in zip(spread, found, strict=True):
        relative = image / image.mean()
        free = torch.ones_like(image, requires_grad=True)
        optimizer = torch.optim.LBFGS([free], max_iter=200, tolerance_grad=1e-13, tolerance_change=0)

        def closure(free=free, relative=relative, optimizer=optimizer):
            optimizer.zero_grad()
            w = free - free.mean() + 1  # any weight with mean 1
            loss = -(w * relative).sum() + (w - 1).square().sum() / (2 * strength)
            loss.backward()
            return loss

        optimizer.step(closure)
        best = (free - free.mean() + 1).detach()
        torch.testing.assert_close(weight, best, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('shape', [(2, 1, 6, 7), (2, 3, 1, 5, 5)])
@pytest.mark.parametrize(('strength', 'limit'), [(0.1, 10.0), (1.0, 1.5), (0.5, 3.0)])
def test_mean_one_bounds_and_order(shape, strength, limit):
    spread = images(shape, 1)[0]**8  # a few pixels far above the mean
    weight = Uncertainty(strength, limit).weight(spread)
    assert weight.shape == shape and not weight.requires_grad
    for part, source in zip(weight, spread, strict=True):
        assert part.mean().item() == pytest.approx(1, abs=1e-12)
        assert part.min() >= 1 - strength and part.max() <= 1 + strength * limit
        order = source.flatten().argsort()
        assert (part.flatten()[order].diff() >= 0).all()


def test_scale_changes_nothing():
    spread = images((2, 1, 6, 7), 1)[0]
    for factor in (1e-6, 4.0, 1e6):
        torch.testing.assert_close(Uncertainty().weight(factor * spread), Uncertainty().weight(spread), rtol=1e-12,
                                   atol=0)


def test_every_image_has_its_own_mean():
    spread = images((2, 1, 6, 7), 1)[0]
    alone = Uncertainty().weight(spread[:1])
    assert torch.equal(Uncertainty().weight(torch.cat([spread[:1], 1000 * spread[1:]]))[:1], alone)


def test_equal_negatives_give_exactly_one():
    moments, image = Moments(), images((2, 3, 6, 7), 1)[0]
    for _ in range(4):
        moments.taken(image)
    assert torch.equal(Uncertainty(1.0).weight(moments.spread()), torch.ones(2, 1, 6, 7, dtype=torch.float64))


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0, 3.0])
def test_schedule_shares_the_strength(share):
    spread = images((2, 1, 6, 7), 1)[0]
    full = Uncertainty(0.8).weight(spread)
    torch.testing.assert_close(Uncertainty(0.8).weight(spread, share) - 1, min(share, 1) * (full - 1))


@pytest.mark.parametrize('options', [{'strength': 0}, {'strength': 1.1}, {'limit': 1}, {'limit': float('nan')}])
def test_constructor_names_the_option(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Uncertainty(**options)
