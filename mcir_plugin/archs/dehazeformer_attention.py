"""Attention within the windows of a DehazeFormer, shifted by padding instead of rolling."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mcir_plugin.archs.attention import biased_attention

WINDOW = 8  # pixels
_META_WIDTH = 256  # hidden units of the network that makes the position bias


def relative_positions() -> Tensor:
    """Signed logarithms sign(d) ln(1 + |d|) of the offsets between the pixels of a window.

    Returns:
        Tensor: of shape (64, 64, 2), float32: query, key, and (row, column) of query minus key.
    """
    axis = torch.arange(WINDOW)
    pixels = torch.cartesian_prod(axis, axis)
    offsets = (pixels[:, None] - pixels[None]).to(torch.float32)
    return offsets.sign() * (1 + offsets.abs()).log()


class WindowAttention(nn.Module):
    """Multi-head attention inside windows of 8 x 8 pixels.

    Windows start at the border, or 4 pixels before it. The map is padded by *reflection* to whole windows and cropped
    afterwards: no window mixes opposite borders, so there is no mask. The position bias of each head is made from
    the offsets by a small network (as in Swin Transformer V2), not looked up in a table.

    Args:
        num_heads (int): Heads; divides the channels C.
        shift (int): Pixels by which windows start before the border: 0, or half a window.
    """

    def __init__(self, num_heads: int, shift: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.shift = shift
        # constant, but in the published state dicts
        self.register_buffer('relative_positions', relative_positions())
        self.meta = nn.Sequential(nn.Linear(2, _META_WIDTH), nn.ReLU(), nn.Linear(_META_WIDTH, num_heads))

    def forward(self, qkv: Tensor) -> Tensor:
        """Attend.

        Args:
            qkv (Tensor): Queries, keys and values, of shape (N, 3 * C, H, W). Sides of 7 pixels or more.

        Returns:
            Tensor: of shape (N, C, H, W).
        """
        height, width = qkv.shape[-2:]
        padded = F.pad(qkv, (*self._margins(width), *self._margins(height)), 'reflect')
        bias = self.meta(self.relative_positions).permute(2, 0, 1)
        merged = self._image(biased_attention(*self._windows(padded), bias), padded.shape[-2:])
        return merged[..., self.shift:self.shift + height, self.shift:self.shift + width]

    def _margins(self, side: int) -> tuple[int, int]:
        return self.shift, (-self.shift - side) % WINDOW

    def _windows(self, qkv: Tensor) -> Tensor:
        """From (N, 3 * C, H, W) to three tensors of shape (N * windows, heads, 64, C / heads)."""
        n, channels, height, width = qkv.shape
        grid = qkv.view(n, 3, self.num_heads, channels // 3 // self.num_heads, height // WINDOW, WINDOW,
                        width // WINDOW, WINDOW)
        # -> (3, N, window rows, window columns, heads, row, column, channel)
        return grid.permute(1, 0, 4, 6, 2, 5, 7, 3).flatten(5, 6).flatten(1, 3)

    def _image(self, windows: Tensor, size: tuple[int, int]) -> Tensor:
        """From (N * windows, heads, 64, C / heads) to (N, C, H, W)."""
        rows, columns = size[0] // WINDOW, size[1] // WINDOW
        grid = windows.unflatten(2, (WINDOW, WINDOW)).unflatten(0, (-1, rows, columns))
        # -> (N, heads, channel, window rows, row, window columns, column)
        return grid.permute(0, 3, 6, 1, 4, 2, 5).flatten(5, 6).flatten(3, 4).flatten(1, 2)
