"""What rank 0 decides for all ranks: the others must not look at a file system that it is changing."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import distributed

from mcir_plugin.errors import McirError

T = TypeVar('T')


def decided_by_rank_0(function: Callable[[], T], opt: Mapping[str, Any]) -> T:
    """Call a function on rank 0 and return its result, or raise its error, on every rank. Collective.

    Args:
        function (Callable): Its result must be picklable.
        opt (Mapping): Parsed options: ``dist`` and ``rank``.

    Raises:
        McirError: What the function raised on rank 0; ``on_all_ranks`` is set on it.
    """
    if not opt['dist']:
        return function()
    answer: list[Any] = [None, None]
    if opt['rank'] == 0:
        try:
            answer[0] = function()
        except McirError as error:
            answer[1] = error
    distributed.broadcast_object_list(answer, 0)
    if answer[1] is not None:
        answer[1].on_all_ranks = True
        raise answer[1]
    return answer[0]
