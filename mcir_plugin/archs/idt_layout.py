"""The stages of IDT: what its arguments mean, and what they do not."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcir_plugin.archs.per_stage import PerStage
from mcir_plugin.config.kinds import Flag, Number
from mcir_plugin.config.schema import option

STAGES = 9
BOTTLE = 4  # index of the stage at the lowest resolution
# Window transformer blocks per stage. The published code ignores `depths` here, whatever is given.
_WINDOW_BLOCKS = (3, 3, 2, 2, 1, 1, 2, 2, 3)
# Largest offset + 1 between windows that has a bias of its own in the spatial transformer block; the same for every
# img_size, as published. There is no such block in the bottleneck.
_BOUNDS = (16, 8, 4, 2, None, 2, 4, 8, 16)
_WIDTHS = (1, 2, 4, 8, 16, 16, 8, 4, 2)  # channels per embed_dim; in the decoder those of the skip are among them
_HALVINGS = (0, 1, 2, 3, 4, 3, 2, 1, 0)
_POSITIVE = Number(minimum=1, integer=True)


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        side (int): Height and width of its features in pixels.
        channels (int): Their channels.
        window_blocks (int): Number of window transformer blocks.
        num_heads (int): Heads of the attention.
        bound (int | None): Offsets of ``bound`` windows or more share a position bias; None without spatial block.
        window_drop (float): Drop-path rate of the window transformer blocks.
        spatial_drop (float): Drop-path rate of the spatial transformer block.
    """

    side: int
    channels: int
    window_blocks: int
    num_heads: int
    bound: int | None
    window_drop: float
    spatial_drop: float


@dataclass(frozen=True)
class Layout:
    """The arguments of IDT, with the published values as defaults."""

    img_size: int = option(128, 'Height and width in pixels of the images that it is trained on.', _POSITIVE)
    in_chans: int = option(3, 'Channels of the images.', _POSITIVE)
    embed_dim: int = option(32, 'Channels of the features at full resolution.', _POSITIVE)
    depths: tuple[int, ...] = option(_WINDOW_BLOCKS, 'Shape of the drop-path schedule.', PerStage(_POSITIVE, STAGES))
    num_heads: tuple[int, ...] = option((1, 2, 4, 8, 16, 16, 8, 4, 2), 'Heads.', PerStage(_POSITIVE, STAGES))
    win_size: int = option(8, 'Side of the windows in pixels.', Number(minimum=2, integer=True))
    mlp_ratio: float = option(4., 'Hidden channels per channel.', Number(above=0))
    qkv_bias: bool = option(True, 'Query, key and value have a bias.', Flag())
    drop_path_rate: float = option(0.1, 'Highest rate of drop-path.', Number(minimum=0, below=1))

    @staticmethod
    def check(given: Mapping[str, Any], where: str) -> Iterator[str]:
        """Return what does not fit together."""
        yield from _check_sizes(given['img_size'], given['win_size'], where)
        for i, (heads, width, bound) in enumerate(zip(given['num_heads'], _WIDTHS, _BOUNDS, strict=True)):
            channels, pixels = given['embed_dim'] * width, given['win_size']**2
            if channels % heads or (bound and pixels % heads):
                yield (f'{where}.num_heads[{i}]: received {heads}, must divide {channels} (embed_dim * {width})'
                       + (f' and {pixels} (win_size ** 2)' if bound else ''))
        encoder, decoder = given['depths'][:BOTTLE], given['depths'][BOTTLE + 1:]
        if sum(decoder) > sum(encoder):
            yield (f'{where}.depths: received {list(given["depths"])}; the decoder takes the drop-path rates of the '
                   f'encoder in reverse, so the last four ({sum(decoder)}) must not be more than the first four '
                   f'({sum(encoder)}) together')

    def stages(self) -> list[Stage]:
        """Return the nine stages: four of the encoder, the bottleneck, four of the decoder."""
        return [
            Stage(self.img_size // 2**halvings, self.embed_dim * width, blocks, heads, bound, *drops)
            for halvings, width, blocks, heads, bound, drops in zip(
                _HALVINGS, _WIDTHS, _WINDOW_BLOCKS, self.num_heads, _BOUNDS, self.drop_rates(), strict=True)
        ]

    def drop_rates(self) -> list[tuple[float, float]]:
        """Rates of the window blocks and of the spatial block, for each stage.

        Rates rise linearly through the encoder and fall through the decoder. A stage owns ``depths`` of them, of which
        the first goes to *all* of its window blocks and the last to its spatial block, as published.
        """
        total = sum(self.depths[:BOTTLE])
        rising = [self.drop_path_rate * i / (total - 1) for i in range(total)]
        encoder, decoder = (_ends(rates, depths) for rates, depths in ((rising, self.depths[:BOTTLE]),
                                                                       (rising[::-1], self.depths[BOTTLE + 1:])))
        return [*encoder, (self.drop_path_rate, ) * 2, *decoder]


def _check_sizes(img_size: int, win_size: int, where: str) -> Iterator[str]:
    lowest = img_size // 16
    if img_size % (8 * win_size) or img_size % 16 or lowest % min(win_size, lowest):
        smallest = f'{8 * win_size} or ' if win_size % 2 == 0 else ''
        yield (f'{where}.img_size: received {img_size}, must be {smallest}a multiple of {16 * win_size} with windows '
               f'of {win_size} pixels (win_size). Published weights are for 128')


def _ends(rates: list[float], depths: tuple[int, ...]) -> list[tuple[float, float]]:
    ends, start = [], 0
    for depth in depths:
        ends.append((rates[start], rates[start + depth - 1]))
        start += depth
    return ends
