"""NAFNet: a U-shaped network without activation functions, and its variant with local pooling for large images.

"Simple Baselines for Image Restoration", Chen, Chu, Zhang and Sun, ECCV 2022, arXiv 2204.04676; NAFNetLocal after
"Improving Image Restoration by Revisiting Global Information Aggregation" (TLC), Chu, Chen, Chen and Lu, ECCV 2022,
arXiv 2112.04491. ::

    image [0, 1], padded with zeros to a multiple of 2^levels -> p
    p -> conv -> encoder 0 ---------------- + -> decoder 0 -> conv -> + p -> cropped -> output
                     | down             up |                              C channels,  H   x W
                 encoder 1 ------------ + -> decoder 1                   2C,           H/2 x W/2
                     | down         up |
                    ...   middle blocks                                  C * 2^levels

    block: LN, 1x1, depthwise 3x3, gate, channel attention, 1x1, * beta, + input
           LN, 1x1, gate, 1x1, * gamma, + input                gate: first half of the channels * second half

Departures from the published code: none in what is computed. The local mean does not come from sums over the whole
image, and `NAFNetLocal` finds its windows when it is built, not in a forward pass. Dropout, which is off in every
published configuration, is left out. Published weights load strictly.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from mcir_plugin.archs.errors import ArchError, check_image, check_integer
from mcir_plugin.archs.local_mean import LocalMean, tlc_window
from mcir_plugin.archs.nafnet_blocks import blocks, upsampling
from mcir_plugin.archs.padding import crop_to, pad_to_multiple


class NAFNet(nn.Module):
    """NAFNet as published. The defaults are the configuration for GoPro with width 32.

    Published for SIDD: ``enc_blk_nums [2, 2, 4, 8], middle_blk_num 12, dec_blk_nums [2, 2, 2, 2]``. Both with width 32
    and 64. Any image size is taken.

    Args:
        img_channel (int): Channels of the images. Default: 3.
        width (int): Channels of the features at full resolution. Default: 32.
        middle_blk_num (int): Blocks at the lowest resolution. Default: 1.
        enc_blk_nums (Sequence[int]): Blocks per level of the encoder. Default: (1, 1, 1, 28).
        dec_blk_nums (Sequence[int]): Blocks per level of the decoder, lowest resolution first; as many entries as
            ``enc_blk_nums``. Default: (1, 1, 1, 1).

    Raises:
        ArchError: An argument that is not allowed.
    """

    def __init__(self,
                 img_channel: int = 3,
                 width: int = 32,
                 middle_blk_num: int = 1,
                 enc_blk_nums: Sequence[int] = (1, 1, 1, 28),
                 dec_blk_nums: Sequence[int] = (1, 1, 1, 1)) -> None:
        super().__init__()
        self.img_channel = check_integer('img_channel', img_channel)
        check_integer('width', width)
        _check_counts(middle_blk_num, enc_blk_nums, dec_blk_nums)
        widths = [width * 2**level for level in range(len(enc_blk_nums) + 1)]
        self.intro = nn.Conv2d(img_channel, width, 3, padding=1)
        self.ending = nn.Conv2d(width, img_channel, 3, padding=1)
        self.encoders = nn.ModuleList(map(blocks, widths, enc_blk_nums))
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in widths[:-1])
        self.middle_blks = blocks(widths[-1], middle_blk_num)
        self.ups = nn.ModuleList(map(upsampling, reversed(widths[1:])))
        self.decoders = nn.ModuleList(map(blocks, reversed(widths[:-1]), dec_blk_nums))

    def forward(self, x: Tensor) -> Tensor:
        """Restore.

        Args:
            x (Tensor): of shape (N, img_channel, H, W), in [0, 1].

        Returns:
            Tensor: of the same shape, not clamped.
        """
        check_image(x, self.img_channel, type(self).__name__)
        padded = pad_to_multiple(x, 2**len(self.downs))
        features = self.intro(padded)
        skips = []
        for level, down in enumerate(self.downs):  # not zip: torch.compile knows no strict=True before torch 2.5
            skips.append(self.encoders[level](features))
            features = down(skips[-1])
        features = self.middle_blks(features)
        for level, up in enumerate(self.ups):
            features = self.decoders[level](up(features) + skips.pop())
        return crop_to(self.ending(features) + padded, x)


class NAFNetLocal(NAFNet):
    """NAFNet whose channel attention averages over a window of 1.5 times the training crops, not the whole image.

    A network that was trained on crops sees other statistics in the mean over a large image; a local mean keeps them
    alike ("TLC"). Where the window covers the image, as for crops up to ``1.5 * train_size``, this is NAFNet itself:
    training is the same, and the state dicts are interchangeable. Published for GoPro and REDS.

    Args:
        img_channel (int): As for NAFNet. Default: 3.
        width (int): As for NAFNet. Default: 32.
        middle_blk_num (int): As for NAFNet. Default: 1.
        enc_blk_nums (Sequence[int]): As for NAFNet. Default: (1, 1, 1, 28).
        dec_blk_nums (Sequence[int]): As for NAFNet. Default: (1, 1, 1, 1).
        train_size (int | Sequence[int]): Side of the training crops (``gt_size``), or as published (1, C, H, W), of
            which height and width are used. Default: (1, 3, 256, 256).

    Raises:
        ArchError: An argument that is not allowed.
    """

    def __init__(self,
                 img_channel: int = 3,
                 width: int = 32,
                 middle_blk_num: int = 1,
                 enc_blk_nums: Sequence[int] = (1, 1, 1, 28),
                 dec_blk_nums: Sequence[int] = (1, 1, 1, 1),
                 train_size: int | Sequence[int] = (1, 3, 256, 256)) -> None:
        super().__init__(img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        sides = _sides(train_size)
        for level, stage in self._levels():
            for block in stage:
                block.sca[0] = LocalMean(*(tlc_window(side, level, len(self.downs)) for side in sides))

    def _levels(self) -> Iterator[tuple[int, nn.Sequential]]:
        """Yield blocks with how often their resolution was halved."""
        lowest = len(self.downs)
        yield from enumerate(self.encoders)
        yield lowest, self.middle_blks
        for index, decoder in enumerate(self.decoders):
            yield lowest - 1 - index, decoder


def _sides(train_size: int | Sequence[int]) -> tuple[int, int]:
    published = isinstance(train_size, Sequence) and len(train_size) == 4
    sides = tuple(train_size[2:]) if published else (train_size, train_size)
    if any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
        raise ArchError('train_size must be the side of the training crops in pixels, such as 256, or [1, 3, H, W]; '
                        f'received {train_size!r}.')
    return sides


def _check_counts(middle: int, encoder: Sequence[int], decoder: Sequence[int]) -> None:
    check_integer('middle_blk_num', middle, at_least=0)
    for name, counts in (('enc_blk_nums', encoder), ('dec_blk_nums', decoder)):
        if not isinstance(counts, Sequence) or isinstance(counts, str):
            raise ArchError(f'{name} must be a list of integers, received {counts!r}.')
        for index, count in enumerate(counts):
            check_integer(f'{name}[{index}]', count, at_least=0)
    if len(encoder) != len(decoder):
        raise ArchError(f'enc_blk_nums has {len(encoder)} entries and dec_blk_nums {len(decoder)}: give as many.')
