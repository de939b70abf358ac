"""What a sample reads: noted, and looked at before anything is decoded."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from mcir_plugin.data.bad_images import BadImageOptions
from mcir_plugin.data.encoded import is_cut_off, read_header
from mcir_plugin.hosts.basicsr.watch.errors import BadImageError

ODD = {'16bit': 'has more than 8 bits per channel, of which BasicSR keeps the upper 8. Convert it, or use '
                'allow_16bit: true',
       'grey': 'is grey. Convert it to colour, or use allow_grey: true for three equal channels'}
FLOW = 'flow'  # BasicSR's name of optical flow, which is stored as grey images
_running = threading.local()  # BasicSR's prefetcher reads in a thread beside a validation


@dataclass
class Reads:
    """Files and keys that one sample has asked for.

    Args:
        options (BadImageOptions): What may be taken.

    Attributes:
        names (list[str]): Paths, or keys with their database, in the order in which they were asked for.
    """

    options: BadImageOptions
    names: list[str] = field(default_factory=list)

    def judge(self, content: Any, kind: str) -> None:
        """Raise if the content of the latest file or key is no whole image of an accepted sort.

        Raises:
            BadImageError: Saying why.
        """
        name = self.names[-1]
        if content is None or not len(content):
            raise BadImageError(f'{name} {"does not exist" if content is None else "is empty"}')
        content = bytes(content)
        if is_cut_off(content):
            raise BadImageError(f'{name} is truncated, its end is missing')
        oddity = read_header(content).oddity if kind != FLOW else ''
        allowed = {'16bit': self.options.allow_16bit, 'grey': self.options.allow_grey, '': True}
        if not allowed[oddity]:
            raise BadImageError(f'{name} {ODD[oddity]}')


@contextmanager
def noted(options: BadImageOptions) -> Iterator[Reads]:
    """Note and judge what is read inside the block, in this thread."""
    before = getattr(_running, 'reads', None)
    _running.reads = Reads(options)
    try:
        yield _running.reads
    finally:
        _running.reads = before


def judged_reading(host_method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``FileClient.get``: a missing key comes back as None, half a file as it is, and nobody knows its name.

    Applies while a data set built by BasicSR makes a sample. Can go when BasicSR's data sets check what they read.
    """

    @wraps(host_method)
    def get(self: Any, filepath: Any, client_key: str = 'default') -> Any:
        reads = getattr(_running, 'reads', None)
        if reads is None:
            return host_method(self, filepath, client_key)
        reads.names.append(_name(self, str(filepath), client_key))
        try:
            content = host_method(self, filepath, client_key)
        except (OSError, ValueError) as error:  # not an OSError to the outside: some data sets skip those
            raise BadImageError(f'{reads.names[-1]} cannot be read ({error})') from error
        reads.judge(content, client_key)
        return content

    return get


def _name(client: Any, path: str, key: str) -> str:
    environments = getattr(client.client, '_client', None)
    if client.backend != 'lmdb' or not isinstance(environments, dict) or key not in environments:
        return path
    return f'key {path} of {environments[key].path()}'
