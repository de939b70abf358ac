"""Constructor arguments of networks with stages, read by the typed definitions of the option files."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mcir_plugin.archs.errors import ArchError
from mcir_plugin.config.errors import ConfigError
from mcir_plugin.config.kinds import Kind, refuse
from mcir_plugin.config.schema import parse_block

LayoutT = TypeVar('LayoutT')


@dataclass(frozen=True)
class PerStage:
    """A list with one value for each stage; a kind of :mod:`mcir_plugin.config.kinds`.

    Args:
        kind (Kind): What each value may be.
        stages (int): Number of stages.
    """

    kind: Kind
    stages: int

    def describe(self) -> str:
        """Return the allowed values in words."""
        return f'a list of {self.stages} values, one per stage, each {self.kind.describe()}'

    def parse(self, value: Any, where: str) -> tuple[Any, ...]:
        """Return the values as a tuple."""
        if not isinstance(value, list | tuple):
            raise refuse(value, where, self)
        if len(value) != self.stages:
            raise refuse(value, where, self, f'. These are {len(value)}')
        return tuple(self.kind.parse(item, f'{where}[{i}]') for i, item in enumerate(value))


def read_arguments(layout: type[LayoutT], arguments: Mapping[str, Any], network: str) -> LayoutT:
    """Check the arguments of a network.

    Args:
        layout (type): Frozen dataclass made of :func:`mcir_plugin.config.schema.option` fields.
        arguments (Mapping): What is given.
        network (str): Name of the network, for messages.

    Returns:
        An instance of ``layout``.

    Raises:
        ArchError: For everything that is wrong, at once.
    """
    try:
        return parse_block(layout, arguments, network)
    except ConfigError as error:
        raise ArchError(str(error)) from None
