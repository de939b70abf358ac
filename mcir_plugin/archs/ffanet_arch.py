"""FFA-Net: dehazing with channel and pixel attention in every block.

"FFA-Net: Feature Fusion Attention Network for Single Image Dehazing", Qin, Wang, Bai, Xie and Jia, AAAI 2020,
arXiv 1911.07559. ::

    image [0, 1] -> normalise -> n
    n -> conv -> group 1 -> group 2 -> group 3                       64 channels, full resolution
                   |          |          |
                   +----------+----------+-> weights per group and channel (GAP, MLP, sigmoid)
                   w1 *   +   w2 *   +   w3 * -> pixel attention -> conv -> conv -> + n -> output

    group: blocks, conv, + input          block: conv, ReLU, + input, conv, channel attention, pixel attention, + input

Departures from the published code: the normalisation is part of the network, with constants that are not in the state
dict. Published weights load strictly.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from mcir_plugin.archs.errors import ArchError, check_image, check_integer

GROUPS, CHANNELS = 3, 64
SQUEEZE = 8  # hidden channels of an attention are C / 8
GROUP_WEIGHTS_HIDDEN = 4
MEAN, STD = (0.64, 0.60, 0.58), (0.14, 0.15, 0.152)  # of hazy images, RGB


class FFANet(nn.Module):
    """FFA-Net as published, for RGB images of any size.

    The global skip adds the *normalised* input, as in the published code: the output of an untrained network is not
    close to the image.

    Args:
        gps (int): Number of groups. The published network is defined for 3 only. Default: 3.
        blocks (int): Blocks per group. Default: 19, the published number.

    Raises:
        ArchError: An argument that is not allowed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, gps: int = GROUPS, blocks: int = 19) -> None:
        super().__init__()
        if gps != GROUPS:
            raise ArchError(f'gps must be {GROUPS}, received {gps!r}: FFA-Net fuses three groups.')
        check_integer('blocks', blocks)
        self.register_buffer('mean', torch.tensor(MEAN).view(1, -1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(STD).view(1, -1, 1, 1), persistent=False)
        self.pre = nn.Sequential(_conv3(3, CHANNELS))
        self.g1, self.g2, self.g3 = (Group(blocks) for _ in range(GROUPS))
        self.ca = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_attention(GROUPS * CHANNELS, GROUP_WEIGHTS_HIDDEN))
        self.palayer = PixelAttention()
        self.post = nn.Sequential(_conv3(CHANNELS, CHANNELS), _conv3(CHANNELS, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Remove haze.

        Args:
            x (Tensor): of shape (N, 3, H, W), RGB in [0, 1].

        Returns:
            Tensor: of the same shape, meant to lie in [0, 1], not clamped.
        """
        check_image(x, 3, 'FFANet')
        normalised = (x - self.mean) / self.std
        first = self.g1(self.pre(normalised))
        second = self.g2(first)
        groups = torch.stack((first, second, self.g3(second)), 1)
        weights = self.ca(groups.flatten(1, 2)).unflatten(1, (GROUPS, CHANNELS))
        return self.post(self.palayer((weights * groups).sum(1))) + normalised


class Group(nn.Module):
    """Blocks and one convolution around a skip. Features of shape (N, 64, H, W) in and out."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.gp = nn.Sequential(*(Block() for _ in range(blocks)), _conv3(CHANNELS, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        """Return the refined features."""
        return self.gp(x) + x


class Block(nn.Module):
    """Two convolutions, each with the block's input added, and both attentions. (N, 64, H, W) in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv3(CHANNELS, CHANNELS), _conv3(CHANNELS, CHANNELS)
        self.calayer, self.palayer = ChannelAttention(), PixelAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Return the refined features."""
        inner = self.conv1(x).relu() + x
        return self.palayer(self.calayer(self.conv2(inner))) + x


class ChannelAttention(nn.Module):
    """Weights every channel by its mean over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.ca = nn.Sequential(*_attention(CHANNELS, CHANNELS // SQUEEZE))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted features of shape (N, 64, H, W)."""
        return x * self.ca(x.mean((2, 3), keepdim=True))


class PixelAttention(nn.Module):
    """Weights every pixel, all channels alike."""

    def __init__(self) -> None:
        super().__init__()
        self.pa = nn.Sequential(*_attention(CHANNELS, CHANNELS // SQUEEZE, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted features of shape (N, 64, H, W)."""
        return x * self.pa(x)


def _attention(channels: int, hidden: int, out: int | None = None) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, out or channels, 1), nn.Sigmoid()


def _conv3(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1)
