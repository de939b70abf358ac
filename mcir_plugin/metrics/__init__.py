"""How published numbers were computed: PSNR and SSIM by protocol. Knows no toolbox.

    ssim.py       the SSIM map and the local means that its variants differ in
    channels.py   the luma of an 8-bit RGB image, in the three ways in use
    quality.py    PSNR and SSIM of two images: one function per published way of computing them
    protocols.py  the same by name, with what is printed beside the number
"""
from mcir_plugin.metrics.protocols import PROTOCOLS, MetricError, Protocol

__all__ = ['PROTOCOLS', 'MetricError', 'Protocol']
