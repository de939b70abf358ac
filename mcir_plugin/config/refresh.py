"""Options of the refresh rules. A new rule of `mcir_plugin.history.refresh` gets one block here and one entry below."""
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mcir_plugin.config.errors import ConfigError, show
from mcir_plugin.config.kinds import Choice, Number
from mcir_plugin.config.schema import option, parse_block

_NAME = 'Name of the rule.'


@dataclass(frozen=True)
class PeriodicOptions:
    """Every negative has its own fixed interval: the published rule."""

    type: str = option('periodic', _NAME, Choice(('periodic', )))


@dataclass(frozen=True)
class GrowingOptions:
    """The interval grows after each refresh, as in DCKD (AAAI 2025): 1000, 2000, 3000."""

    type: str = option('growing', _NAME, Choice(('growing', )))
    growth: int = option(1000, 'Iterations by which an interval grows at each refresh.', Number(1, integer=True))
    max_iter: int = option(3000, 'Longest interval, in iterations.', Number(1, integer=True))


@dataclass(frozen=True)
class ResidualStdOptions:
    """The adaptive rule of the authors' release: refresh in turn while the residual still varies much."""

    type: str = option('residual_std', _NAME, Choice(('residual_std', )))
    threshold: float = option(0.022, 'Refresh while the mean of std(2 * (out - gt)) over the batch exceeds this; '
                              'images in [0, 1].', Number(above=0))


REFRESH_BLOCKS: dict[str, type] = {
    'periodic': PeriodicOptions,
    'growing': GrowingOptions,
    'residual_std': ResidualStdOptions,
}


@dataclass(frozen=True)
class Refresh:
    """Kind of an option: the name of a rule, or a mapping with ``type`` and the rule's own options."""

    def describe(self) -> str:
        """Return the allowed values in words."""
        return f'{Choice(tuple(REFRESH_BLOCKS)).describe()}, or a mapping with this type and the options of the rule'

    def parse(self, value: Any, where: str) -> dict[str, Any]:
        """Return the mapping with all options of the rule."""
        block = {'type': value} if isinstance(value, str) else value
        if not isinstance(block, Mapping) or 'type' not in block:
            raise ConfigError(f'{where}: received {show(value)}, must be {self.describe()}')
        name = Choice(tuple(REFRESH_BLOCKS)).parse(block['type'], f'{where}.type')
        return asdict(parse_block(REFRESH_BLOCKS[name], block, where))
