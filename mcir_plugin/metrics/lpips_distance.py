"""LPIPS by the package of its authors, with a backbone whose weights lie on this machine already."""
from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mcir_plugin.losses.weight_files import BASE_URL, find_published, places, read_state_dict
from mcir_plugin.metrics.protocols import MetricError

BACKBONES = {'alex': 'alexnet-owt-7be5be79.pth', 'vgg': 'vgg16-397923af.pth'}
TITLES = {'alex': 'AlexNet', 'vgg': 'VGG16'}
SMALLEST = 32  # pixels a side that leave something after the strides of either backbone


def lpips_distance(img: np.ndarray, img2: np.ndarray, net: str = 'alex') -> float:
    """LPIPS, version 0.1: how different two images look by the features of a network; 0 for equal ones.

    "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", Zhang, Isola, Efros, Shechtman and Wang,
    CVPR 2018, by the authors' package ``lpips``, whose wheel holds the calibrated weights of the layers. The backbone's
    are torchvision's ImageNet files. Nothing is downloaded.

    Args:
        img (ndarray): of shape (H, W, 3) or (H, W, 1), uint8, RGB.
        img2 (ndarray): of the same shape; the order of the two does not matter.
        net (str): ``alex``, which its authors recommend for comparing, or ``vgg``. Default: ``alex``.

    Raises:
        MetricError: Images that it cannot compare; or it is not at hand, see :func:`missing`.
    """
    if img.shape != img2.shape or img.dtype != np.uint8 or img2.dtype != np.uint8:
        raise MetricError(f'LPIPS compares uint8 images of one shape; received {img.shape} {img.dtype} and '
                          f'{img2.shape} {img2.dtype}.')
    if min(img.shape[:2]) < SMALLEST:
        raise MetricError(f'LPIPS needs images of {SMALLEST} x {SMALLEST} pixels; received {img.shape[0]} x '
                          f'{img.shape[1]}. Use larger images, or leave the metric out.')
    why = missing(net)
    if why:
        raise MetricError(why)
    with torch.no_grad():
        return float(_network(net, find_published(BACKBONES[net]))(_tensor(img), _tensor(img2)))


def missing(net: str = 'alex') -> str | None:
    """Return in one line what LPIPS lacks on this machine and how to provide it; None if it can be computed.

    Raises:
        MetricError: Unknown backbone.
    """
    if net not in BACKBONES:
        raise MetricError(f'net is {net!r}; it must be one of {", ".join(BACKBONES)}.')
    if find_spec('lpips') is None:
        return "LPIPS needs the package lpips: pip install 'mcir-plugin[lpips]' (or pip install lpips)"
    if find_published(BACKBONES[net]) is None:
        folders = ' or '.join(str(path.parent) for path in places(BACKBONES[net]))
        return (f'LPIPS needs the weights of {TITLES[net]}, which are not downloaded: put '
                f'{BASE_URL}{BACKBONES[net]} into {folders}')
    return None


@lru_cache(maxsize=2)
def _network(net: str, path: Path) -> nn.Module:
    import lpips
    network = lpips.LPIPS(net=net, version='0.1', pnet_rand=True, verbose=False)  # else it would download the backbone
    saved = read_state_dict(path)
    for name, part in network.net.named_children():  # slices of torchvision's `features`, under the same numbers
        wanted = {key: saved.get(f'features.{key}') for key in part.state_dict()}
        if None in wanted.values():
            raise MetricError(f'{path} lacks weights of {TITLES[net]} ({name}): replace it by {BASE_URL}{path.name}')
        part.load_state_dict(wanted)
    return network.requires_grad_(False).eval()


def _tensor(img: np.ndarray) -> Tensor:
    """Return an image as LPIPS takes it: (1, 3, H, W), float32, in [-1, 1]."""
    image = torch.from_numpy(np.ascontiguousarray(img)).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    return image.expand(-1, 3, -1, -1)
