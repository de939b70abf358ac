"""What is broken in BasicSR on today's Python, torch and lmdb, mended one narrow patch at a time.

Each patch wraps one function or method, says in its docstring what is wrong, when it applies and when it can go, and
does nothing where upstream is sound. The index's 1.4.2 and the repository's master are both supported.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mcir_plugin.hosts.basicsr.compat.imports import offer_moved_names


class Patch(NamedTuple):
    """One mended function: where it stands, and the wrapper around it."""

    owner: Any
    name: str
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]]


def patches() -> list[Patch]:
    """Return every patch that is applied after BasicSR has been imported."""
    from basicsr.archs import inception
    from basicsr.archs.basicvsr_arch import EDVRFeatureExtractor
    from basicsr.archs.dfdnet_arch import DFDNet
    from basicsr.archs.spynet_arch import SpyNet
    from basicsr.archs.tof_arch import SPyNetTOF
    from basicsr.archs.vgg_arch import VGGFeatureExtractor
    from basicsr.data.prefetch_dataloader import PrefetchGenerator
    from basicsr.losses.basic_loss import PerceptualLoss
    from basicsr.models import realesrgan_model, realesrnet_model
    from basicsr.models.base_model import BaseModel
    from basicsr.utils import dist_util, img_process_util, options
    from basicsr.utils.file_client import FileClient, LmdbBackend

    from mcir_plugin.hosts.basicsr.compat import cpu, library, prefetch, saving
    from mcir_plugin.hosts.basicsr.watch.reads import judged_reading
    return [
        Patch(options, 'init_dist', cpu.init_dist_without_gpu),
        Patch(dist_util, 'init_dist', cpu.init_dist_without_gpu),
        Patch(BaseModel, 'model_to_device', cpu.model_to_device_without_gpu),
        Patch(img_process_util, 'filter2D', cpu.filter_any_layout),
        Patch(realesrgan_model, 'filter2D', cpu.filter_any_layout),
        Patch(realesrnet_model, 'filter2D', cpu.filter_any_layout),
        Patch(BaseModel, 'get_optimizer', library.more_optimizers),
        Patch(BaseModel, 'save_network', saving.checked_saving),
        Patch(BaseModel, 'save_training_state', saving.checked_saving),
        Patch(BaseModel, 'load_network', saving.safe_loading),
        Patch(LmdbBackend, '__init__', library.shared_environments),
        Patch(FileClient, 'get', judged_reading),
        Patch(PrefetchGenerator, 'run', prefetch.queued_errors),
        Patch(PrefetchGenerator, '__next__', prefetch.raised_errors),
        Patch(PerceptualLoss, '__init__', library.perceptual_l2),
        Patch(VGGFeatureExtractor, '__init__', lambda init: library.matching_vgg_file(saving.safe_loading(init))),
        *(Patch(arch, '__init__', saving.safe_loading) for arch in (SpyNet, SPyNetTOF, EDVRFeatureExtractor, DFDNet)),
        Patch(inception, 'fid_inception_v3', saving.safe_loading),
    ]


def apply_patches() -> None:
    """Apply every patch once."""
    offer_moved_names()
    for owner, name, wrap in patches():
        original = getattr(owner, name)
        if not hasattr(original, 'mended_by_mcir'):
            mended = wrap(original)
            mended.mended_by_mcir = True
            setattr(owner, name, mended)
