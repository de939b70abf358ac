"""Safe YAML text to plain Python values. Option files and ``--force_yml`` values are read by the same rules.

The rules are those of BasicSR's own reader (YAML 1.1: ``on`` is true, ``~`` is None, ``!!float 2e-4`` is a float) with
three differences: ``2e-4`` is a number without its tag, a date stays text, and a tag never makes anything but a plain
value.
"""
import re
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from mcir_plugin.config.errors import ConfigError, show

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML built without libyaml: the same results, slower
    from yaml import SafeLoader as _SafeLoader

MAX_NODES = 100_000  # far above any option file; counts what an alias stands for, so a YAML bomb ends here
MAX_DEPTH = 64
EXPONENT_FLOAT = re.compile(r'^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$')
FLOAT_TAG = 'tag:yaml.org,2002:float'

_CORE = 'tag:yaml.org,2002:'
_SCALAR_TAGS = {_CORE + name for name in ('null', 'bool', 'int', 'float', 'str')}
_CONSTRUCTOR = SafeConstructor()
_MERGE_TAG = _CORE + 'merge'


class _OptionLoader(_SafeLoader):
    """Resolves plain scalars by the rules above."""


_OptionLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag not in (_CORE + 'timestamp', _CORE + 'value')]
    for first, pairs in _SafeLoader.yaml_implicit_resolvers.items()
}
_OptionLoader.add_implicit_resolver(FLOAT_TAG, EXPONENT_FLOAT, list('-+.0123456789'))


def parse_yaml(text: str, source: str) -> Any:
    """Read one YAML document.

    Args:
        text (str): The document.
        source (str): Where it comes from, for messages: a file name or an option path.

    Returns:
        Any: dicts, lists, str, int, float, bool and None only. Nothing is shared: an alias becomes a copy.

    Raises:
        ConfigError: If the text is not YAML, carries a tag other than those of plain values, names a key twice, or is
            nested or expanded beyond reason. The message names source and line.
    """
    return read_node(compose(text, source), source)


def compose(text: str, source: str) -> yaml.Node | None:
    """Return the checked syntax tree of one YAML document, None for an empty one. Raises as `parse_yaml` does."""
    loader = None
    try:
        _check_size(text, source)
        loader = _OptionLoader(text)
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_problem(error, source)) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise ConfigError(f'{source}: not readable as YAML: {error}') from error
    finally:
        if loader is not None:
            loader.dispose()


def read_node(node: yaml.Node | None, source: str, option: str = '') -> Any:
    """Turn a syntax tree into plain values; ``option`` is named in errors. Raises as `parse_yaml` does."""
    if node is None:
        return None
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, source, option)
    expected = _CORE + ('map' if isinstance(node, yaml.MappingNode) else 'seq')
    if node.tag != expected:
        raise ConfigError(_tag_problem(node, source))
    if isinstance(node, yaml.SequenceNode):
        return [read_node(item, source) for item in node.value]
    return _mapping(node, source)


def _syntax_problem(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    line = f':{mark.line + 1}' if mark else ''
    what = ', '.join(part for part in (error.context, error.problem) if part)
    if 'maximum nesting depth' in what:  # newer versions of libyaml have a limit of their own
        return _too_deep(f'{source}{line}')
    return f'{source}{line}: not valid YAML: {what}. Check indentation, colons and quotes on and above this line'


def _too_deep(where: str) -> str:
    return f'{where}: nested more than {MAX_DEPTH} levels deep. Option files need fewer'


def _check_size(text: str, source: str) -> None:
    """Bound nesting and total size, aliases expanded, before anything recursive sees the document."""
    total, open_blocks, sizes = 0, [], {}
    for event in yaml.parse(text, Loader=_OptionLoader):
        where = f'{source}:{event.start_mark.line + 1}'
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_blocks.pop()
            sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ConfigError(f'{where}: alias *{event.anchor} has no complete anchor &{event.anchor} above it')
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_blocks.append((event.anchor, total))
            total += 1
        if len(open_blocks) > MAX_DEPTH:
            raise ConfigError(_too_deep(where))
        if total > MAX_NODES:
            raise ConfigError(f'{where}: more than {MAX_NODES} values, aliases expanded. Option files need fewer')


def _tag_problem(node: yaml.Node, source: str) -> str:
    tag = node.tag.replace(_CORE, '!!')
    return (f'{source}:{node.start_mark.line + 1}: tag {tag} is not allowed here. Option files hold plain values only '
            '(!!float, !!int, !!bool, !!str, !!null, mappings and lists): write the value itself')


def _scalar(node: yaml.ScalarNode, source: str, option: str) -> Any:
    if node.tag == _MERGE_TAG:
        return node.value
    if node.tag not in _SCALAR_TAGS:
        raise ConfigError(_tag_problem(node, source))
    try:
        return SafeConstructor.yaml_constructors[node.tag](_CONSTRUCTOR, node)
    except (yaml.YAMLError, ValueError, LookupError) as error:
        tag = node.tag.removeprefix(_CORE)
        named = f'{option}: ' if option else ''
        raise ConfigError(f'{source}:{node.start_mark.line + 1}: {named}{show(node.value)} cannot be read as {tag}. '
                          'Correct it, or put it in quotes if it is text') from error


def _mapping(node: yaml.MappingNode, source: str) -> dict[Any, Any]:
    merged, own, lines = {}, {}, {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f'{source}:{line}: a list or mapping cannot be the name of an option. Use text')
        key = read_node(key_node, source)
        if key in lines:
            raise ConfigError(f'{source}:{line}: {key} is given twice in the same block, first on line {lines[key]}. '
                              'Remove one of the two')
        lines[key] = line
        if key_node.tag == _MERGE_TAG:
            merged = _merged(value_node, source)
        else:
            own[key] = read_node(value_node, source, str(key))
    return {**merged, **own}


def _merged(node: yaml.Node, source: str) -> dict[Any, Any]:
    """What ``<<: *anchor`` or ``<<: [*first, *second]`` brings in; the first one named wins."""
    value = read_node(node, source)
    blocks = value if isinstance(value, list) else [value]
    result: dict[Any, Any] = {}
    for block in blocks:
        if not isinstance(block, dict):
            raise ConfigError(f'{source}:{node.start_mark.line + 1}: << needs a mapping or a list of mappings')
        result = {**block, **result}
    return result
