"""Writes pictures of the pixel weight into the visualization folder of an experiment."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from mcir_plugin.hosts.picture import is_due, picture
from mcir_plugin.report.strip import save_picture

FOLDER = 'uncertainty'  # beside the folders of the validation images


def write(model: Any) -> None:
    """Write ``visualization/uncertainty/uncertainty_<iteration>.png`` where one is due; rank 0 does.

    Args:
        model (BaseModel): With a history; the picture is of the step that it has just made.
    """
    if model.opt['rank'] != 0 or not is_due(model.contrast, _every(model.opt)):
        return
    paths = model.opt['path']
    folder = Path(paths.get('visualization') or Path(paths['experiments_root'], 'visualization'), FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    save_picture(picture(model.contrast), folder / f'{FOLDER}_{model.contrast.step}.png')


def _every(opt: dict[str, Any]) -> int | None:
    """Return the iterations between two pictures: as asked for, else those between two validations, None for never."""
    asked = ((opt['train'].get('history_opt') or {}).get('uncertainty') or {}).get('visualize_iter')
    every = asked or (opt.get('val') or {}).get('val_freq')
    return int(every) if every else None
