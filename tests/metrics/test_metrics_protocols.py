"""Every protocol against an independent computation of the same number."""
import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
from metric_oracles import (
    damaged,
    exact_y,
    gaussian_kernel,
    photograph,
    pooled,
    psnr,
    rounded,
    ssim_by_definition,
    wang,
)
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from mcir_plugin.metrics import PROTOCOLS, MetricError
from mcir_plugin.metrics.channels import opencv_luma, y_rounded, y_unrounded

SIZES = [(61, 83), (40, 32), (24, 97)]


@pytest.fixture(params=SIZES, ids=lambda size: '{}x{}'.format(*size))
def pair(request):
    """Output and ground truth in float; the ground truth lies on the 8-bit grid."""
    gt = photograph(*request.param)
    return damaged(gt), gt / 255


def both(pair, change):
    return tuple(change(image) for image in pair)


def y_of(image, rounding):
    """Y by scikit-image, (H, W, 1)."""
    y = rgb2ycbcr(rounded(image))[..., :1]
    return np.floor(y + 0.5) if rounding else y


def luma_of(image):
    """OpenCV's luma, from BGR as OpenCV reads files, of the image cropped to multiples of 4."""
    image = rounded(image)[..., ::-1]
    height, width = image.shape[0] - image.shape[0] % 4, image.shape[1] - image.shape[1] % 4
    return cv2.cvtColor(image[:height, :width].copy(), cv2.COLOR_BGR2YCR_CB)[..., :1]


def value(name, pair, **options):
    form = (lambda image: image) if PROTOCOLS[name].takes_float else rounded
    return PROTOCOLS[name](*both(pair, form), **options)


def test_psnr_rgb_float(pair):
    clipped = both(pair, lambda image: np.clip(image, 0, 1))
    assert value('psnr_rgb_float', pair) == pytest.approx(psnr(*clipped, 1), abs=1e-9)
    assert (pair[0] < 0).any() and (pair[0] > 1).any()  # so that clamping does matter


def test_psnr_rgb_float_is_not_that_of_rounded_images(pair):
    """Half a grey level of error everywhere is seen; after rounding it would be no error, or a whole level."""
    gt = pair[1]
    assert value('psnr_rgb_float', (np.where(gt < 0.5, gt + 0.4 / 255, gt - 0.4 / 255), gt)) == pytest.approx(
        20 * math.log10(255 / 0.4), abs=1e-6)


@pytest.mark.parametrize(('name', 'form'), [
    ('psnr_rgb_rounded', rounded), ('psnr_y_rounded', lambda image: y_of(image, True)),
    ('psnr_y_unrounded', lambda image: y_of(image, False)), ('psnr_luma_rounded', luma_of)])
def test_psnr_of_8_bits(pair, name, form):
    assert value(name, pair) == pytest.approx(psnr(*both(pair, form), 255), abs=1e-9)


def test_ssim_rgb_zero_padded(pair):
    clipped = both(pair, lambda image: np.clip(image, 0, 1))
    maps = [ssim_by_definition(*(image[..., c] for image in clipped), gaussian_kernel(2), 1, mode='constant')
            for c in range(3)]
    assert value('ssim_rgb_zero_padded', pair) == pytest.approx(np.mean(maps), abs=1e-10)


@pytest.mark.parametrize(('size', 'small'), [((61, 83), (61, 83)), ((383, 390), (383, 390)), ((460, 620), (230, 310)),
                                             ((389, 515), (194, 257)), ((640, 650), (320, 325)),
                                             ((643, 700), (214, 233))])
def test_ssim_rgb_pooled(size, small):
    """384 = 1.5 * 256 is where two pixels a side are averaged; 640 = 2.5 * 256 is rounded to the even 2."""
    gt = photograph(*size)
    pair = damaged(gt), gt / 255
    expected = wang(*both(pair, lambda image: pooled(np.clip(image, 0, 1), *small)), 1)
    assert value('ssim_rgb_pooled', pair) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('size', [(23, 30), (11, 16)])
def test_ssim_rgb_3d(size):
    gt = photograph(*size)
    pair = damaged(gt), gt / 255
    expected = ssim_by_definition(*both(pair, rounded), gaussian_kernel(3), 255, mode='nearest').mean()
    assert value('ssim_rgb_3d', pair) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(('name', 'rounding'), [('ssim_y_rounded', True), ('ssim_y_unrounded', False)])
def test_ssim_y(pair, name, rounding):
    assert value(name, pair) == pytest.approx(wang(*both(pair, lambda image: y_of(image, rounding)), 255), abs=1e-9)


def test_ssim_luma_uniform(pair):
    expected = structural_similarity(*both(pair, lambda image: luma_of(image)[..., 0]))  # all defaults
    assert value('ssim_luma_uniform', pair) == pytest.approx(expected, abs=1e-9)


def test_y_in_exact_arithmetic():
    """Random colours, and all on a coarse grid that lie exactly between two levels: MATLAB rounds them up."""
    random = np.random.default_rng(0).integers(0, 256, (300, 3))
    between = [(r, g, b) for r in range(0, 256, 3) for g in range(0, 256, 5) for b in range(256)
               if (299 * r + 587 * g + 114 * b) in (42500, 127500, 212500)]
    assert len(between) > 5 and all(exact_y(*colour) % 1 == Fraction(1, 2) for colour in between)
    colours = [*map(tuple, random.tolist()), *between, (0, 0, 0), (255, 255, 255)]
    image = np.array(colours, np.uint8)[None]
    assert y_rounded(image).ravel().tolist() == [math.floor(exact_y(*c) + Fraction(1, 2)) for c in colours]
    assert y_unrounded(image).ravel() == pytest.approx([float(exact_y(*c)) for c in colours], abs=1e-10)
    assert y_rounded(image).dtype == np.uint8


