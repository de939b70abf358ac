"""``logger.keep_last`` and ``keep_every``: old checkpoints go, the newest good ones stay."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from basicsr.utils import get_root_logger

from mcir_plugin.config import RetentionOptions
from mcir_plugin.hosts.basicsr.compat.saving import CheckpointError
from mcir_plugin.hosts.basicsr.survival.checkpoints import network_files, training_states
from mcir_plugin.hosts.basicsr.survival.checksums import SUFFIX, checksums_of, damage_of, recorded


def delete_old(opt: Mapping[str, Any], keep: RetentionOptions) -> list[Path]:
    """Delete what is older than the ``keep_last`` newest good checkpoints and no multiple of ``keep_every``.

    Good is what has been read back and is as it was written. Damaged checkpoints are not counted, so that the newest
    good one never goes; newer than the oldest kept one, they stay for the user to see.

    Args:
        opt (Mapping): Parsed options; ``path`` and the networks are read.
        keep (RetentionOptions): With ``keep_last``.

    Returns:
        list[Path]: The training states that were deleted.
    """
    folder = Path(opt['path']['training_states'])
    _finish_deletions(folder, opt)
    old = [state for state in _older_than_kept(training_states(folder), opt, keep.keep_last)
           if keep.keep_every is None or int(state.stem) % keep.keep_every]
    for state in old:
        _delete(state, opt)
    return old


def _older_than_kept(states: list[Path], opt: Mapping[str, Any], keep_last: int) -> list[Path]:
    good = 0
    for index, state in enumerate(states):
        damage = damage_of(state, network_files(opt, state.stem))
        if damage:
            get_root_logger().warning(f'Checkpoint {state.stem} is not counted by keep_last: {damage}.')
        good += not damage
        if good == keep_last:
            return states[index + 1:]
    return []


def _delete(state: Path, opt: Mapping[str, Any]) -> None:
    """The state goes first: what a kill leaves half-deleted must not look like a checkpoint. The checksums go last."""
    files = list(_own_files(state, opt))
    for path in (state, *files, checksums_of(state)):
        path.unlink(missing_ok=True)


def _own_files(state: Path, opt: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the network files of a checkpoint: recorded or expected ones, by their names and never elsewhere."""
    models = Path(opt['path']['models'])
    try:
        named = recorded(state) or {}
    except CheckpointError:
        named = {}
    for path in {*(path.name for path in named), *(path.name for path in network_files(opt, state.stem))}:
        if path.endswith(f'_{state.stem}.pth'):
            yield models / path


def _finish_deletions(folder: Path, opt: Mapping[str, Any]) -> None:
    for path in folder.glob(f'*.state{SUFFIX}'):
        state = path.with_name(path.name.removesuffix(SUFFIX))
        if not state.exists():
            _delete(state, opt)
