"""The error about data, which stays one sentence on its way out of a worker."""
from __future__ import annotations

from mcir_plugin.data.pairs import PairError


class BadImageError(PairError):
    """An image cannot be used. No OSError: some data sets skip what raises one.

    PyTorch hands an error of a data worker on by calling its class with a whole traceback as text; of that only the
    message is kept.

    Args:
        message (str): What is wrong with which image of which data set, or that with a traceback before it.
    """

    def __init__(self, message: str) -> None:
        name = type(self).__name__
        if message.startswith(f'Caught {name} '):
            message = message.rpartition(f'{name}: ')[2].strip()
        super().__init__(message)
