"""Options of the refresh rules. A new rule of `mcir_plugin.history.refresh` gets one block here and one entry below."""
from dataclasses import dataclass
from typing import Any

from mcir_plugin.config.kinds import Choice, Many, Number
from mcir_plugin.config.schema import option
from mcir_plugin.config.variants import Variant

_NAME = 'Name of the rule.'
_COUNT = Number(1, integer=True)


@dataclass(frozen=True)
class PeriodicOptions:
    """Every negative has its own fixed interval: the published rule."""

    type: str = option('periodic', _NAME, Choice(('periodic', )))


@dataclass(frozen=True)
class GrowingOptions:
    """The interval grows after each refresh. Our reading of DCKD (AAAI 2025): 1000, 2000, 3000; see staged."""

    type: str = option('growing', _NAME, Choice(('growing', )))
    growth: int = option(1000, 'Iterations by which an interval grows at each refresh.', Number(1, integer=True))
    max_iter: int = option(3000, 'Longest interval, in iterations.', Number(1, integer=True))


@dataclass(frozen=True)
class StagedOptions:
    """One interval per stage of training, for one past copy; numbers of the release of DCKD (AAAI 2025)."""

    type: str = option('staged', _NAME, Choice(('staged', )))
    intervals: tuple[int, ...] = option((1000, 2000, 3000), 'Iterations between two refreshes in each stage; the last '
                                        'one holds to the end.', Many(_COUNT))
    stage_iter: int = option(100_000, 'Length of a stage, in iterations.', _COUNT)

    @staticmethod
    def complete(given: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor arguments, ``intervals`` always a tuple."""
        intervals = given.get('intervals', (1000, 2000, 3000))
        return {**given, 'intervals': intervals if isinstance(intervals, tuple) else (intervals, )}


@dataclass(frozen=True)
class ResidualStdOptions:
    """The adaptive rule of the authors' release: refresh in turn while the residual still varies much."""

    type: str = option('residual_std', _NAME, Choice(('residual_std', )))
    threshold: float = option(0.022, 'Refresh while the mean of std(2 * (out - gt)) over the batch exceeds this; '
                              'images in [0, 1].', Number(above=0))


@dataclass(frozen=True)
class DiversityOptions:
    """A queue: the oldest copy is refreshed when copies are too much alike. Our reading of SEC-Depth (AAAI 2026)."""

    type: str = option('diversity', _NAME, Choice(('diversity', )))
    threshold: float = option(0.3, 'Refresh when 1 - smallest / largest distance of a negative to the output falls '
                              'below this; the distances are means over the window.', Number(above=0, below=1))
    window: int = option(100, 'Iterations with the term over which distances are averaged.', _COUNT)
    max_iter: int = option(1000, 'Longest time between two refreshes, in iterations.', _COUNT)


REFRESH_BLOCKS: dict[str, type] = {
    'periodic': PeriodicOptions,
    'growing': GrowingOptions,
    'staged': StagedOptions,
    'residual_std': ResidualStdOptions,
    'diversity': DiversityOptions,
}

REFRESH = Variant(REFRESH_BLOCKS, 'rule')
