"""LPIPS against its formula, with a backbone drawn here; where it is looked for, what is said when it is missing."""
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('lpips')

from mcir_plugin.metrics import MetricError
from mcir_plugin.metrics import lpips_distance as module
from mcir_plugin.metrics.lpips_distance import BACKBONES, lpips_distance, missing

# (channels, kernel, stride, padding) of the convolutions of AlexNet's `features`, with a pooling of 3, stride 2, after
# the first two, from the table of torchvision
ALEX = {0: (64, 11, 4, 2), 3: (192, 5, 1, 2), 6: (384, 3, 1, 1), 8: (256, 3, 1, 1), 10: (256, 3, 1, 1)}
POOL_BEFORE = (3, 6)
SHIFT, SCALE = (-.030, -.088, -.188), (.458, .448, .450)  # of the paper's code, for images in [-1, 1]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A private working directory and hub cache, both empty."""
    monkeypatch.chdir(tmp_path)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / 'hub'))
    module._network.cache_clear()
    yield tmp_path / 'hub' / 'checkpoints'
    torch.hub.set_dir(before)
    module._network.cache_clear()


def draw_alexnet(folder: Path) -> dict[str, torch.Tensor]:
    """Write a file like torchvision's with random layers; return them."""
    folder.mkdir(parents=True)
    generator, weights, channels = torch.Generator().manual_seed(0), {}, 3
    for index, (out, kernel, _, _) in ALEX.items():
        size = (2 / (channels * kernel**2))**0.5
        weights[f'features.{index}.weight'] = size * torch.randn(out, channels, kernel, kernel, generator=generator)
        weights[f'features.{index}.bias'] = 0.1 * torch.randn(out, generator=generator)
        channels = out
    torch.save(weights, folder / BACKBONES['alex'])
    return weights


def by_hand(weights, img, img2) -> float:
    """Sum over layers of the mean over positions of the weighted squared difference of unit vectors, in float64."""
    import lpips
    heads = torch.load(Path(lpips.__file__).parent / 'weights' / 'v0.1' / 'alex.pth', 'cpu', weights_only=True)
    features = []
    for image in (img, img2):
        x = torch.from_numpy(np.moveaxis(np.repeat(image, 3 // image.shape[2], 2).astype(np.float64), 2, 0))
        x = (x / 127.5 - 1 - torch.tensor(SHIFT).double().view(3, 1, 1)) / torch.tensor(SCALE).double().view(3, 1, 1)
        x, layers = x[None], []
        for index, (_, _, stride, padding) in ALEX.items():
            if index in POOL_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            weight, bias = (weights[f'features.{index}.{part}'].double() for part in ('weight', 'bias'))
            x = F.conv2d(x, weight, bias, stride, padding).relu()
            layers.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        features.append(layers)
    return sum(float(((a - b).square() * heads[f'lin{k}.model.1.weight'].double().view(1, -1, 1, 1)).sum(1).mean())
               for k, (a, b) in enumerate(zip(*features, strict=True)))


def pair(*shape):
    generator = np.random.default_rng(3)
    img = generator.integers(0, 256, shape, dtype=np.uint8)
    return img, np.clip(img + generator.normal(0, 30, shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize('shape', [(64, 64, 3), (35, 70, 3), (48, 50, 1)])
def test_value_is_that_of_the_formula(shape, hub):
    weights = draw_alexnet(hub)
    img, img2 = pair(*shape)
    value = lpips_distance(img, img2)
    assert value == pytest.approx(by_hand(weights, img, img2), rel=1e-4)
    assert value == pytest.approx(lpips_distance(img2, img), rel=1e-6) and value > 0
    assert lpips_distance(img, img) == 0


def test_metric_of_an_option_file_takes_bgr_and_crops(hub):
    from basicsr.metrics import calculate_metric

    import mcir_plugin  # noqa: F401  (first: it mends the import of basicsr)
    from mcir_plugin.hosts.basicsr.evaluation.lpips_metric import prepare_lpips
    from mcir_plugin.hosts.basicsr.evaluation.metrics import higher_is_better, title_of
    draw_alexnet(hub)
    metrics = {'lpips': {'type': 'calculate_lpips', 'crop_border': 4}}
    prepare_lpips(metrics)
    assert metrics['lpips']['better'] == 'lower' and not higher_is_better(metrics['lpips'])
    assert title_of(metrics['lpips']) == 'LPIPS 0.1 with AlexNet, RGB, rounded to 8 bits, border of 4 left out'
    img, img2 = pair(60, 64, 3)
    value = calculate_metric({'img': img, 'img2': img2}, metrics['lpips'])
    assert value == lpips_distance(*(image[4:-4, 4:-4, ::-1] for image in (img, img2)))


def test_weights_are_looked_for_where_those_of_the_extractor_are(hub):
    assert f'put https://download.pytorch.org/models/{BACKBONES["alex"]} into' in missing()
    assert str(Path.cwd() / 'experiments' / 'pretrained_models') in missing() and str(hub) in missing()
    draw_alexnet(Path('experiments/pretrained_models'))
    assert missing() is None
    assert 'VGG16' in missing('vgg')


@pytest.mark.parametrize(('given', 'says'), [
    ((np.zeros((64, 64, 3), np.uint8), np.zeros((64, 65, 3), np.uint8)), 'uint8 images of one shape'),
    ((np.zeros((64, 64, 3)), np.zeros((64, 64, 3))), 'uint8 images'),
    ((np.zeros((31, 64, 3), np.uint8), ) * 2, 'needs images of 32 x 32 pixels; received 31 x 64'),
    ((np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8), 'squeeze'), 'must be one of alex, vgg')])
def test_what_cannot_be_compared_is_refused(given, says, hub):
    with pytest.raises(MetricError, match=says):
        lpips_distance(*given)


def test_a_file_of_another_network_is_refused(hub):
    hub.mkdir(parents=True)
    torch.save({'features.0.weight': torch.zeros(64, 3, 11, 11)}, hub / BACKBONES['alex'])
    with pytest.raises(MetricError, match='lacks weights of AlexNet'):
        lpips_distance(*pair(64, 64, 3))


def test_without_the_package_it_says_how_to_get_it(hub, monkeypatch):
    draw_alexnet(hub)
    monkeypatch.setattr(module, 'find_spec', lambda name: None)
    assert "pip install 'mcir-plugin[lpips]'" in missing()
    with pytest.raises(MetricError, match='needs the package lpips'):
        lpips_distance(*pair(64, 64, 3))


@pytest.mark.parametrize('foreign', [True, False])
def test_another_package_may_have_a_metric_of_this_name(hub, foreign, monkeypatch):
    """Importing BasicSR registers no calculate_lpips; an option file that names it does, unless there is one."""
    from basicsr.utils.registry import METRIC_REGISTRY

    import mcir_plugin  # noqa: F401
    from mcir_plugin.hosts.basicsr.evaluation.lpips_metric import calculate_lpips, lpips_problems, prepare_lpips
    known = {name: metric for name, metric in METRIC_REGISTRY if name != 'calculate_lpips'}
    monkeypatch.setattr(METRIC_REGISTRY, '_obj_map', {**known, **({'calculate_lpips': len} if foreign else {})})
    metrics = {'lpips': {'type': 'calculate_lpips'}}
    prepare_lpips(metrics)
    assert METRIC_REGISTRY.get('calculate_lpips') is (len if foreign else calculate_lpips)
    problems = list(lpips_problems(metrics))
    assert problems == [] if foreign else 'val.metrics.lpips: LPIPS needs the weights of AlexNet' in problems[0]
