"""One call of BasicSR's test pipeline: its results folder is its own while it writes there."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any

from mcir_plugin.hosts.basicsr.options import NOTES
from mcir_plugin.hosts.basicsr.survival.lock import locked
from mcir_plugin.hosts.basicsr.survival.ranks import decided_by_rank_0

_open: list[ExitStack] = []  # of the pipelines that run in this process


def letting_go(host_pipeline: Callable[..., None]) -> Callable[..., None]:
    """Wrap BasicSR's ``test_pipeline``: the folder is free again at its end, whatever the end is."""

    @wraps(host_pipeline)
    def test_pipeline(*args: Any, **kwargs: Any) -> None:
        with ExitStack() as stack:
            _open.append(stack)
            stack.callback(_open.pop)
            host_pipeline(*args, **kwargs)

    return test_pipeline


def claiming(host_make: Callable[..., None]) -> Callable[..., None]:
    """Wrap the test pipeline's ``make_exp_dirs``, which renames a results folder of the same name. Collective.

    Raises:
        ExperimentInUseError: (by the wrapped function) if another run writes there; nothing is renamed then.
    """

    @wraps(host_make)
    def make_exp_dirs(opt: dict[str, Any]) -> None:
        if _open:
            decided_by_rank_0(lambda: _claim(opt), opt)
        host_make(opt)

    return make_exp_dirs


def _claim(opt: dict[str, Any]) -> None:
    _open[-1].enter_context(locked(Path(opt['path']['results_root']), NOTES.append, 'path.results_root'))
