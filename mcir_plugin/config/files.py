"""Option files: reading them with ``_base_`` inheritance, and writing them so that every reader agrees."""
import errno
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mcir_plugin.config.errors import ConfigError, show
from mcir_plugin.config.yaml_text import EXPONENT_FLOAT, FLOAT_TAG, MAX_DEPTH, parse_yaml

BASE_KEY = '_base_'
DELETE_KEY = '_delete_'
MAX_FILES = 64  # that one option file builds on, each time counted
MAX_BYTES = 10_000_000


def load_options(path: str | Path) -> dict[Any, Any]:
    """Read an option file and the files that it builds on.

    ``_base_: stock.yml`` (or a list of files, later ones win) names the files that this one changes, relative to the
    file that names them. Mappings are merged deeply; lists and single values are replaced. ``_delete_: true`` inside a
    mapping drops what was inherited for it first.

    Args:
        path (str | Path): YAML file, UTF-8.

    Returns:
        dict: Plain dicts, lists and values in the order of the files, without the two special keys.

    Raises:
        ConfigError: If a file is missing, not UTF-8, not a YAML mapping, unsafe (a python tag), names a key twice, or
            is its own base, or if files build on more than ``MAX_FILES`` in all. The message names file and line.
    """
    return _strip(_load(Path(path), (), []))


def merge(base: Mapping[Any, Any], change: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return base with the changes of an inheriting file; neither is modified."""
    if change.get(DELETE_KEY) is True:
        base = {}
    result = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if both else value
    return result


def dump_options(opt: Mapping[Any, Any]) -> str:
    """Write options as plain YAML that BasicSR's reader and `load_options` read back identically.

    Args:
        opt (Mapping): Mappings, lists, tuples (written as lists), str, int, float, bool and None.

    Returns:
        str: Block style YAML without tags, anchors or line wrapping.

    Raises:
        ConfigError: If a value of another type, or one that contains itself, is inside; the message names its path.
    """
    return yaml.dump(_plain(opt, ''), Dumper=_OptionDumper, sort_keys=False, default_flow_style=False,
                     allow_unicode=True, width=math.inf)


class _OptionDumper(yaml.SafeDumper):
    """Quotes text that either reader would take for a number; repeats a value instead of writing an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        """Say that nothing is written as an alias."""
        return True


def _write_text(dumper: _OptionDumper, text: str) -> yaml.ScalarNode:
    """Escape the line ends other than \\n, which PyYAML writes as they are and reads back as a space."""
    style = '"' if any(end in text for end in '\x85\u2028\u2029') else None
    return dumper.represent_scalar('tag:yaml.org,2002:str', text, style=style)


_OptionDumper.add_representer(str, _write_text)
_OptionDumper.add_implicit_resolver(FLOAT_TAG, EXPONENT_FLOAT, list('-+.0123456789'))


def _load(path: Path, chain: tuple[Path, ...], read: list[Path]) -> dict[Any, Any]:
    path, text = _read_text(path, chain)
    if path in chain:
        names = ' -> '.join(str(p) for p in (*chain, path))
        raise ConfigError(f'{chain[-1]}: {BASE_KEY} leads back to a file that is being read: {names}. Remove one')
    read.append(path)
    if len(read) > MAX_FILES:
        raise ConfigError(f'{chain[-1]}: {BASE_KEY} leads to more than {MAX_FILES} files. Option files need fewer')
    own = _as_mapping(parse_yaml(text, str(path)), path)
    merged: dict[Any, Any] = {}
    for name in _base_names(own.pop(BASE_KEY, []), path):
        merged = merge(merged, _load(_beside(path, name), (*chain, path), read))
    return merge(merged, own)


def _read_text(path: Path, chain: tuple[Path, ...]) -> tuple[Path, str]:
    """Return the absolute path and what the file holds."""
    try:
        real = path.expanduser().resolve()
        if real.exists() and not real.is_dir() and not real.is_file():
            raise OSError(errno.EINVAL, 'it is a device or a pipe, not a file')
        if real.is_file() and real.stat().st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f'it has more than {MAX_BYTES:,} bytes, option files need fewer')
        return real, real.read_bytes().decode('utf-8-sig')
    except (OSError, ValueError, RuntimeError) as error:
        named_by = f' ({BASE_KEY} of {chain[-1]})' if chain else ''
        reason = 'it is not UTF-8 text' if isinstance(error, UnicodeDecodeError) else getattr(error, 'strerror', error)
        name = str(path) if str(path).isprintable() else show(str(path))
        raise ConfigError(f'{name}: cannot read this option file{named_by}: {reason}. Check the path') from error


def _as_mapping(value: Any, path: Path) -> dict[Any, Any]:
    if not isinstance(value, dict):
        found = 'it is empty' if value is None else f'it holds {show(value)}'
        raise ConfigError(f'{path}: an option file must be a mapping of options (name: ..., train: ...), but {found}')
    return value


def _base_names(value: Any, path: Path) -> list[str]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f'{path}: {BASE_KEY} must be a file name or a list of file names, received {show(value)}')
    return names


def _beside(path: Path, name: str) -> Path:
    return Path(name) if name.startswith('~') else path.parent / name


def _strip(value: Any, where: str = '') -> Any:
    """Remove the delete marks and refuse the special keys where they would do nothing."""
    if isinstance(value, list):
        return [_strip(item, f'{where}[{i}]') for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if BASE_KEY in value:
        raise ConfigError(f'{where}.{BASE_KEY}: works only at the top of an option file. Move it there')
    if not isinstance(value.get(DELETE_KEY, True), bool):
        raise ConfigError(f'{where}.{DELETE_KEY}: received {show(value[DELETE_KEY])}, must be true or false')
    return {key: _strip(item, f'{where}.{key}' if where else str(key)) for key, item in value.items()
            if key != DELETE_KEY}


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ConfigError(f'{where[:200]}: nested more than {MAX_DEPTH} levels deep, or contains itself')
    if isinstance(value, Mapping):
        return {_plain_scalar(key, where): _plain(item, f'{where}.{key}' if where else str(key), depth + 1)
                for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f'{where}[{i}]', depth + 1) for i, item in enumerate(value)]
    return _plain_scalar(value, where)


def _plain_scalar(value: Any, where: str) -> Any:
    """Accept what YAML can hold without a tag; a subclass (an enum, a NumPy scalar) becomes its plain type."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, str) and _encodable(value):
        return str.__str__(value)
    raise ConfigError(f'{where}: {show(value)} of type {type(value).__name__} cannot be written to an option file. '
                      'Use mappings, lists, text that UTF-8 can hold, numbers, true, false or ~')


def _encodable(text: str) -> bool:
    """Say whether UTF-8 can hold a text: not with the half characters that stand for undecodable file names."""
    try:
        text.encode('utf-8')
    except UnicodeEncodeError:
        return False
    return True
