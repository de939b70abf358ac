"""DehazeFormer.

"Vision Transformers for Single Image Dehazing", Yuda Song, Zhuqing He, Hui Qian and Xin Du, IEEE Transactions on Image
Processing 32, 2023, arXiv 2204.03883. Variants T, S, B, D, W, M and L; keys and shapes of the state dict are the
published ones.

Data flow, d1..d5 being ``embed_dims``::

    x in [0, 1] -> padded to a multiple of 4 -> [-1, 1]
      patch_embed   3 -> d1, layer1 ----------------------------- skip1 -----------.     full resolution
        patch_merge1  d1 -> d2, layer2 -------------- skip2 ------.                |     1/2
          patch_merge2  d2 -> d3, layer3                          |                |     1/4
        patch_split1  d3 -> d4, y = y + fusion1(y, skip2), layer4 <                |     1/2
      patch_split2  d4 -> d5, y = y + fusion2(y, skip1), layer5 <------------------'     full resolution
      patch_unembed d5 -> 4 = K (1 channel) and B (3 channels)
    K * x - B + x -> [0, 1] -> cropped

Departures from the original:

- The images that go in and out are in [0, 1], not in [-1, 1]; nothing is clamped. The criterion therefore sees
  differences of half the size: the L1 loss of the published recipe is twice that of this output.
- The original fails when a side is shorter than 25 pixels, where a reflection would be longer than the map. Here such
  a side is padded to 28 pixels by repeated reflection and cropped afterwards. Longer sides are not affected.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from mcir_plugin.archs.dehazeformer_attention import WINDOW
from mcir_plugin.archs.dehazeformer_blocks import Block, SKFusion
from mcir_plugin.archs.dehazeformer_layout import Layout
from mcir_plugin.archs.errors import check_image
from mcir_plugin.archs.padding import crop_to
from mcir_plugin.archs.reflection import reflect_to

_MULTIPLE = 4  # two halvings
_MIN_SIDE = _MULTIPLE * (WINDOW - 1)  # at 1/4, reflection to whole windows, shifted or not, needs 7 pixels


class DehazeFormer(nn.Module):
    """DehazeFormer, the image dehazing network of Song, He, Qian and Du (IEEE TIP 2023). See the module's text.

    Args:
        variant (str): Published sizes: T, S, B, D, W, M or L. Default: T.
        embed_dims (Sequence[int] | None): Channels of the five stages; the last two are those of the second and the
            first. This list and the following, of five values each, replace that of the variant. Default: the
            variant's.
        mlp_ratios (Sequence[float] | None): Hidden channels of the MLP per channel. Default: the variant's.
        depths (Sequence[int] | None): Blocks. Default: the variant's.
        num_heads (Sequence[int] | None): Heads of the attention. Default: the variant's.
        attn_ratio (Sequence[float] | None): Share of the blocks that have attention, the last ones of the stage.
            Default: the variant's.
        conv_type (Sequence[str] | None): Convolution beside the attention: ``DWConv``, one depthwise convolution of
            5 x 5, or ``Conv``, two of 3 x 3. Default: the variant's.

    Raises:
        ArchError: Unknown variant, a list that has not five values, or values that are not allowed or do not fit
            together.

    Examples:
        >>> DehazeFormer('T')(torch.rand(1, 3, 50, 70)).shape
        torch.Size([1, 3, 50, 70])
    """

    def __init__(self,
                 variant: str = 'T',
                 embed_dims: Sequence[int] | None = None,
                 mlp_ratios: Sequence[float] | None = None,
                 depths: Sequence[int] | None = None,
                 num_heads: Sequence[int] | None = None,
                 attn_ratio: Sequence[float] | None = None,
                 conv_type: Sequence[str] | None = None) -> None:
        super().__init__()
        given = {'embed_dims': embed_dims, 'mlp_ratios': mlp_ratios, 'depths': depths, 'num_heads': num_heads,
                 'attn_ratio': attn_ratio, 'conv_type': conv_type}
        layout = Layout.of(variant, {name: value for name, value in given.items() if value is not None})
        self._add_encoder(layout)
        self._add_decoder(layout)

    def _add_encoder(self, layout: Layout) -> None:
        d1, d2, d3, _, _ = layout.embed_dims
        self.patch_embed = _proj(nn.Conv2d(3, d1, 3, padding=1, padding_mode='reflect'))
        self.layer1 = _stage(layout, 0)
        self.patch_merge1 = _proj(nn.Conv2d(d1, d2, 2, stride=2))
        self.skip1 = nn.Conv2d(d1, d1, 1)
        self.layer2 = _stage(layout, 1)
        self.patch_merge2 = _proj(nn.Conv2d(d2, d3, 2, stride=2))
        self.skip2 = nn.Conv2d(d2, d2, 1)
        self.layer3 = _stage(layout, 2)

    def _add_decoder(self, layout: Layout) -> None:
        _, _, d3, d4, d5 = layout.embed_dims
        self.patch_split1 = _proj(nn.Sequential(nn.Conv2d(d3, 4 * d4, 1), nn.PixelShuffle(2)))
        self.fusion1 = SKFusion(d4)
        self.layer4 = _stage(layout, 3)
        self.patch_split2 = _proj(nn.Sequential(nn.Conv2d(d4, 4 * d5, 1), nn.PixelShuffle(2)))
        self.fusion2 = SKFusion(d5)
        self.layer5 = _stage(layout, 4)
        self.patch_unembed = _proj(nn.Sequential(nn.Conv2d(d5, 4, 3, padding=1, padding_mode='reflect')))

    def forward(self, x: Tensor) -> Tensor:
        """Dehaze.

        Args:
            x (Tensor): Hazy RGB images in [0, 1], of shape (N, 3, H, W), of any height and width.

        Returns:
            Tensor: Images of the same shape, not clamped.
        """
        check_image(x, 3, 'DehazeFormer')
        padded = reflect_to(x, _padded(x.shape[-2]), _padded(x.shape[-1])) * 2 - 1
        gain, bias = self._features(padded).split((1, 3), dim=1)
        return crop_to(gain * padded - bias + padded, x) * 0.5 + 0.5

    def _features(self, x: Tensor) -> Tensor:
        full = self.layer1(self.patch_embed(x))
        half = self.layer2(self.patch_merge1(full))
        y = self.patch_split1(self.layer3(self.patch_merge2(half)))
        y = self.layer4(self.fusion1(y, self.skip2(half)) + y)
        y = self.patch_split2(y)
        y = self.layer5(self.fusion2(y, self.skip1(full)) + y)
        return self.patch_unembed(y)


def _padded(side: int) -> int:
    return max(side + -side % _MULTIPLE, _MIN_SIDE)


def _proj(layer: nn.Module) -> nn.Sequential:
    """Give a layer the key ``proj`` of the published state dict."""
    return nn.Sequential(OrderedDict(proj=layer))


def _stage(layout: Layout, stage: int) -> nn.Sequential:
    """The blocks at one resolution, under the published key ``blocks``."""
    gain = (8 * sum(layout.depths))**-0.25  # of the initialisation: the deeper the network, the smaller
    sizes = layout.embed_dims[stage], layout.num_heads[stage], layout.mlp_ratios[stage]
    blocks = (Block(*sizes, index, attention, layout.conv_type[stage], gain)
              for index, attention in enumerate(layout.attention(stage)))
    return nn.Sequential(OrderedDict(blocks=nn.Sequential(*blocks)))
