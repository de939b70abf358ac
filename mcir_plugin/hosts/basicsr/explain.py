"""What BasicSR and all that it builds raise, in one sentence for the user; the traceback goes to the log file."""
from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mcir_plugin.config import ConfigError
from mcir_plugin.errors import McirError

LONGEST = 400  # characters of a foreign message
FRAME = re.compile(r'File "([^"]+)", line (\d+)')


class HostError(McirError, RuntimeError):
    """BasicSR, or something that it builds, cannot work with these options or files."""


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn any exception inside the block into one that says what it is about; BasicSR raises all kinds.

    Args:
        where (str): Option path or part of the run that the block works on.

    Raises:
        McirError: As it is if it was one; else HostError with type, message and innermost place.
    """
    try:
        yield
    except McirError:
        raise
    except Exception as error:
        log = keep_traceback(error)
        said = '; '.join(explain(error))
        raise HostError(f'{where}: {said}' + (f'. The traceback is in {log}' if log else '')) from error


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


def keep_traceback(error: Exception) -> str:
    """Write a traceback to the log file of the run.

    Returns:
        str: Path of the log file; empty if none is open.
    """
    logger = logging.getLogger('basicsr')
    files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, 'The run ended.', (), sys.exc_info())
    for handler in files:
        handler.handle(record)
    return files[0].baseFilename if files else ''


def _cause(error: Exception) -> str:
    if FRAME.search(str(error)):  # an error of a data worker: its traceback came along as text
        return _short(str(error).strip().splitlines()[-1])
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return f'KeyError: {_short(error.args[0])}, which is probably an option that the file must give'
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
