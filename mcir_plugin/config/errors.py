"""The one exception of the option layer, and the suggestion that goes with a misspelt name."""
from collections.abc import Iterable
from difflib import get_close_matches

from mcir_plugin.errors import McirError


class ConfigError(McirError, ValueError):
    """Options that cannot be used. The message is ready for the user and needs no traceback.

    Args:
        *problems (str): One sentence or more each, naming the option, what was received, what is allowed and what to
            do. All of them are reported at once.

    Attributes:
        problems (list[str]): The same, one by one.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        if len(problems) == 1:
            super().__init__(problems[0])
        else:
            super().__init__('\n'.join([f'{len(problems)} problems in the options:', *(f'- {p}' for p in problems)]))


def raise_if_any(problems: Iterable[str]) -> None:
    """Raise one ConfigError for all problems.

    Raises:
        ConfigError: If there is at least one problem.
    """
    found = list(problems)
    if found:
        raise ConfigError(*found)


def did_you_mean(name: object, allowed: Iterable[str]) -> str:
    """Return ``' (did you mean loss_weight?)'`` for a misspelt name, or an empty text when nothing is close."""
    spelt = {str(item).lower(): item for item in allowed}
    matches = get_close_matches(str(name).lower(), spelt, n=1)
    return f' (did you mean {spelt[matches[0]]}?)' if matches else ''


def listed(names: Iterable[object], limit: int = 5) -> str:
    """Return the first names and how many there are besides."""
    shown = [str(name) for name in names]
    more = f' and {len(shown) - limit} more' if len(shown) > limit else ''
    return ', '.join(shown[:limit]) + more


def show(value: object, limit: int = 80) -> str:
    """Return a short ``repr`` of a received value for a message."""
    text = repr(value)
    return text if len(text) <= limit else text[:limit - 3] + '...'
