"""What a stage found, and how it is printed."""
from __future__ import annotations

import logging
import os
import re
import textwrap
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from basicsr.utils import get_root_logger

import mcir_plugin
from mcir_plugin.config import ConfigError
from mcir_plugin.errors import McirError

LONGEST = 400  # characters of a foreign message
PACKAGE = Path(mcir_plugin.__file__).parent
FRAME = re.compile(r'File "([^"]+)", line (\d+)')


class Section:
    """The findings of one stage.

    Args:
        title (str): Name of the stage.

    Attributes:
        problems (list[str]): What would make training fail.
        warnings (list[str]): What is probably not meant.
        facts (list[str]): What was found to be so.
        skipped (str): Why the stage did not run, empty if it did.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.facts: list[str] = []
        self.skipped = ''

    def problem(self, text: str) -> None:
        """Note something that would make training fail."""
        self.problems.append(text)

    def warn(self, text: str) -> None:
        """Note something that is probably not meant; the same text once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def say(self, text: str) -> None:
        """Note a fact."""
        self.facts.append(text)

    @contextmanager
    def guard(self, where: str = '') -> Iterator[None]:
        """Turn any exception inside the block into problems; BasicSR and what it builds raise all kinds.

        Args:
            where (str): Option path that the block works on.
        """
        try:
            yield
        except Exception as error:
            for text in explain(error):
                self.problem(f'{where}: {text}' if where else text)

    def text(self) -> str:
        """Return the section ready for printing."""
        if self.skipped:
            return f'[SKIPPED] {self.title}: {self.skipped}\n'
        mark = 'PROBLEM' if self.problems else 'WARNING' if self.warnings else 'OK'
        lines = [f'PROBLEM: {text}' for text in self.problems] + [f'WARNING: {text}' for text in self.warnings]
        return ''.join([f'[{mark}] {self.title}\n', *(f'{_indented(line)}\n' for line in [*lines, *self.facts])])


def explain(error: Exception) -> list[str]:
    """Return what an exception says, without a traceback: its problems, or type, message and innermost place."""
    if isinstance(error, ConfigError):
        return [line for problem in error.problems for line in problem.splitlines()]
    if isinstance(error, McirError):
        return [str(error)]
    if 'out of memory' in str(error).lower() or isinstance(error, MemoryError):
        return [f'out of memory ({_short(str(error))}). Lower batch_size_per_gpu or gt_size; with SPN, history_opt '
                'negatives_per_iter: 1, dtype: bfloat16 or device: cpu need less']
    return [f'{_cause(error)}, at {_place(error)}']


class LoggedWarnings(logging.Handler):
    """Keeps what is logged as a warning.

    Attributes:
        own (list[str]): Warnings of this package.
        host (list[str]): Warnings of BasicSR and of what it builds.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.own: list[str] = []
        self.host: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Sort a record by the file that it comes from."""
        texts = self.own if Path(record.pathname).is_relative_to(PACKAGE) else self.host
        texts.append(record.getMessage())


@contextmanager
def quiet() -> Iterator[LoggedWarnings]:
    """Keep BasicSR's prints, network print-outs and Python warnings off the screen; yield the warnings it logs."""
    logger, said = get_root_logger(), LoggedWarnings()
    handlers, logger.handlers = logger.handlers, [said]
    try:
        with open(os.devnull, 'w') as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield said
    finally:
        logger.handlers = handlers


def _cause(error: Exception) -> str:
    if FRAME.search(str(error)):  # an error of a data worker: its traceback came along as text
        return _short(str(error).strip().splitlines()[-1])
    return f'{type(error).__name__}: {_short(str(error))}'


def _place(error: Exception) -> str:
    inner = FRAME.findall(str(error))
    if inner:
        return ':'.join(inner[-1])
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f'{frame.filename}:{frame.lineno}'


def _short(text: str) -> str:
    text = ' '.join(text.split())
    return text if len(text) <= LONGEST else text[:LONGEST - 3] + '...'


def _indented(text: str) -> str:
    return textwrap.indent(text, '    ')
