"""The arguments of the hook: strict and typed, as in every host, with mmengine's own spellings."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mcir_plugin.config import ConfigError, ContrastConfig, HistoryOptions, parse_block, parse_loss
from mcir_plugin.config.contrast import unused_history
from mcir_plugin.config.errors import raise_if_any, show
from mcir_plugin.config.kinds import Many, Number
from mcir_plugin.hosts.mmengine.registry import SCOPE

WHERE = 'HistoryNegativeHook'
MOMENTUM = Many(Number(above=0, maximum=1))
YAML_FLOAT = re.compile(r'[-+]?\d+(\.\d*)?[eE][-+]?\d+')  # 1e-3 without a point is text for mmengine's YAML reader


def read_options(spn: Mapping[str, Any] | None, history: Mapping[str, Any] | None) -> ContrastConfig:
    """Return the typed options of the loss and of the history.

    Args:
        spn (Mapping | None): As ``train.spn_opt`` of an option file; the type may carry its scope, or be the class.
        history (Mapping | None): As ``train.history_opt``, or with ``momentum`` = 1 - decay.

    Raises:
        ConfigError: For everything that is wrong, at once.
    """
    parsed, problems = [], []
    blocks = ((parse_loss, spn, 'spn', _with_plain_type),
              (partial(parse_block, HistoryOptions), history, 'history', _with_decay))
    for parse, block, name, translate in blocks:
        try:
            block = plain(block)
            block = translate(block, f'{WHERE}.{name}') if isinstance(block, dict) else block
            parsed.append(parse(block, f'{WHERE}.{name}'))
        except ConfigError as error:
            problems += error.problems
    raise_if_any(problems)
    raise_if_any(unused_history(parsed[0], history or {}, f'{WHERE}.history'))
    return ContrastConfig(*parsed)


def read_names(losses: str | Sequence[str]) -> tuple[str, ...]:
    """Return the attribute names of the losses.

    Raises:
        ConfigError: If it is not one name or several.
    """
    names = (losses, ) if isinstance(losses, str) else losses
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"{WHERE}.losses: received {show(losses)}, must be the name of a loss of the model, such as "
                          "'pixel_loss', or a list of such")
    return tuple(names)


def plain(value: Any) -> Any:
    """Return a config value without mmengine's own containers, and with numbers that YAML left as text."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, str) and YAML_FLOAT.fullmatch(value) else value


def _with_plain_type(spn: dict[str, Any], where: str) -> dict[str, Any]:
    kind = spn.get('type', 'SPNLoss')
    name = kind.__name__ if isinstance(kind, type) else kind
    return {**spn, 'type': name.removeprefix(f'{SCOPE}.') if isinstance(name, str) else name}


def _with_decay(history: dict[str, Any], where: str) -> dict[str, Any]:
    """Translate mmengine's ``momentum``, the share of the network in an average, into the share of the past."""
    if 'momentum' not in history:
        return history
    if 'decay' in history:
        raise ConfigError(f'{where}.momentum: received {show(history["momentum"])}, but decay is given as well '
                          f'({show(history["decay"])}). Keep one: momentum = 1 - decay')
    rest = {name: value for name, value in history.items() if name != 'momentum'}
    momentum = MOMENTUM.parse(history['momentum'], f'{where}.momentum')
    decay = [_complement(m) for m in momentum] if isinstance(momentum, tuple) else _complement(momentum)
    return {**rest, 'decay': decay}


def _complement(momentum: float) -> float:
    return round(1 - momentum, 12)  # 1 - 0.9 is 0.1, not 0.09999999999999998
