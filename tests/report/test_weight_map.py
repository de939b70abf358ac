"""The picture of a pixel weight: where it looks, and what it says."""
import cv2
import numpy as np
import pytest
import torch

from mcir_plugin.hosts.picture import picture
from mcir_plugin.report.weight_map import weight_strip

PANEL = 384 + 8  # a thumbnail of 1.5 x 256 pixels and a gap


@pytest.mark.parametrize(('top', 'left'), [(0, 0), (30, 50), (36, 56)])
def test_square_of_the_largest_weight_is_enlarged(top, left):
    rng = np.random.default_rng(0)
    output, gt = rng.integers(0, 256, (2, 100, 120, 3), dtype=np.uint8)
    weight = np.full((100, 120), 0.5)
    weight[top:top + 64, left:left + 64] = 2
    strip = weight_strip(output, gt, weight, 7)
    assert strip.dtype == np.uint8 and strip.shape[2] == 3
    for k, image in enumerate((output, gt)):
        begin = PANEL + k * (256 + 8)
        enlarged = cv2.resize(image[top:top + 64, left:left + 64], (256, 256), interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(strip[:256, begin:begin + 256], enlarged)
    colours = strip[:256, PANEL + 2 * 264:PANEL + 2 * 264 + 256].reshape(-1, 3)
    brightest = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_VIRIDIS)[0, 0]
    assert (colours == brightest).all()


@pytest.mark.parametrize('shape', [(20, 30), (64, 64), (10, 10)])
def test_images_smaller_than_the_square(shape):
    image = np.zeros((*shape, 3), np.uint8)
    assert weight_strip(image, image, np.ones(shape), 1).shape[0] > 256


class Step:
    """What the picture reads of a step."""

    def __init__(self, shape):
        self.step = 3
        self.pred, self.gt = torch.rand(2, *shape)
        self.weight = torch.rand(*shape[:-3], 1, *shape[-2:])


@pytest.mark.parametrize('shape', [(2, 3, 64, 64), (2, 1, 64, 64), (2, 4, 3, 64, 64)])
def test_first_image_of_a_step_in_its_colours(shape):
    step = Step(shape)
    strip = picture(step)
    first = step.pred.reshape(-1, *shape[-3:])[0]
    rgb = (first.clamp(0, 1) * 255).round().byte().expand(3, 64, 64).numpy()
    for y, x in ((0, 0), (5, 40), (63, 63)):
        assert list(strip[4 * y, PANEL + 4 * x]) == [rgb[2, y, x], rgb[1, y, x], rgb[0, y, x]]
