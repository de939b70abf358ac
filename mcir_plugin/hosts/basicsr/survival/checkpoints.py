"""Which checkpoint a run continues from: the newest that is complete and undamaged."""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mcir_plugin.hosts.basicsr.compat.saving import TEMPORARY, CheckpointError
from mcir_plugin.hosts.basicsr.survival.checksums import damage_of

_LEFTOVER = re.compile(r'\..+\.(pth|state|sha256)\.\w+' + re.escape(TEMPORARY))


class Choice(NamedTuple):
    """A checkpoint, and why newer ones were passed over.

    Attributes:
        state (Path | None): Its training state; None if there is no checkpoint at all.
        rejected (list[str]): One sentence per damaged one.
    """

    state: Path | None
    rejected: list[str]


def training_states(folder: Path) -> list[Path]:
    """Return the training states of a folder, newest first."""
    states = [path for path in folder.glob('*.state') if path.stem.isdigit()]
    return sorted(states, key=lambda path: int(path.stem), reverse=True)


def network_files(opt: Mapping[str, Any], iteration: str) -> list[Path]:
    """Return the network files that BasicSR reads when it continues from an iteration."""
    ignored = opt['path'].get('ignore_resume_networks') or ()
    names = [name.removeprefix('network_') for name in opt if name.startswith('network_') and name not in ignored]
    return [Path(opt['path']['models'], f'net_{name}_{iteration}.pth') for name in names]


def newest_complete(opt: Mapping[str, Any]) -> Choice:
    """Return the newest checkpoint of an experiment whose files are all there and undamaged.

    Args:
        opt (Mapping): Parsed options; ``path`` and the networks are read.

    Raises:
        CheckpointError: If there are checkpoints, and all of them are damaged.
    """
    rejected = []
    for state in training_states(Path(opt['path']['training_states'])):
        damage = damage_of(state, network_files(opt, state.stem))
        if not damage:
            return Choice(state, rejected)
        rejected.append(damage)
    if rejected:
        raise CheckpointError('--auto_resume: no checkpoint of this experiment is complete: '
                              f'{"; ".join(rejected)}. Restore one, or start anew without --auto_resume (the folder '
                              'is then renamed, not deleted).')
    return Choice(None, [])


def require_undamaged(state: Path, opt: Mapping[str, Any]) -> None:
    """Make sure that a training state that the user named can be used.

    Raises:
        CheckpointError: If it is damaged; the message names the newest complete one of the experiment.
    """
    damage = damage_of(state)
    if not damage:
        return
    try:
        other = newest_complete(opt).state
    except CheckpointError:
        other = None
    hint = f'The newest complete one of this experiment is {other}' if other else 'Name another one'
    raise CheckpointError(f'path.resume_state: {damage}. {hint}.')


def remove_leftovers(opt: Mapping[str, Any]) -> list[Path]:
    """Remove what a killed process left of files that it was writing. Returns their paths."""
    folders = {Path(opt['path'][name]) for name in ('experiments_root', 'models', 'training_states')}
    found = [path for folder in folders if folder.is_dir() for path in folder.iterdir()
             if _LEFTOVER.fullmatch(path.name)]
    for path in found:
        path.unlink(missing_ok=True)
    return found
