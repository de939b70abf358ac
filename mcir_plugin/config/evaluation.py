"""What this package adds to ``val``: tiles, and the options of its own metrics."""
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcir_plugin.config.errors import ConfigError, raise_if_any, show
from mcir_plugin.config.kinds import Choice, Maybe, Number, Text
from mcir_plugin.config.schema import option, parse_block

TILE_KEY = 'tile'


@dataclass(frozen=True)
class TileOptions:
    """Images larger than a tile go through the network in overlapping tiles."""

    size: int = option(512, "Pixels a side of a tile, of the network's input.", Number(1, integer=True))
    overlap: int = option(32, 'Pixels that neighbouring tiles share, at most half of size. The outer quarter of them '
                          'is not used: where the network looks no further, the result is that of the whole image.',
                          Number(0, integer=True))

    @staticmethod
    def check(given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        size, overlap = (given.get(name, getattr(TileOptions, name)) for name in ('size', 'overlap'))
        if 2 * overlap > size:
            yield (f'{where}.overlap: received {overlap}, must be at most half of size ({size}). '
                   f'Use {size // 2} or less, or a larger size')


@dataclass(frozen=True)
class MetricOptions:
    """A metric of a type that this package brings; docs/protocols.md lists them."""

    type: str = option('calculate_psnr_rgb_float', 'Name of the metric.', Text())
    center_crop: int | None = option(None, 'Compare only this many pixels a side, in the middle.',
                                     Maybe(Number(1, integer=True)))
    better: str = option('higher', 'Which value BasicSR logs as the best.', Choice(('higher', 'lower')))


@dataclass(frozen=True)
class EvaluationConfig:
    """What an option file asks for.

    Attributes:
        tile (TileOptions | None): Tiles, if any.
        metrics (dict[str, MetricOptions]): The metrics of this package, by their name in the file.
    """

    tile: TileOptions | None = None
    metrics: dict[str, MetricOptions] = field(default_factory=dict)


def read_evaluation(opt: Mapping[str, Any], own_types: Collection[str]) -> EvaluationConfig:
    """Read ``val.tile`` and the metrics of this package. The options are not modified.

    Args:
        opt (Mapping): The options of the whole run.
        own_types (Collection[str]): Types of metrics that this package brings.

    Raises:
        ConfigError: If something in these blocks is wrong. All problems are reported at once.
    """
    val = opt.get('val')
    if not isinstance(val, Mapping | None):
        raise ConfigError(f'val: received {show(val)}, must be a mapping of options')
    problems: list[str] = []
    tile = _parsed(TileOptions, val or {}, TILE_KEY, 'val', problems)
    blocks = (val or {}).get('metrics')
    own = {name for name, block in (blocks.items() if isinstance(blocks, Mapping) else ())
           if isinstance(block, Mapping) and block.get('type') in own_types}
    metrics = {name: _parsed(MetricOptions, blocks, name, 'val.metrics', problems) for name in own}
    if tile is not None:
        problems += _windows(tile, opt.get('network_g'))
    raise_if_any(problems)
    return EvaluationConfig(tile, metrics)


def _parsed(cls: type, parent: Mapping[str, Any], key: str, where: str, problems: list[str]) -> Any:
    if parent.get(key) is None:
        return None
    try:
        return parse_block(cls, parent[key], f'{where}.{key}')
    except ConfigError as error:
        problems += error.problems
    return None


def _windows(tile: TileOptions, network: Any) -> Iterator[str]:
    """Yield why a network with windows would refuse the tiles."""
    window = network.get('window_size') if isinstance(network, Mapping) else None
    if isinstance(window, int) and window > 0 and tile.size % window:
        yield (f'val.{TILE_KEY}.size: received {tile.size}, must be a multiple of network_g.window_size ({window}). '
               f'Use {tile.size // window * window or window}')
