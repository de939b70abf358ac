"""A TCP connection from every rank to rank 0: when one of them ends, the others know at once and end, too.

A collective does not notice it by itself: with NCCL the other ranks wait for minutes, and torchrun, srun or a scheduler
may be late or not there. The system closes a connection whatever ended the process, kill -9 included.
"""
from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from torch import distributed

REACHED_WITHIN = 10.0  # seconds
_DONE, _FAILED, _OVER = 'done', 'failed', 'over'


class Lifeline:
    """What one rank knows of the others.

    A rank ends with :meth:`done`, which waits for all others, or with :meth:`failed`.

    Args:
        rank (int): This rank.
        on_failure (Callable[[str, int], None]): Called in a thread of its own when another rank has ended without
            being done, with the words that say which one and why, and the status to exit with.
    """

    def __init__(self, rank: int, on_failure: Callable[[str, int], None]) -> None:
        self.rank = rank
        self.on_failure = on_failure
        self.peers: dict[int, socket.socket] = {}  # rank 0 has all of them, the others rank 0
        self._unfinished: set[int] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._ended = False
        _all.append(self)

    def watch(self, peer: int, connection: socket.socket) -> None:
        """Begin to listen to a peer."""
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a machine may go without a word
        for name, seconds in (('TCP_KEEPIDLE', 10), ('TCP_KEEPINTVL', 5), ('TCP_KEEPCNT', 3)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
        self.peers[peer] = connection
        self._unfinished.add(peer)

    def start(self) -> None:
        """Listen to all peers, each in a thread that ends with its connection."""
        for peer, connection in self.peers.items():
            threading.Thread(target=self._listen, args=(peer, connection), daemon=True).start()

    def done(self) -> None:
        """Say that this rank has nothing left to do, and wait for the others.

        A process that ends while others still read what it sent in its last collective can take that from them.
        """
        with self._lock:
            self._ended = True
        if self.rank == 0:
            self._finish_if_all_done()
        else:
            self._send(_DONE)
        if self.peers:
            self._over.wait()
        self.close()

    def failed(self, reason: str, status: int = 1) -> None:
        """Say that this rank ends before its time, and with which status the others shall do so."""
        with self._lock:
            self._ended = True
        self._send(f'{_FAILED} {status} rank {self.rank} {" ".join(reason.split())[:500]}')

    def close(self) -> None:
        """Close all connections."""
        self._over.set()
        if self in _all:
            _all.remove(self)
        for connection in self.peers.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # ends the thread that reads it, too
            connection.close()

    def _listen(self, peer: int, connection: socket.socket) -> None:
        try:
            with connection.makefile('r', encoding='utf-8', errors='replace') as lines:
                for line in lines:
                    word, _, text = line.strip().partition(' ')
                    if word == _FAILED:
                        status, _, text = text.partition(' ')
                        self._learn(text, int(status), peer)
                        return
                    if word == _OVER:
                        self._over.set()
                        return
                    if word == _DONE:
                        self._unfinished.discard(peer)
                        self._finish_if_all_done()
        except (OSError, ValueError):  # reset, or closed by this process
            pass
        if peer in self._unfinished and not self._over.is_set():
            self._learn(f'rank {peer} has ended without a word (killed, or its machine is gone)', 1, peer)

    def _finish_if_all_done(self) -> None:
        with self._lock:
            finished = self._ended and not self._unfinished
        if self.rank == 0 and finished:
            self._send(_OVER)
            self._over.set()

    def _learn(self, text: str, status: int, source: int) -> None:
        """Pass the news of a failure on and report it, unless this rank has failed itself."""
        with self._lock:
            first, self._ended = not self._ended, True
        if self.rank == 0:
            self._send(f'{_FAILED} {status} {text}', but=source)
        self._over.set()
        if first:
            self.on_failure(text, status)

    def _send(self, line: str, but: int | None = None) -> None:
        for peer, connection in self.peers.items():
            if peer != but:
                with suppress(OSError):  # its own thread finds out
                    connection.sendall(f'{line}\n'.encode())


def connect(opt: Mapping[str, Any], on_failure: Callable[[str, int], None], warn: Callable[[str], None]) -> Lifeline:
    """Connect all ranks. Collective.

    Args:
        opt (Mapping): Parsed options of a distributed run: ``rank`` and ``world_size``.
        on_failure (Callable[[str, int], None]): See :class:`Lifeline`.
        warn (Callable[[str], None]): Is told if some rank cannot reach rank 0; then nobody watches anybody.
    """
    rank, line = opt['rank'], Lifeline(opt['rank'], on_failure)
    address = os.environ.get('MASTER_ADDR', 'localhost')
    server = _listening(address) if rank == 0 else None
    offer = [server.getsockname()[1] if server else None, secrets.token_hex(16) if server else None]
    distributed.broadcast_object_list(offer, 0)
    ok = _accept(server, line, offer[1], opt['world_size'] - 1) if server else _call(line, address, *offer, rank)
    reached = [ok] * opt['world_size']
    distributed.all_gather_object(reached, ok)
    if all(reached):
        line.start()
    else:
        line.close()
        line.peers.clear()
        warn(f'Not all ranks can reach rank 0 at {address}:{offer[0]} (failed on rank(s) '
             f'{[r for r, ok in enumerate(reached) if not ok]}): they would not notice at once when one of them ends.')
    return line


def _listening(address: str) -> socket.socket:
    """Return a server for the others; on this machine alone where they are all here."""
    local = address in ('localhost', '127.0.0.1')
    if local or not socket.has_dualstack_ipv6():
        server = socket.create_server(('127.0.0.1' if local else '', 0))
    else:
        server = socket.create_server(('', 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server.settimeout(REACHED_WITHIN)
    return server


def _accept(server: socket.socket, line: Lifeline, token: str, count: int) -> bool:
    """Accept the ranks, and nobody else: they know the token. Returns whether all have come."""
    with server:
        while len(line.peers) < count:
            try:
                connection, _ = server.accept()
                connection.settimeout(REACHED_WITHIN)
                said, _, rank = _read_line(connection).partition(' ')
            except OSError:
                return False
            if secrets.compare_digest(said.encode(), token.encode()):
                line.watch(int(rank), connection)
            else:
                connection.close()
    return True


def _read_line(connection: socket.socket) -> str:
    """Return one short line, byte by byte, so that nothing of what follows is taken."""
    data = b''
    while not data.endswith(b'\n') and len(data) < 100:
        byte = connection.recv(1)
        if not byte:
            break
        data += byte
    return data.decode('ascii', errors='replace').strip()


def _call(line: Lifeline, address: str, port: int, token: str, rank: int) -> bool:
    host = '127.0.0.1' if address == 'localhost' else address
    try:
        connection = socket.create_connection((host, port), REACHED_WITHIN)
        connection.sendall(f'{token} {rank}\n'.encode())
    except OSError:
        return False
    line.watch(0, connection)
    return True


_all: list[Lifeline] = []


def _let_go() -> None:
    """A forked worker would keep the connections open after the death of its rank."""
    while _all:
        for connection in _all.pop().peers.values():
            os.close(connection.detach())  # not shut down, and not left to the copy of the reader


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_let_go)
