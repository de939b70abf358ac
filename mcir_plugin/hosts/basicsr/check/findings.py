"""What a stage found, and how it is printed."""
from __future__ import annotations

import logging
import os
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from basicsr.utils import get_root_logger

import mcir_plugin
from mcir_plugin.hosts.basicsr.explain import explain

PACKAGE = Path(mcir_plugin.__file__).parent


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
        """Note something that would make training fail; the same text once."""
        if text not in self.problems:
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
                self.problem(text if text.startswith(where) else f'{where}: {text}')

    def text(self) -> str:
        """Return the section ready for printing."""
        if self.skipped:
            return f'[SKIPPED] {self.title}: {self.skipped}\n'
        mark = 'PROBLEM' if self.problems else 'WARNING' if self.warnings else 'OK'
        lines = [f'PROBLEM: {text}' for text in self.problems] + [f'WARNING: {text}' for text in self.warnings]
        return ''.join([f'[{mark}] {self.title}\n', *(f'{_indented(line)}\n' for line in [*lines, *self.facts])])




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


def _indented(text: str) -> str:
    return textwrap.indent(text, '    ')
