"""Real ``basicsr`` commands in processes of their own, without the seconds that importing torch takes.

``python forked_runs.py`` imports everything once and then forks a process per command that it reads; nothing has
been computed before the fork, so that no thread is lost in it. What runs in the fork is the command itself, up to the
end of the interpreter.
"""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


class ForkedRun:
    """A command under way.

    Attributes:
        pid (int): Its process, leader of a session of its own.
        output (Path): File with what it prints.
    """

    def __init__(self, server: RunServer, pid: int, output: Path) -> None:
        self.server, self.pid, self.output = server, pid, output

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def send_to_group(self, number: int) -> None:
        """Send a signal to the process and its children, as a terminal does."""
        os.killpg(self.pid, number)

    def wait(self, timeout: float = 120) -> int:
        """Return the exit status, negative for a signal. The process is killed, and the test fails, if it hangs."""
        status = self.server.ask(wait=self.pid, timeout=timeout)
        if status is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.server.ask(wait=self.pid, timeout=30)
            raise AssertionError(f'still running after {timeout} s:\n{self.said()[-3000:]}')
        return status

    def said(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(errors='replace') if self.output.exists() else ''

    def wait_for(self, text: str, timeout: float = 120) -> None:
        """Return as soon as the text has been printed."""
        deadline = time.monotonic() + timeout
        while text not in self.said():
            assert time.monotonic() < deadline, f'{text!r} was not printed:\n{self.said()[-3000:]}'
            assert self.server.ask(poll=self.pid) is None, f'ended before {text!r}:\n{self.said()[-3000:]}'
            time.sleep(0.005)


class RunServer:
    """Client of this file run as a process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env={**os.environ, 'OMP_NUM_THREADS': '1'})
        self.count = 0

    def ask(self, **request: Any) -> Any:
        """Send a request; return the answer."""
        self.process.stdin.write(json.dumps(request).encode() + b'\n')
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, folder: Path, *arguments: str, **environment: str) -> ForkedRun:
        """Start ``basicsr *arguments`` in a folder."""
        self.count += 1
        output = Path(folder, f'output_{self.count}.txt')
        pid = self.ask(run=list(arguments), folder=str(folder), environment=environment, output=str(output))
        return ForkedRun(self, pid, output)

    def start_ranks(self, folder: Path, *arguments: str, count: int = 2) -> list[ForkedRun]:
        """Start a distributed command: one process per rank, nobody to watch over them."""
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        return [self.start(folder, *arguments, '--launcher', 'pytorch', RANK=str(rank), LOCAL_RANK=str(rank),
                           WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1', MASTER_PORT=port) for rank in range(count)]

    def close(self) -> None:
        """End the server. The end of its input is not enough: processes forked meanwhile may hold the pipe open."""
        self.process.stdin.write(b'end\n')
        self.process.stdin.close()
        self.process.wait(60)


def serve() -> int:
    """Answer requests; in the fork, return the status of the command."""
    import cv2
    import torch

    from mcir_plugin.cli import main
    from mcir_plugin.hosts.basicsr import entry  # noqa: F401  (its imports are what takes the time)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    ended: dict[int, int | None] = {}
    while (line := sys.stdin.buffer.readline()) not in (b'', b'end\n'):
        request = json.loads(line)
        if 'run' in request:
            answer = os.fork()
            if answer == 0:
                _become(request)
                return main(request['run'])
            ended[answer] = None
        else:
            pid = request.get('wait') or request['poll']
            answer = _status(pid, request.get('timeout', 0), ended)
        print(json.dumps(answer), flush=True)
    for pid in [pid for pid, status in ended.items() if status is None]:
        os.killpg(pid, signal.SIGKILL)
    return 0


def _become(request: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(request['folder'])
    os.environ.update(request['environment'])
    output = os.open(request['output'], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _status(pid: int, timeout: float, ended: dict[int, int | None]) -> int | None:
    deadline = time.monotonic() + timeout
    while ended[pid] is None:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended[pid] = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > deadline:
            return None
        else:
            time.sleep(0.002)
    return ended[pid]


if __name__ == '__main__':
    sys.exit(serve())
