"""The protocols of ``mcir_plugin.metrics`` as metrics of an option file, and what is printed beside a number."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcir_plugin.hosts.basicsr.evaluation.float_images import RoundedImage
from mcir_plugin.hosts.basicsr.evaluation.lpips_metric import LPIPS, lpips_title
from mcir_plugin.metrics import PROTOCOLS, MetricError, Protocol

PREFIX = 'calculate_'


def make_metric(protocol: Protocol) -> Callable[..., float]:
    """Return a protocol as a function of the images that BasicSR's validation has: uint8, BGR."""

    def calculate(img: np.ndarray, img2: np.ndarray | None = None, center_crop: int | None = None,
                  better: str = 'higher') -> float:
        if img2 is None:
            raise MetricError(f'{PREFIX}{protocol.name} compares with a ground truth, but the data set has none. Use a '
                              'data set with dataroot_gt, or remove val.metrics.')
        return protocol(*(_image(image, protocol) for image in (img, img2)), center_crop)

    calculate.__name__ = calculate.__qualname__ = PREFIX + protocol.name
    calculate.__doc__ = f"""{protocol.title}.

    Args:
        img (ndarray): Output, uint8 BGR of shape (H, W, 3) or (H, W).
        img2 (ndarray): Ground truth, likewise.
        center_crop (int | None): Compare only this many pixels a side, in the middle. Default: None.
        better (str): Read by BasicSR, which logs the best value. Default: ``higher``.

    Raises:
        MetricError: Images that the protocol cannot compare.
    """
    return calculate


OWN_METRICS: dict[str, Protocol] = {PREFIX + protocol.name: protocol for protocol in PROTOCOLS.values()}
"""Protocol by the type that an option file names."""


def needs_floats(metrics: Mapping[str, Any] | None) -> bool:
    """Return whether a block ``val.metrics`` has a metric of images that were not rounded."""
    types = [block['type'] for block in (metrics or {}).values()]
    return any(OWN_METRICS[name].takes_float for name in types if name in OWN_METRICS)


def title_of(block: Mapping[str, Any]) -> str:
    """Return in one line what a metric compares, for ours, BasicSR's PSNR and SSIM, and LPIPS; else its type."""
    name, border = block['type'], block.get('crop_border') or 0
    if name in OWN_METRICS:
        return OWN_METRICS[name].describe(block.get('center_crop'))
    if name not in ('calculate_psnr', 'calculate_ssim', LPIPS):
        return name
    channels = 'Y of 8-bit RGB, not rounded' if block.get('test_y_channel') else 'RGB, rounded to 8 bits'
    window = ', 11x11 Gaussian, valid' if name == 'calculate_ssim' else ''
    what = lpips_title(block) if name == LPIPS else channels + window
    return what + (f', border of {border} left out' if border else '')


def higher_is_better(block: Mapping[str, Any]) -> bool:
    """Return whether larger values of a metric are better."""
    return block.get('better', 'lower' if block['type'] == LPIPS else 'higher') != 'lower'


def _image(image: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Return an image of BasicSR's as the protocol takes it: RGB, float or uint8."""
    if protocol.takes_float:
        image = _unrounded(image, protocol)
    return np.ascontiguousarray(image[..., ::-1] if image.ndim == 3 else image)


def _unrounded(image: np.ndarray, protocol: Protocol) -> np.ndarray:
    if isinstance(image, RoundedImage) and image.unrounded is not None:
        return image.unrounded
    if np.issubdtype(image.dtype, np.floating):
        return image
    raise MetricError(f'{PREFIX}{protocol.name} compares images that were not rounded to 8 bits, but received rounded '
                      'ones. Validations of `basicsr train` and `basicsr test` that convert their images with '
                      'tensor2img keep them. Elsewhere use a metric of 8-bit images, such as '
                      f'{PREFIX}psnr_rgb_rounded.')
