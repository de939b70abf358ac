"""What the stages hand on to each other."""
from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcir_plugin.config import ContrastConfig

if TYPE_CHECKING:
    from mcir_plugin.hosts.basicsr.check.cost import Measured

_VARIABLES = {'pytorch': ('RANK', 'WORLD_SIZE'), 'slurm': ('SLURM_PROCID', 'SLURM_NTASKS')}


@dataclass
class Context:
    """The run under examination.

    Attributes:
        args (argparse.Namespace): The command line, as for ``basicsr train``.
        root (str): Folder in which training would be started.
        processes (int): Number of processes that would train.
        opt (dict | None): Options as BasicSR's models receive them; None while they could not be read.
        contrast (ContrastConfig | None): The contrastive term, if the file asks for one.
        contrast_unread (bool): The file asks for one, but in a way that cannot be read.
        resume_state (dict | None): The training state that would be resumed.
        images (dict[str, int]): Images (or clips) per phase.
        batch (dict | None): One real training batch.
        plain (Measured | None): Steps without the contrastive term.
        spn (Measured | None): Steps with it.
    """

    args: argparse.Namespace
    root: str
    processes: int = 1
    opt: dict[str, Any] | None = None
    contrast: ContrastConfig | None = None
    contrast_unread: bool = False
    resume_state: dict[str, Any] | None = None
    images: dict[str, int] = field(default_factory=dict)
    batch: dict[str, Any] | None = None
    plain: Measured | None = None
    spn: Measured | None = None


def place_among_processes(launcher: str) -> tuple[int, int | None]:
    """Return rank and number of processes, from what the launcher left in the environment.

    Args:
        launcher (str): ``none``, ``pytorch`` or ``slurm``.

    Returns:
        tuple[int, int | None]: The number is None if a launcher is named but did not start this process.
    """
    if launcher == 'none':
        return 0, 1
    rank, size = (os.environ.get(name, '') for name in _VARIABLES[launcher])
    return (int(rank), int(size)) if rank.isdigit() and size.isdigit() else (0, None)
