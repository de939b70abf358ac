"""What a value may be. Small parts that an option definition is composed of.

Every kind has ``describe()``, the allowed values in words, and ``parse(value, where)``, which returns the value in its
normal form or raises ConfigError. Types are strict: text is never read as a number, true is not 1.
"""
import math
from dataclasses import dataclass
from typing import Any, Protocol

from mcir_plugin.config.errors import ConfigError, did_you_mean, raise_if_any, show


class Kind(Protocol):
    """One sort of value."""

    def describe(self) -> str:
        """Return the allowed values in words, to follow 'must be'."""

    def parse(self, value: Any, where: str) -> Any:
        """Return the normal form of ``value``.

        Raises:
            ConfigError: If it is not allowed; the message starts with the option path ``where``.
        """


def refuse(value: Any, where: str, kind: Kind, hint: str = '') -> ConfigError:
    """Return the error for a value that a kind does not allow."""
    received = '~ (no value)' if value is None else show(value)
    return ConfigError(f'{where}: received {received}, must be {kind.describe()}{hint}')


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def describe(self) -> str:
        """Return the allowed values in words."""
        return 'true or false'

    def parse(self, value: Any, where: str) -> bool:
        """Return the bool."""
        if not isinstance(value, bool):
            word = str(value).lower()
            raise refuse(value, where, self, f'. Write {word}, without quotes' if word in ('true', 'false') else '')
        return value


@dataclass(frozen=True)
class Number:
    """A finite number within bounds. Integers are accepted and become floats, unless only integers are allowed.

    Args:
        minimum, maximum (float | None): Inclusive bounds.
        above, below (float | None): Exclusive bounds.
        integer (bool): Allow integers only. Default: False.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    integer: bool = False

    def describe(self) -> str:
        """Return the allowed values in words."""
        bounds = (('>=', self.minimum), ('>', self.above), ('<=', self.maximum), ('<', self.below))
        words = ' and '.join(f'{sign} {bound}' for sign, bound in bounds if bound is not None)
        return f'{"an integer" if self.integer else "a number"} {words}'.strip()

    def parse(self, value: Any, where: str) -> int | float:
        """Return the int or float."""
        wanted = int if self.integer else int | float
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise refuse(value, where, self, self._spelling(value))
        try:
            number = value if self.integer else float(value)
        except OverflowError:
            number = math.inf
        if not (self.integer or math.isfinite(number)) or not self._within(number):
            raise refuse(value, where, self)
        return number

    def _within(self, number: float) -> bool:
        return ((self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)
                and (self.above is None or number > self.above) and (self.below is None or number < self.below))

    def _spelling(self, value: Any) -> str:
        if isinstance(value, float) and value.is_integer():
            return f'. Write {int(value)}'
        try:
            float(value)
        except (TypeError, ValueError):
            return ''
        return '. Write a number' if isinstance(value, bool) else f'. Write {value} without quotes'


@dataclass(frozen=True)
class Text:
    """Text that is not empty.

    Args:
        meaning (str): What the text stands for. Default: 'text'.
    """

    meaning: str = 'text'

    def describe(self) -> str:
        """Return the allowed values in words."""
        return self.meaning

    def parse(self, value: Any, where: str) -> str:
        """Return the text."""
        if not isinstance(value, str) or not value.strip():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            raise refuse(value, where, self, f". If the text is {value}, write '{value}' in quotes" if number else '')
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few names.

    Args:
        names (tuple[str, ...]): The names.
    """

    names: tuple[str, ...]

    def describe(self) -> str:
        """Return the allowed values in words."""
        return ' or '.join(filter(None, (', '.join(self.names[:-1]), self.names[-1])))

    def parse(self, value: Any, where: str) -> str:
        """Return the name."""
        if not isinstance(value, str) or value not in self.names:
            raise refuse(value, where, self, did_you_mean(value, self.names))
        return value


@dataclass(frozen=True)
class Fixed:
    """One value and no other.

    Args:
        value (bool): The value.
    """

    value: bool

    def describe(self) -> str:
        """Return the allowed values in words."""
        return str(self.value).lower()

    def parse(self, value: Any, where: str) -> bool:
        """Return the value."""
        if value is not self.value:
            raise refuse(value, where, self)
        return value


@dataclass(frozen=True)
class Maybe:
    """A value, or ~ for none.

    Args:
        kind (Kind): What the value may be.
    """

    kind: Kind

    def describe(self) -> str:
        """Return the allowed values in words."""
        return f'{self.kind.describe()}, or ~'

    def parse(self, value: Any, where: str) -> Any:
        """Return None or the value."""
        if value is None:
            return None
        if isinstance(value, str) and value.lower() in ('none', 'null'):
            raise refuse(value, where, self, '. For no value, write ~')
        return self.kind.parse(value, where)


@dataclass(frozen=True)
class NameOr:
    """One fixed word, or a value of another kind.

    Args:
        word (str): The word.
        kind (Kind): The other kind.
    """

    word: str
    kind: Kind

    def describe(self) -> str:
        """Return the allowed values in words."""
        return f'{self.word} or {self.kind.describe()}'

    def parse(self, value: Any, where: str) -> Any:
        """Return the word or the value."""
        if value == self.word:
            return value
        try:
            return self.kind.parse(value, where)
        except ConfigError:
            raise refuse(value, where, self) from None


@dataclass(frozen=True)
class Many:
    """One value, or a list of at least one.

    Args:
        kind (Kind): What each value may be.
        alone (bool): A single value is allowed, too. Default: True.
        count (int | None): Length that a list must have. Default: any.
    """

    kind: Kind
    alone: bool = True
    count: int | None = None

    def describe(self) -> str:
        """Return the allowed values in words."""
        of_length = f'a list of {self.count}' if self.count else 'a list'
        return f'{self.kind.describe()}, or {of_length} of such' if self.alone else \
            f'{of_length}, each {self.kind.describe()}'

    def parse(self, value: Any, where: str) -> Any:
        """Return the single value as it is, a list as a tuple."""
        if not isinstance(value, list | tuple):
            if not self.alone:
                raise refuse(value, where, self, '' if value is None else f'. Write [{value}]')
            return self.kind.parse(value, where)
        if not value:
            raise refuse(value, where, self, '. The list is empty')
        if self.count and len(value) != self.count:
            raise refuse(value, where, self)
        return tuple(self.kind.parse(item, f'{where}[{i}]') for i, item in enumerate(value))


@dataclass(frozen=True)
class MappingOf:
    """A mapping of names to values, at least one.

    Args:
        kind (Kind): What each value may be.
        example (str): A mapping to show.
    """

    kind: Kind
    example: str

    def describe(self) -> str:
        """Return the allowed values in words."""
        return f'a mapping of names, each to {self.kind.describe()}'

    def parse(self, value: Any, where: str) -> dict[str, Any]:
        """Return a new dict."""
        if not isinstance(value, dict) or not value:
            raise refuse(value, where, self, f', for example {self.example}')
        parsed, problems = {}, []
        for name, item in value.items():
            try:
                parsed[name] = self.kind.parse(item, f'{where}.{name}')
            except ConfigError as error:
                problems += error.problems
        raise_if_any(problems)
        return parsed
