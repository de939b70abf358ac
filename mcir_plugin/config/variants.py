"""Kinds of options that choose one of several typed blocks by name, and ranges of two numbers."""
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mcir_plugin.config.errors import ConfigError, show
from mcir_plugin.config.kinds import Choice, Kind, refuse
from mcir_plugin.config.schema import parse_block


@dataclass(frozen=True)
class Variant:
    """The name of a block, or a mapping with ``type`` and the block's own options.

    Args:
        blocks (dict[str, type]): Frozen dataclasses of options by name, each with an option ``type``.
        what (str): What the options belong to, for the message.
    """

    blocks: dict[str, type]
    what: str

    def describe(self) -> str:
        """Return the allowed values in words."""
        names = Choice(tuple(self.blocks)).describe()
        return f'{names}, or a mapping with this type and the options of the {self.what}'

    def parse(self, value: Any, where: str) -> dict[str, Any]:
        """Return the mapping with all options of the block."""
        block = {'type': value} if isinstance(value, str) else value
        if not isinstance(block, Mapping) or 'type' not in block:
            raise ConfigError(f'{where}: received {show(value)}, must be {self.describe()}')
        name = Choice(tuple(self.blocks)).parse(block['type'], f'{where}.type')
        return asdict(parse_block(self.blocks[name], block, where))


@dataclass(frozen=True)
class Block:
    """A mapping with the options of one block; an empty one is all defaults.

    Args:
        cls (type): Frozen dataclass of options.
    """

    cls: type

    def describe(self) -> str:
        """Return the allowed values in words."""
        return 'a mapping of its options, {} for the defaults'

    def parse(self, value: Any, where: str) -> dict[str, Any]:
        """Return the mapping with all options of the block."""
        if not isinstance(value, Mapping):
            raise refuse(value, where, self)
        return asdict(parse_block(self.cls, value, where))


@dataclass(frozen=True)
class Range:
    """A list of two values, the first not above the second.

    Args:
        kind (Kind): What each of them may be.
    """

    kind: Kind

    def describe(self) -> str:
        """Return the allowed values in words."""
        return f'a list of two, the smaller first, each {self.kind.describe()}'

    def parse(self, value: Any, where: str) -> tuple[Any, Any]:
        """Return the two values as a tuple."""
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise refuse(value, where, self)
        low, high = (self.kind.parse(item, f'{where}[{i}]') for i, item in enumerate(value))
        if low > high:
            raise refuse(value, where, self)
        return low, high
