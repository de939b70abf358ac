"""``--force_yml train:total_iter=1000``: single options from the command line, without exec or eval."""
from collections.abc import Iterable
from typing import Any

import yaml

from mcir_plugin.config.errors import ConfigError, raise_if_any, show
from mcir_plugin.config.files import BASE_KEY, DELETE_KEY
from mcir_plugin.config.yaml_text import MAX_DEPTH, compose, read_node

_FORM = 'Write block:option=value, for example train:spn_opt:loss_weight=1e-3'


def apply_overrides(opt: dict[Any, Any], entries: Iterable[str]) -> None:
    """Set single options in place, in the order given. Blocks that do not exist yet are created.

    Args:
        opt (dict): Options as `load_options` returns them.
        entries (Iterable[str]): ``block:option=value``. The value is read as in an option file (``2e-4``, ``true``,
            ``~``, ``[1, 2]``, ``{a: 1}``, quoted text); ``none`` in any case is no value, as BasicSR reads it here. It
            may contain ``=``. A number in the path is a position where the block is a list.

    Raises:
        ConfigError: If an entry cannot be used. The others are applied; all problems are reported at once.
    """
    problems = []
    for entry in entries:
        source = f'--force_yml {entry if len(entry) <= 100 else entry[:97] + "..."}'
        try:
            path, separator, text = entry.partition('=')
            if not separator:
                raise ConfigError(f'{source}: there is no = in it. {_FORM}')
            parts = _split(path, source)
            _require_colons(opt, parts[0], source)
            _assign(opt, parts, _value(text.strip(), source), source)
        except ConfigError as error:
            problems += error.problems
    raise_if_any(problems)


def _split(path: str, source: str) -> list[str]:
    parts = [part.strip() for part in path.split(':')]
    if not all(parts):
        raise ConfigError(f'{source}: the name of an option or block is empty. {_FORM}')
    if len(parts) > MAX_DEPTH:
        raise ConfigError(f'{source}: more than {MAX_DEPTH} levels deep. {_FORM}')
    special = [part for part in parts if part in (BASE_KEY, DELETE_KEY)]
    if special:
        raise ConfigError(f'{source}: {special[0]} works in option files only. {_FORM}')
    return parts


def _require_colons(opt: dict[Any, Any], first: str, source: str) -> None:
    """Refuse train.total_iter, as messages write it: it would be a new option of this name, which nothing reads."""
    if first not in opt and first.partition('.')[0] in opt and '.' in first:
        raise ConfigError(f'{source}: blocks and options are separated by :. Write {first.replace(".", ":")}=...')


def _value(text: str, source: str) -> Any:
    """Read the right side: one plain value, or a list or mapping in brackets."""
    if not text:
        return None
    node = compose(text, source)
    if node is None or _is_block(node) or node.start_mark.index > 0 or node.end_mark.index < len(text):
        raise ConfigError(f'{source}: what follows = is not one value. Put text with special characters in quotes, and '
                          """the whole in quotes for the shell: 'block:option="some: text # with signs"'""")
    if isinstance(node, yaml.ScalarNode) and not node.style and node.value.lower() == 'none':
        return None
    return read_node(node, source)


def _is_block(node: yaml.Node) -> bool:
    """Say whether a node is written without brackets or quotes over several lines, as in a file."""
    return not node.flow_style if isinstance(node, yaml.CollectionNode) else node.style in ('|', '>')


def _assign(opt: dict[Any, Any], parts: list[str], value: Any, source: str) -> None:
    block: Any = opt
    for depth, part in enumerate(parts):
        where = ':'.join(parts[:depth])
        if not isinstance(block, dict | list):
            raise ConfigError(f'{source}: {where} is the single value {show(block)}, so it has no option {part}. '
                              f'To replace it, write {where}={{{part}: ...}}')
        key = _key(block, part, where, source)
        if depth == len(parts) - 1:
            block[key] = value
        else:
            if isinstance(block, dict) and block.get(key) is None:
                block[key] = {}
            block = block[key]


def _key(block: dict[Any, Any] | list[Any], part: str, where: str, source: str) -> Any:
    """Return the key or position that a part of the path means in this block."""
    number = int(part) if part.isascii() and part.isdigit() and len(part) < 10 else -1
    if isinstance(block, dict):
        return number if part not in block and number >= 0 and number in block else part
    if not 0 <= number < len(block):
        raise ConfigError(f'{source}: {where} is a list of {len(block)}, so {part} must be a position, counted from 0. '
                          f'To replace the list, write {where}=[...]')
    return number
