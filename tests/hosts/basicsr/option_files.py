"""The option files of the project, by kind."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from mcir_plugin.config import load_options

ROOT = Path(__file__).parents[3] / 'options'
YAML = [path for path in sorted(ROOT.rglob('*')) if path.suffix.lower() in ('.yml', '.yaml')]
PARTS = [path for path in YAML if '_base' in str(path.relative_to(ROOT))]
FILES = [path for path in YAML if path not in PARTS]
TRAINING = [path for path in FILES if 'train' in load_options(path)]
TESTS = [path for path in FILES if path not in TRAINING]
PUBLISHED = [path for path in FILES if path.relative_to(ROOT).parts[0] in ('train', 'test')]
WITH_SPN = [path for path in PUBLISHED if path.stem.endswith('_SPN')]


def named(paths: list[Path]) -> dict[str, Any]:
    """Arguments of ``pytest.mark.parametrize``: a test per file, under its name."""
    return {'argvalues': paths, 'ids': [str(path.relative_to(ROOT)) for path in paths]}