def test_opencv_luma_is_of_full_range():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    exact = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(opencv_luma(image)[..., 0] - exact).max() < 0.51
    assert opencv_luma(np.full((1, 1, 3), 255, np.uint8)).item() == 255


@pytest.mark.parametrize('name', PROTOCOLS)
def test_equal_images(name, pair):
    expected = math.inf if name.startswith('psnr') else 1
    assert value(name, (pair[1], pair[1])) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('name', PROTOCOLS)
def test_order_does_not_matter_and_nothing_is_changed(name, pair):
    before = [image.copy() for image in pair]
    assert value(name, pair) == pytest.approx(value(name, pair[::-1]), rel=1e-12)
    assert all(np.array_equal(image, copy) for image, copy in zip(pair, before, strict=True))


@pytest.mark.parametrize('name', PROTOCOLS)
@pytest.mark.parametrize(('crop', 'rows', 'columns'), [(24, slice(18, 42), slice(29, 53)),
                                                       (31, slice(15, 46), slice(26, 57))])
def test_center_crop(name, crop, rows, columns):
    gt = photograph(61, 83)
    pair = damaged(gt), gt / 255
    assert value(name, pair, center_crop=crop) == value(name, both(pair, lambda image: image[rows, columns]))


@pytest.mark.parametrize('name', PROTOCOLS)
def test_images_of_one_channel(name):
    """Their own luma, and their own only channel; with a repeated channel RGB gives the same but for the 3-D window."""
    gt = photograph(40, 44)[..., 1:2]
    pair = damaged(gt), gt / 255
    flat = value(name, both(pair, lambda image: image[..., 0]))
    assert value(name, pair) == flat
    grey = both(pair, lambda image: np.repeat(image, 3, 2))
    same = '_y_' not in name  # a grey RGB image has Y = 16 + 219 / 255 * grey
    assert (abs(value(name, grey) - flat) < 1e-9) == same


@pytest.mark.parametrize(('name', 'images', 'options', 'said'), [
    ('psnr_rgb_float', np.zeros((2, 20, 20, 3), np.uint8), {}, 'psnr_rgb_float compares float.*uint8'),
    ('psnr_rgb_rounded', np.zeros((2, 20, 20, 3)), {}, 'compares uint8.*float64'),
    ('psnr_y_rounded', np.zeros((2, 20, 20, 3), np.int64), {}, 'compares uint8.*int64'),
    ('psnr_rgb_float', np.zeros((2, 20, 20, 3), np.int64), {}, 'compares float.*int64'),
    ('ssim_rgb_3d', np.zeros((2, 20, 20, 4), np.uint8), {}, r'\(20, 20, 4\)'),
    ('ssim_y_rounded', np.zeros((2, 10, 20, 3), np.uint8), {}, 'ssim_y_rounded: .*11x11.*10x20'),
    ('psnr_luma_rounded', np.zeros((2, 3, 20, 3), np.uint8), {}, 'psnr_luma_rounded: .*multiples of 4.*3x20'),
    ('psnr_luma_rounded', np.zeros((2, 20, 2, 1), np.uint8), {}, 'multiples of 4.*20x2'),
    ('ssim_luma_uniform', np.zeros((2, 20, 3, 3), np.uint8), {}, 'ssim_luma_uniform: .*multiples of 4.*20x3'),
    ('psnr_y_rounded', np.zeros((2, 30, 20, 3), np.uint8), {'center_crop': 21}, 'center_crop is 21.*30x20'),
])
def test_images_that_do_not_fit_are_refused(name, images, options, said):
    with pytest.raises(MetricError, match=said):
        PROTOCOLS[name](*images, **options)


def test_shapes_that_differ_are_refused():
    with pytest.raises(MetricError, match=r'output.*\(20, 20, 3\).*ground truth.*\(20, 21, 3\)'):
        PROTOCOLS['psnr_rgb_rounded'](np.zeros((20, 20, 3), np.uint8), np.zeros((20, 21, 3), np.uint8))


def test_titles_tell_protocols_apart():
    titles = [(name.split('_')[0], protocol.describe()) for name, protocol in PROTOCOLS.items()]
    assert len(set(titles)) == len(PROTOCOLS) and all(name == p.name for name, p in PROTOCOLS.items())
    assert PROTOCOLS['psnr_rgb_float'].describe(256) == 'RGB, float, clamped, not rounded, centre 256x256'


@pytest.mark.parametrize('border', [0, 2, 4])
@pytest.mark.parametrize('luma', [True, False], ids=['Y', 'RGB'])
def test_the_hosts_own_metrics_are_those_of_super_resolution(pair, luma, border):
    """BasicSR's PSNR and SSIM: Y that is not rounded again, a border left out, 11x11 Gaussian, valid."""
    import mcir_plugin  # noqa: F401  (first: it mends the import of basicsr)

    # isort: split
    from basicsr.metrics import calculate_psnr, calculate_ssim
    form = (lambda image: y_of(image, False)) if luma else rounded
    cut = slice(border, -border or None)
    shown = both(pair, lambda image: form(image)[cut, cut])
    images = both(pair, lambda image: rounded(image)[..., ::-1])
    options = {'crop_border': border, 'test_y_channel': luma}
    assert calculate_psnr(*images, **options) == pytest.approx(psnr(*shown, 255), abs=1e-4)
    assert calculate_ssim(*images, **options) == pytest.approx(wang(*shown, 255), abs=1e-6)
