"""Model-contrastive training (MCIR) for restoration toolboxes: history negatives and the SPN loss.

Importing this package is cheap: it imports neither torch nor a toolbox. The public names load on first use, and
BasicSR is extended at the moment it is imported itself, before or after this package.

>>> import mcir_plugin                           # doctest: +SKIP
>>> bank = mcir_plugin.HistoryBank(network)      # doctest: +SKIP
"""
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mcir_plugin.hosts import when_imported

if TYPE_CHECKING:
    from mcir_plugin.contrast import ContrastTerm as ContrastTerm
    from mcir_plugin.history import HistoryBank as HistoryBank
    from mcir_plugin.losses import SPNLoss as SPNLoss

__version__ = '0.1.0'

_PUBLIC = {
    'ContrastTerm': 'mcir_plugin.contrast',
    'HistoryBank': 'mcir_plugin.history',
    'SPNLoss': 'mcir_plugin.losses',
}
__all__ = [*_PUBLIC, '__version__']


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])


when_imported('basicsr', 'mcir_plugin.hosts.basicsr')
