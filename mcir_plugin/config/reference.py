"""The option reference of the README, generated from the typed definitions."""
from dataclasses import Field, fields
from typing import Any

from mcir_plugin.config.presets import PRESETS
from mcir_plugin.config.schema import default_of


def reference_table(cls: type) -> str:
    """Return a Markdown table with option, default, allowed values and meaning of an option block.

    Args:
        cls (type): Frozen dataclass made of `mcir_plugin.config.schema.option` fields.
    """
    rows = [(f'`{definition.name}`', f'`{_default_text(definition)}`', definition.metadata['kind'].describe(),
             definition.metadata['doc']) for definition in fields(cls)]
    return _table(('Option', 'Default', 'Allowed', 'Meaning'), rows)


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


def variants_table(blocks: dict[str, type]) -> str:
    """Return what each of several blocks is, and a Markdown table of all their options with the types that read them.

    Args:
        blocks (dict[str, type]): Frozen dataclasses of options by the value of ``type``.
    """
    lines = [f'- `{name}`: {" ".join(block.__doc__.split())}' for name, block in blocks.items()]
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, block in blocks.items():
        for definition in fields(block):
            if definition.name != 'type':
                row = (f'`{definition.name}`', f'`{_default_text(definition)}`',
                       definition.metadata['kind'].describe(), definition.metadata['doc'])
                rows.setdefault(row, []).append(name)
    cells = [(*row, ', '.join(readers)) for row, readers in rows.items()]
    return '\n'.join(lines) + '\n\n' + _table(('Option', 'Default', 'Allowed', 'Meaning', 'Type'), cells)


def preset_table() -> str:
    """Return a Markdown table of all values of the presets, each with its source."""
    cells = [(f'`{name}`', f'`{option}: {as_yaml(entry.value)}`', entry.mark, entry.source)
             for name, preset in PRESETS.items() for option, entry in preset.items()]
    return _table(('Preset', 'Option', 'Whose value', 'Source'), cells)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ('---', ) * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(_escaped(cell) for cell in line) + ' |' for line in lines) + '\n'
