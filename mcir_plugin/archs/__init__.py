"""Restoration networks in pure PyTorch. A host registers what is in ``NETWORKS`` under its own name."""
from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mcir_plugin.archs.dehazeformer_arch import DehazeFormer
from mcir_plugin.archs.errors import ArchError
from mcir_plugin.archs.ffanet_arch import FFANet
from mcir_plugin.archs.idt_arch import IDT
from mcir_plugin.archs.nafnet_arch import NAFNet, NAFNetLocal
from mcir_plugin.archs.spandrel_arch import Spandrel

NETWORKS: tuple[Callable[..., nn.Module], ...] = (
    FFANet,
    NAFNet,
    NAFNetLocal,
    DehazeFormer,
    IDT,
    Spandrel,
)

__all__ = ['NETWORKS', 'ArchError', *(network.__name__ for network in NETWORKS)]
