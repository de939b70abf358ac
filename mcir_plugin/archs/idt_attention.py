"""The attention of IDT: a clamped position bias, and a convolution that extracts position from a second value."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from mcir_plugin.archs.attention import biased_attention


def offset_index(side: int, bound: int) -> Tensor:
    """Rows of the bias table for all pairs of tokens on a square grid.

    Args:
        side (int): Tokens along a side; N = side ** 2, in raster order.
        bound (int): Row and column offsets are clamped to -(bound - 1) .. bound - 1.

    Returns:
        Tensor: of shape (N, N), query and key, with integers from 0 to (2 * bound - 1) ** 2 - 1.
    """
    axis = torch.arange(side)
    tokens = torch.cartesian_prod(axis, axis)
    rows, columns = ((tokens[:, None] - tokens[None]).clamp(1 - bound, bound - 1) + bound - 1).unbind(-1)
    return rows * (2 * bound - 1) + columns


class PositionAttention(nn.Module):
    """Multi-head attention over the tokens of a square grid::

        q = to_q(x);  k, v, r = to_kv(x)
        out = proj(softmax(q k^T / sqrt(d) + bias) v + Position_Extract(r))

    ``Position_Extract`` is a depthwise convolution over the grid and one of 1 x 1 within each head: the bias alone does
    not tell a token at the border from one in the middle, the zero padding of the convolution does.

    Args:
        dim (int): Features C of a token.
        num_heads (int): Heads; divides ``dim``.
        side (int): Tokens along a side of the grid.
        bound (int): As in :func:`offset_index`.
        kernel (int): Side of the depthwise convolution, odd.
        qkv_bias (bool): Whether queries, keys and values have a bias.
    """

    def __init__(self, dim: int, num_heads: int, side: int, bound: int, kernel: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.side = side
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * bound - 1)**2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        # not persistent: the published state dicts do not have it
        self.register_buffer('index', offset_index(side, bound), persistent=False)
        self.qkv = nn.ModuleDict({
            'to_q': nn.Linear(dim, dim, bias=qkv_bias),
            'to_kv': nn.Linear(dim, 3 * dim, bias=qkv_bias),
        })
        self.Position_Extract = nn.Sequential(nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim),
                                              nn.Conv2d(dim, dim, 1, groups=num_heads))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """From tokens of shape (B, N, C), in raster order, to the same shape."""
        query = self.qkv['to_q'](x)
        key, value, located = self.qkv['to_kv'](x).chunk(3, -1)
        bias = self.relative_position_bias_table[self.index].permute(2, 0, 1)
        out = biased_attention(self._split(query), self._split(key), self._split(value), bias)
        out = out.transpose(1, 2).flatten(2)
        position = self.Position_Extract(located.transpose(1, 2).unflatten(2, (self.side, self.side)))
        return self.proj(out + position.flatten(2).transpose(1, 2))

    def _split(self, tokens: Tensor) -> Tensor:
        """From (B, N, C) to (B, heads, N, C / heads)."""
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
