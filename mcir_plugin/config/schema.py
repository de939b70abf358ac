"""Typed option blocks: a frozen dataclass whose fields say what they accept, and one strict reader for all of them."""
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

from mcir_plugin.config.errors import ConfigError, did_you_mean, raise_if_any, show
from mcir_plugin.config.kinds import Kind

BlockT = TypeVar('BlockT')


def option(default: Any, doc: str, kind: Kind, shown: str | None = None) -> Any:
    """Define one option of a block: ``loss_weight: float = option(1e-3, 'Weight of the term.', Number(above=0))``.

    Args:
        default (Any): Value when the option is not given. A dict is copied for every instance.
        doc (str): What it means, in one or two sentences, for the reference page.
        kind (Kind): What it accepts.
        shown (str | None): How the default is written on the reference page. Default: as YAML.
    """
    metadata = {'doc': doc, 'kind': kind, 'shown': shown}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(definition: Field) -> Any:
    """Return the default value of a dataclass field."""
    return definition.default if definition.default is not MISSING else definition.default_factory()


def parse_block(cls: type[BlockT], mapping: Mapping[str, Any] | None, where: str) -> BlockT:
    """Read one block of an option file.

    A block class may have two static methods: ``check(given, where)`` returns problems between options, and
    ``complete(given)`` returns the constructor arguments, with the defaults that depend on other options.

    Args:
        cls (type): Frozen dataclass made of `option` fields.
        mapping (Mapping | None): The block as written; None stands for an empty one.
        where (str): Option path of the block, such as ``train.spn_opt``.

    Returns:
        An instance of cls.

    Raises:
        ConfigError: For everything that is wrong, at once: unknown options, wrong types, values out of range,
            combinations that make no sense.
    """
    if not isinstance(mapping, Mapping | None):
        raise ConfigError(f'{where}: received {show(mapping)}, must be a mapping with options such as '
                          f'{fields(cls)[0].name}: ...')
    given, problems = _parse_values(cls, mapping or {}, where)
    if not problems and hasattr(cls, 'check'):
        problems = list(cls.check(given, where))
    raise_if_any(problems)
    return cls(**(cls.complete(given) if hasattr(cls, 'complete') else given))


def _parse_values(cls: type, mapping: Mapping[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    definitions = {definition.name: definition for definition in fields(cls)}
    given, problems = {}, []
    for name, value in mapping.items():
        if name not in definitions:
            problems.append(f'{where}.{name}: received {show(value)}, but there is no such option'
                            f'{did_you_mean(name, definitions)}. Options here: {", ".join(definitions)}')
            continue
        try:
            given[name] = definitions[name].metadata['kind'].parse(value, f'{where}.{name}')
        except ConfigError as error:
            problems += error.problems
    return given, problems
