"""The file that says which runs a comparison has, what they are compared as, and in which order a report shows them."""
from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mcir_plugin.config import ConfigError
from mcir_plugin.errors import StateError
from mcir_plugin.formats import read_json
from mcir_plugin.hosts.basicsr.compare.plan import PlannedRun
from mcir_plugin.report import write_text

NAME, FORMAT = 'comparison.json', 1


def write_order(folder: Path, runs: Iterable[PlannedRun]) -> None:
    """Keep the names of all runs in the order given; earlier ones of the folder follow.

    Raises:
        ConfigError: If the file of an earlier command cannot be read.
    """
    variants = {run.folder.name: run.variant for run in runs}
    content = {'format': FORMAT, 'variants': variants, 'runs': list(variants)}
    path = folder / NAME
    if path.is_file():
        before = _before(path)
        content = {'format': FORMAT, 'variants': {**before['variants'], **variants},
                   'runs': list(dict.fromkeys([*variants, *before['runs']]))}
    write_text(path, json.dumps(content, indent=2) + '\n')


def in_order(folder: Path, runs: list[Path]) -> list[Path]:
    """Return the runs of a comparison in its order, those that it does not know last."""
    order = _content(folder).get('runs', [])
    return sorted(runs, key=lambda run: order.index(run.name) if run.name in order else len(order))


def variant_name(run: Path) -> str | None:
    """Return what a run is compared as; None where its comparison does not say so."""
    variants = _content(run.parent).get('variants')
    return variants.get(run.name) if isinstance(variants, dict) else None


def _content(folder: Path) -> dict[str, Any]:
    """Return what the file says; nothing where there is none, or it is damaged."""
    try:
        return read_json(folder / NAME, FORMAT)
    except StateError:
        raise
    except (OSError, ValueError):
        return {}


def _before(path: Path) -> dict[str, dict[str, str] | list[str]]:
    try:
        content = read_json(path, FORMAT)
        return {'variants': dict(content['variants']), 'runs': list(content['runs'])}
    except StateError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'{path} cannot be read ({error}). Remove it, or choose another folder with '
                          '--output') from error
