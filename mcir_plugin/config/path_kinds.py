"""Kinds of options that become names of files, or name files. They are read from strangers' option files."""
import unicodedata
from dataclasses import dataclass
from typing import Any

from mcir_plugin.config.kinds import Text, refuse

LONGEST = 150  # bytes; a file system takes 255, and BasicSR adds times, iterations and endings
UNSEEN = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')  # Unicode categories: control and format characters, halves, line ends


@dataclass(frozen=True)
class FileName:
    """Text that becomes a file name, or a part of one.

    Args:
        meaning (str): What the text stands for. Default: 'a name'.
    """

    meaning: str = 'a name'

    def describe(self) -> str:
        """Return the allowed values in words."""
        return (f'{self.meaning}, which becomes part of file names: no / or \\, no control characters, no blanks at '
                f'its ends, not . or .., at most {LONGEST} bytes')

    def parse(self, value: Any, where: str) -> str:
        """Return the name."""
        name = Text(self.describe()).parse(value, where)
        if (any(sign in name for sign in '/\\') or _unseen(name, UNSEEN) or name != name.strip() or name in ('.', '..')
                or len(name.encode('utf-8')) > LONGEST):
            raise refuse(value, where, self)
        return name


@dataclass(frozen=True)
class FilePath:
    """Text that names a file or a folder.

    Args:
        meaning (str): What the text stands for. Default: 'a path'.
    """

    meaning: str = 'a path'

    def describe(self) -> str:
        """Return the allowed values in words."""
        return f'{self.meaning}, without control characters'

    def parse(self, value: Any, where: str) -> str:
        """Return the path as it is written."""
        path = Text(self.describe()).parse(value, where)
        if _unseen(path, ('Cc', 'Cs')):
            raise refuse(value, where, self)
        return path


def _unseen(text: str, categories: tuple[str, ...]) -> bool:
    return any(unicodedata.category(sign) in categories for sign in text)
