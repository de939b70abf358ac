"""The option reference of the README, generated from the typed definitions."""
from dataclasses import Field, fields
from typing import Any

from mcir_plugin.config.schema import default_of


def reference_table(cls: type) -> str:
    """Return a Markdown table with option, default, allowed values and meaning of an option block.

    Args:
        cls (type): Frozen dataclass made of `mcir_plugin.config.schema.option` fields.
    """
    rows = [('Option', 'Default', 'Allowed', 'Meaning'), ('---', ) * 4]
    rows += [(f'`{definition.name}`', f'`{_default_text(definition)}`', definition.metadata['kind'].describe(),
              definition.metadata['doc']) for definition in fields(cls)]
    return '\n'.join('| ' + ' | '.join(_escaped(cell) for cell in row) + ' |' for row in rows) + '\n'


def _escaped(cell: str) -> str:
    """Keep Markdown from reading a cell as columns or as HTML."""
    return cell.replace('|', '\\|').replace('<', '&lt;')


def _default_text(definition: Field) -> str:
    return definition.metadata['shown'] or as_yaml(default_of(definition))


def as_yaml(value: Any) -> str:
    """Return a value as one would write it in an option file, on one line."""
    if isinstance(value, dict):
        return '{' + ', '.join(f'{name}: {as_yaml(item)}' for name, item in value.items()) + '}'
    if isinstance(value, list | tuple):
        return '[' + ', '.join(map(as_yaml, value)) + ']'
    return {None: '~', True: 'true', False: 'false'}[value] if value is None or isinstance(value, bool) else str(value)
