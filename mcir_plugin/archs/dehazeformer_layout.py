"""The published sizes of DehazeFormer, and what a size of one's own must fulfil."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcir_plugin.archs.errors import ArchError
from mcir_plugin.archs.per_stage import PerStage, read_arguments
from mcir_plugin.config.errors import did_you_mean
from mcir_plugin.config.kinds import Choice, Number
from mcir_plugin.config.schema import option

STAGES = 5
_NARROW, _WIDE = (24, 48, 96, 48, 24), (48, 96, 192, 96, 48)
_QUARTERS = (1 / 4, 1 / 2, 3 / 4, 0, 0)


def _published(embed_dims: tuple, depths: tuple, attn_ratio: tuple, conv_type: str) -> dict[str, tuple]:
    return {
        'embed_dims': embed_dims,
        'mlp_ratios': (2, 4, 4, 2, 2),
        'depths': depths,
        'num_heads': (2, 4, 6, 1, 1),
        'attn_ratio': attn_ratio,
        'conv_type': (conv_type, ) * STAGES,
    }


VARIANTS = {
    'T': _published(_NARROW, (4, 4, 4, 2, 2), (0, 1 / 2, 1, 0, 0), 'DWConv'),
    'S': _published(_NARROW, (8, 8, 8, 4, 4), _QUARTERS, 'DWConv'),
    'B': _published(_NARROW, (16, 16, 16, 8, 8), _QUARTERS, 'DWConv'),
    'D': _published(_NARROW, (32, 32, 32, 16, 16), _QUARTERS, 'DWConv'),
    'W': _published(_WIDE, (16, 16, 16, 8, 8), _QUARTERS, 'DWConv'),
    'M': _published(_NARROW, (12, 12, 12, 6, 6), _QUARTERS, 'Conv'),
    'L': _published(_WIDE, (16, 16, 16, 12, 12), _QUARTERS, 'Conv'),
}


@dataclass(frozen=True)
class Layout:
    """Sizes of the five stages. The defaults are those of variant T.

    Raises:
        ArchError: From :meth:`of`, for everything that is wrong, at once.
    """

    embed_dims: tuple[int, ...] = option(VARIANTS['T']['embed_dims'], 'Channels.',
                                         PerStage(Number(minimum=1, integer=True), STAGES))
    mlp_ratios: tuple[float, ...] = option(VARIANTS['T']['mlp_ratios'], 'Hidden channels of the MLP per channel.',
                                           PerStage(Number(above=0), STAGES))
    depths: tuple[int, ...] = option(VARIANTS['T']['depths'], 'Blocks.',
                                     PerStage(Number(minimum=1, integer=True), STAGES))
    num_heads: tuple[int, ...] = option(VARIANTS['T']['num_heads'], 'Heads of the attention.',
                                        PerStage(Number(minimum=1, integer=True), STAGES))
    attn_ratio: tuple[float, ...] = option(VARIANTS['T']['attn_ratio'], 'Share of the blocks with attention.',
                                           PerStage(Number(minimum=0, maximum=1), STAGES))
    conv_type: tuple[str, ...] = option(VARIANTS['T']['conv_type'], 'Convolution beside the attention.',
                                        PerStage(Choice(('DWConv', 'Conv')), STAGES))

    @classmethod
    def of(cls, variant: str, given: Mapping[str, Any]) -> Layout:
        """Return the sizes of a published variant, those that are given replaced."""
        if variant not in tuple(VARIANTS):
            raise ArchError(f'DehazeFormer.variant: received {variant!r}, must be one of {", ".join(VARIANTS)}'
                            f'{did_you_mean(variant, VARIANTS)}. For sizes of your own give embed_dims and so on too')
        return read_arguments(cls, {**VARIANTS[variant], **given}, 'DehazeFormer')

    @staticmethod
    def check(given: Mapping[str, Any], where: str) -> Iterator[str]:
        """Return what does not fit together."""
        dims = given['embed_dims']
        if dims[:2] != dims[:2:-1]:
            yield (f'{where}.embed_dims: received {list(dims)}, but stages 4 and 5 are added to stages 2 and 1: write '
                   f'{[*dims[:3], dims[1], dims[0]]}')
        for i, (dim, heads, ratio) in enumerate(zip(dims, given['num_heads'], given['attn_ratio'], strict=True)):
            if ratio and dim % heads:
                yield f'{where}.num_heads[{i}]: received {heads}, must divide embed_dims[{i}], which is {dim}'

    def attention(self, stage: int) -> list[bool]:
        """Return for each block of a stage whether it has attention: the last ones have."""
        depth = self.depths[stage]
        return [block >= depth - self.attn_ratio[stage] * depth for block in range(depth)]
