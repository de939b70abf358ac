"""IDT.

"Image De-raining Transformer", Jie Xiao, Xueyang Fu, Aiping Liu, Feng Wu and Zheng-Jun Zha, IEEE Transactions on
Pattern Analysis and Machine Intelligence 45(11), 2023. Keys and shapes of the state dict are the published ones.

Data flow for images of 128 x 128 pixels; W is a window and S a spatial transformer block::

    x in [0, 1] -> input_proj 3 -> 32
      encoderlayer_0   32  W W W S -------- concat -> decoderlayer_3   64  W W W S -> output_proj 64 -> 3, + x    128
        encoderlayer_1   64  W W W S ------ concat -> decoderlayer_2  128  W W S                                   64
          encoderlayer_2  128  W W S ------ concat -> decoderlayer_1  256  W W S                                   32
            encoderlayer_3  256  W W S ---- concat -> decoderlayer_0  512  W S                                     16
                                     bottle  512  W                                                                 8

On the way down 4 x 4 convolutions of stride 2, on the way up transposed convolutions; upsampled features come before
those of the encoder in a concatenation.

What is peculiar about the published network, and kept:

- Its position biases and convolutions are made for one image size, ``img_size``; no other can go through the network.
- ``depths`` sets no number of blocks. It only shapes the drop-path schedule.
- The spatial transformer block adds its result in another order of pixels; see :class:`SpatialBlock`.
- The modules for downsampling are called ``dowsample_0`` to ``dowsample_3``.

Departures from the original:

- In evaluation mode images of other sizes go through the network in tiles of ``img_size``, merged as the authors'
  evaluation script does it; sides shorter than that are padded by reflection and cropped afterwards.
- Nothing is clamped. The argument ``mask`` of the original's forward pass, which is never used, is left out.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mcir_plugin.archs.errors import ArchError, check_image
from mcir_plugin.archs.idt_blocks import SpatialBlock, WindowBlock
from mcir_plugin.archs.idt_layout import BOTTLE, Layout, Stage
from mcir_plugin.archs.idt_tiles import run_in_tiles
from mcir_plugin.archs.padding import crop_to
from mcir_plugin.archs.per_stage import read_arguments
from mcir_plugin.archs.reflection import reflect_to


class IDT(nn.Module):
    """IDT, the image deraining transformer of Xiao, Fu, Liu, Wu and Zha (TPAMI 2023). See the module's text.

    Args:
        img_size (int): Height and width of training images, and of tiles in evaluation; published: 128. With windows
            of 8 pixels 64 or a multiple of 128; weights fit no other size than their own. Default: 128.
        in_chans (int): Channels of the images. Default: 3.
        embed_dim (int): Channels of the features at full resolution. Default: 32.
        depths (Sequence[int]): Nine numbers that shape the drop-path schedule; they set no number of blocks. Default:
            3, 3, 2, 2, 1, 1, 2, 2, 3.
        num_heads (Sequence[int]): Heads of the nine stages. Default: 1, 2, 4, 8, 16, 16, 8, 4, 2.
        win_size (int): Side of the windows in pixels. Default: 8.
        mlp_ratio (float): Hidden channels per channel. Default: 4.
        qkv_bias (bool): Whether queries, keys and values have a bias. Default: True.
        drop_path_rate (float): Highest drop-path rate; 0 turns it off. Default: 0.1.

    Raises:
        ArchError: A value that is not allowed, a list that has not nine values, or sizes that do not fit.

    Examples:
        >>> IDT().eval()(torch.rand(1, 3, 150, 200)).shape
        torch.Size([1, 3, 150, 200])
    """

    def __init__(self,
                 img_size: int = 128,
                 in_chans: int = 3,
                 embed_dim: int = 32,
                 depths: Sequence[int] = (3, 3, 2, 2, 1, 1, 2, 2, 3),
                 num_heads: Sequence[int] = (1, 2, 4, 8, 16, 16, 8, 4, 2),
                 win_size: int = 8,
                 mlp_ratio: float = 4.,
                 qkv_bias: bool = True,
                 drop_path_rate: float = 0.1) -> None:
        super().__init__()
        given = {'img_size': img_size, 'in_chans': in_chans, 'embed_dim': embed_dim, 'depths': depths,
                 'num_heads': num_heads, 'win_size': win_size, 'mlp_ratio': mlp_ratio, 'qkv_bias': qkv_bias,
                 'drop_path_rate': drop_path_rate}
        layout = read_arguments(Layout, given, 'IDT')
        self.img_size = img_size
        self.in_chans = in_chans
        self.input_proj = _named(proj=nn.Sequential(nn.Conv2d(in_chans, embed_dim, 3, padding=1), nn.LeakyReLU()))
        self.output_proj = _named(proj=nn.Sequential(nn.Conv2d(2 * embed_dim, in_chans, 3, padding=1)))
        self._add_stages(layout)
        self.apply(_init_linear)

    def _add_stages(self, layout: Layout) -> None:
        stages = layout.stages()
        encoder, bottle, decoder = stages[:BOTTLE], stages[BOTTLE], stages[BOTTLE + 1:]
        self.bottle = _Blocks(bottle, layout)
        below = bottle.channels
        for i, (down, up) in enumerate(zip(encoder, decoder, strict=True)):
            conv = nn.Conv2d(down.channels, 2 * down.channels, 4, stride=2, padding=1)
            deconv = nn.ConvTranspose2d(below, up.channels // 2, 2, stride=2)  # the other half comes from the encoder
            below = up.channels
            self.add_module(f'encoderlayer_{i}', _Blocks(down, layout))
            self.add_module(f'dowsample_{i}', _named(conv=nn.Sequential(conv)))
            self.add_module(f'upsample_{i}', _named(deconv=nn.Sequential(deconv)))
            self.add_module(f'decoderlayer_{i}', _Blocks(up, layout))

    def forward(self, x: Tensor) -> Tensor:
        """Derain.

        Args:
            x (Tensor): Rainy images in [0, 1], of shape (N, in_chans, H, W); in training H and W are ``img_size``.

        Returns:
            Tensor: Images of the same shape, not clamped.

        Raises:
            ArchError: Images of another shape.
        """
        check_image(x, self.in_chans, 'IDT')
        size = self.img_size
        if tuple(x.shape[-2:]) == (size, size):
            return self._restore(x)
        if self.training:
            raise ArchError(f'IDT is trained on images of {size} x {size} pixels (img_size), received {x.shape[-2]} x '
                            f'{x.shape[-1]}: set gt_size: {size} in the training data set, or img_size of the network.')
        return crop_to(run_in_tiles(self._restore, reflect_to(x, size, size), size), x)

    def _restore(self, x: Tensor) -> Tensor:
        """From (N, C, img_size, img_size) to the same shape."""
        features, skips = self.input_proj(x), []
        for i in range(BOTTLE):
            skips.append(getattr(self, f'encoderlayer_{i}')(features))
            features = getattr(self, f'dowsample_{i}')(skips[-1])
        features = self.bottle(features)
        for i in range(BOTTLE):
            features = torch.cat([getattr(self, f'upsample_{i}')(features), skips.pop()], dim=1)
            features = getattr(self, f'decoderlayer_{i}')(features)
        return x + self.output_proj(features)


def _named(**layer: nn.Module) -> nn.Sequential:
    """Give a layer the key that it has in the published state dict."""
    return nn.Sequential(OrderedDict(layer))


class _Blocks(nn.Module):
    """The blocks of one stage. They have the channels last inside."""

    def __init__(self, stage: Stage, layout: Layout) -> None:
        super().__init__()
        common = {'win_size': layout.win_size, 'mlp_ratio': layout.mlp_ratio, 'qkv_bias': layout.qkv_bias}
        sizes = stage.channels, stage.num_heads, stage.side
        blocks: list[nn.Module] = [WindowBlock(*sizes, drop_path=stage.window_drop, **common)
                                   for _ in range(stage.window_blocks)]
        if stage.bound is not None:
            blocks.append(SpatialBlock(*sizes, bound=stage.bound, drop_path=stage.spatial_drop, **common))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return features of shape (N, C, H, W); inside, channels come last."""
        return self.blocks(x.movedim(1, -1)).movedim(-1, 1)


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
