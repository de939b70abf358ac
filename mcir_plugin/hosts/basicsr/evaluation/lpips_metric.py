"""LPIPS as a metric of an option file."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY

from mcir_plugin.metrics import MetricError
from mcir_plugin.metrics.lpips_distance import TITLES, lpips_distance, missing

LPIPS = 'calculate_lpips'


def calculate_lpips(img: np.ndarray, img2: np.ndarray | None = None, crop_border: int = 0, net: str = 'alex',
                    better: str = 'lower') -> float:
    """LPIPS of 8-bit RGB images, see :func:`mcir_plugin.metrics.lpips_distance.lpips_distance`; lower is better.

    Args:
        img (ndarray): Output, uint8 BGR of shape (H, W, 3) or (H, W).
        img2 (ndarray): Ground truth, likewise.
        crop_border (int): Pixels left out at every side. Default: 0.
        net (str): Backbone, ``alex`` or ``vgg``. Default: ``alex``.
        better (str): Read by BasicSR, which logs the best value. Default: ``lower``.

    Raises:
        MetricError: Images that cannot be compared; or package or weights are not there.
    """
    if img2 is None:
        raise MetricError(f'{LPIPS} compares with a ground truth, but the data set has none. Use a data set with '
                          'dataroot_gt, or remove val.metrics.')
    return lpips_distance(*(_rgb(image, crop_border) for image in (img, img2)), net)


def prepare_lpips(metrics: Any) -> None:
    """Register the metric where an option file names it, and write into its block that lower values are better.

    BasicSR assumes the contrary. It is registered no earlier, and not if another package has one of this name: several
    do, and BasicSR's registry takes a name only once.

    Args:
        metrics (Any): ``val.metrics`` as written; changed.
    """
    for _, block in lpips_blocks(metrics):
        block.setdefault('better', 'lower')
        if LPIPS not in METRIC_REGISTRY:
            METRIC_REGISTRY.register(calculate_lpips)


def lpips_problems(metrics: Any) -> Iterator[str]:
    """Yield why our metric cannot be computed here, if an option file names it."""
    for name, block in lpips_blocks(metrics) if _is_ours() else ():
        try:
            why = missing(block.get('net', 'alex'))
        except MetricError as error:
            why = str(error)
        if why:
            yield f'val.metrics.{name}: {why}'


def lpips_blocks(metrics: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the blocks of ``val.metrics`` that are LPIPS, with their names."""
    return [(name, block) for name, block in (metrics.items() if isinstance(metrics, Mapping) else ())
            if isinstance(block, Mapping) and block.get('type') == LPIPS]


def lpips_title(block: Mapping[str, Any]) -> str:
    """Return in one line what is compared."""
    return f'LPIPS 0.1 with {TITLES.get(block.get("net", "alex"), "?")}, RGB, rounded to 8 bits'


def _is_ours() -> bool:
    return LPIPS in METRIC_REGISTRY and METRIC_REGISTRY.get(LPIPS) is calculate_lpips


def _rgb(image: np.ndarray, border: int) -> np.ndarray:
    image = image[..., None] if image.ndim == 2 else image
    return image[border:image.shape[0] - border, border:image.shape[1] - border, ::-1]
