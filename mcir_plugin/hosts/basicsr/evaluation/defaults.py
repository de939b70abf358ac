"""What an option file must not miss before a validation, and what a test need not give."""
from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY

from mcir_plugin.config import ConfigError
from mcir_plugin.config.errors import did_you_mean, raise_if_any, show
from mcir_plugin.hosts.basicsr.evaluation.lpips_metric import lpips_problems


def complete_test_options(opt: dict[str, Any]) -> None:
    """Add to ``val`` what BasicSR's test pipeline reads without a default; a progress bar where somebody can see it.

    Raises:
        ConfigError: If ``val`` is no mapping.
    """
    val = opt.get('val')
    if not isinstance(val, Mapping | None):
        raise ConfigError(f'val: received {show(val)}, must be a mapping of options')
    defaults = {'save_img': False, 'suffix': None, 'metrics': None, 'pbar': sys.stderr.isatty()}
    opt['val'] = {**defaults, **(val or {})}


def require_known_metrics(opt: Mapping[str, Any]) -> None:
    """Refuse metrics that nobody has registered, and LPIPS where it is not at hand; BasicSR would at a validation.

    Raises:
        ConfigError: Naming every one of them.
    """
    metrics, known = (opt.get('val') or {}).get('metrics'), METRIC_REGISTRY.keys()
    types = {name: block.get('type') for name, block in (metrics.items() if isinstance(metrics, Mapping) else ())
             if isinstance(block, Mapping)}
    raise_if_any(f'val.metrics.{name}.type: received {show(found)}, but no metric of this name is registered'
                 f'{did_you_mean(found, known)}. Known: {", ".join(known)}. If another package brings it, name the '
                 'module that registers it in imports'
                 for name, found in types.items() if not {str(found), f'{found}_basicsr'} & {*known})
    raise_if_any(lpips_problems(metrics))
