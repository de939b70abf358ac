"""``prefetch_mode: cpu``: an error of a data set ends BasicSR's thread, and training waits for it for ever.

Can go when BasicSR hands errors of its prefetching thread on.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


class _Failure:
    """An error on its way through the queue of batches."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def queued_errors(host_method: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap ``PrefetchGenerator.run``: an error is put into the queue. Always applies."""

    @wraps(host_method)
    def run(self: Any) -> None:
        try:
            host_method(self)
        except BaseException as error:
            self.queue.put(_Failure(error))

    return run


def raised_errors(host_method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap ``PrefetchGenerator.__next__``: an error out of the queue is raised. Always applies."""

    @wraps(host_method)
    def __next__(self: Any) -> Any:
        item = host_method(self)
        if isinstance(item, _Failure):
            raise item.error
        return item

    return __next__
