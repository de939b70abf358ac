"""The blocks of DehazeFormer: rescale layer normalisation, attention beside a convolution, MLP, skip fusion."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from mcir_plugin.archs.dehazeformer_attention import WINDOW, WindowAttention


class RescaleLayerNorm(nn.Module):
    """Normalisation over a whole map, that hands on how to take it back (RLN, section 3.2 of the paper).

    Mean and biased standard deviation are those of all channels and pixels of a sample. A layer whose input was
    normalised multiplies its output by ``rescale`` and adds ``rebias``, so brightness and contrast are not lost.

    Args:
        dim (int): Channels C.
        eps (float): Added to the variance. Default: 1e-5.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1, dim, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.meta1 = nn.Conv2d(1, dim, 1)
        self.meta2 = nn.Conv2d(1, dim, 1)
        for meta, start in ((self.meta1, 1.), (self.meta2, 0.)):
            nn.init.trunc_normal_(meta.weight, std=0.02)
            nn.init.constant_(meta.bias, start)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised map of shape (N, C, H, W), and rescale and rebias of shape (N, C, 1, 1)."""
        var, mean = torch.var_mean(x, (1, 2, 3), correction=0, keepdim=True)
        std = (var + self.eps).sqrt()
        return (x - mean) / std * self.weight + self.bias, self.meta1(std), self.meta2(mean)


class AttentionBranch(nn.Module):
    """Window attention and a convolution, added and projected; in most blocks the convolution alone.

    Args:
        dim (int): Channels C.
        num_heads (int): Heads of the attention.
        shift (int): As in :class:`WindowAttention`.
        attention (bool): Whether there is attention.
        conv_type (str): ``DWConv``, one depthwise convolution of 5 x 5; or ``Conv``, two of 3 x 3, which without
            attention stand alone, without value and projection.
        gain (float): Of the initialisation, see :func:`init_scaled_`.
    """

    def __init__(self, dim: int, num_heads: int, shift: int, attention: bool, conv_type: str, gain: float) -> None:
        super().__init__()
        self.conv = _convolution(dim, conv_type)
        self.attn = WindowAttention(num_heads, shift) if attention else None
        self.QK = nn.Conv2d(dim, 2 * dim, 1) if attention else None
        projected = attention or conv_type == 'DWConv'
        self.V = nn.Conv2d(dim, dim, 1) if projected else None
        self.proj = nn.Conv2d(dim, dim, 1) if projected else None
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                init_scaled_(module, 1. if name == 'QK' else gain)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, H, W) to the same shape."""
        if self.V is None:
            return self.conv(x)
        value = self.V(x)
        out = self.conv(value)
        if self.attn is not None:
            out = out + self.attn(torch.cat([self.QK(x), value], dim=1))
        return self.proj(out)


class Mlp(nn.Module):
    """Two convolutions of one pixel with a ReLU between.

    Args:
        dim (int): Channels C.
        hidden (int): Channels between.
        gain (float): Of the initialisation.
    """

    def __init__(self, dim: int, hidden: int, gain: float) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv2d(dim, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, dim, 1))
        for conv in (self.mlp[0], self.mlp[2]):
            init_scaled_(conv, gain)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, H, W) to the same shape."""
        return self.mlp(x)


class Block(nn.Module):
    """Attention branch and MLP, each with a shortcut::

        with attention:     n, r, b = RLN(x);  x = x + (branch(n) * r + b);  x = x + mlp(x)
        without attention:  x = x + branch(x);                              x = x + mlp(x)

    There is no normalisation before the MLP, and none at all without attention.

    Args:
        dim (int): Channels C.
        num_heads (int): Heads of the attention.
        mlp_ratio (float): Hidden channels of the MLP per channel.
        index (int): Position in the stage, from 0; windows of odd ones are shifted, attention or not before them.
        attention (bool): Whether there is attention.
        conv_type (str): ``DWConv`` or ``Conv``.
        gain (float): Of the initialisation.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, index: int, attention: bool, conv_type: str,
                 gain: float) -> None:
        super().__init__()
        self.norm1 = RescaleLayerNorm(dim) if attention else None
        self.attn = AttentionBranch(dim, num_heads, index % 2 * (WINDOW // 2), attention, conv_type, gain)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), gain)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, H, W) to the same shape."""
        if self.norm1 is None:
            x = x + self.attn(x)
        else:
            normalised, rescale, rebias = self.norm1(x)
            x = x + (self.attn(normalised) * rescale + rebias)
        return x + self.mlp(x)


class SKFusion(nn.Module):
    """Weighted sum of the main path and a skip connection; the weights of a channel add up to one.

    Args:
        dim (int): Channels C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = max(dim // 8, 4)
        self.mlp = nn.Sequential(nn.Conv2d(dim, hidden, 1, bias=False), nn.ReLU(inplace=True),
                                 nn.Conv2d(hidden, 2 * dim, 1, bias=False))

    def forward(self, main: Tensor, skip: Tensor) -> Tensor:
        """From two maps of shape (N, C, H, W) to one."""
        logits = self.mlp((main + skip).mean((2, 3), keepdim=True))
        of_main, of_skip = logits.unflatten(1, (2, -1)).softmax(1).unbind(1)
        return of_main * main + of_skip * skip


def init_scaled_(conv: nn.Conv2d, gain: float) -> None:
    """Fill in place: normal weights with std = gain * sqrt(2 / (fan_in + fan_out)), biases 0.

    The original cuts the normal distribution at +-2, which is several standard deviations away.
    """
    nn.init.xavier_normal_(conv.weight, gain)
    nn.init.zeros_(conv.bias)


def _convolution(dim: int, conv_type: str) -> nn.Module:
    if conv_type == 'DWConv':
        return nn.Conv2d(dim, dim, 5, padding=2, groups=dim, padding_mode='reflect')
    return nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, padding_mode='reflect'), nn.ReLU(inplace=True),
                         nn.Conv2d(dim, dim, 3, padding=1, padding_mode='reflect'))
