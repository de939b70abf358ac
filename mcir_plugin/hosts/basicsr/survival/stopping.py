"""The last step of a run that is asked to stop: the same one on all ranks."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import distributed

from mcir_plugin.hosts.late import LateValues


class StopVote:
    """Agrees on the step after which all ranks stop. One process alone stops at once.

    Every rank casts a vote after every step and reads the result of the vote before, one number that has had a whole
    step to arrive: neither host nor GPU waits for it. So all ranks stop one step after the first of them has asked.

    Args:
        device (torch.device | None): Where votes are exchanged, as the backend wants it; None if there is one process.
    """

    def __init__(self, device: torch.device | None) -> None:
        self.device = device
        self._result: Callable[[], float] | None = None
        self._stream = torch.cuda.Stream(device) if device is not None and device.type == 'cuda' else None

    def __call__(self, wish: bool) -> bool:
        """Cast a vote. Collective.

        Args:
            wish (bool): This rank wants to stop.

        Returns:
            bool: Stop now; the same on all ranks.
        """
        if self.device is None:
            return wish
        before, self._result = self._result, self._cast(wish)
        return before is not None and before() > 0

    def settle(self) -> None:
        """Wait for the vote that is under way, so that no exchange is left behind. All ranks have cast it."""
        if self._result is not None:
            self._result()
            self._result = None

    def _cast(self, wish: bool) -> Callable[[], float]:
        ballot = torch.full((1, ), float(wish), device=self.device)
        work = distributed.all_reduce(ballot, distributed.ReduceOp.MAX, async_op=True)
        if self._stream is None:
            return lambda: (work.wait(), ballot.item())[1]
        with torch.cuda.stream(self._stream):  # beside the steps, which need not wait for it
            work.wait()
            late = LateValues(0, {'ballot': ballot})
        ballot.record_stream(self._stream)
        return lambda: late.read()['ballot']


def wait_for_all(device: torch.device) -> None:
    """Return when every rank has come this far. Collective."""
    token = torch.zeros(1, device=device)
    distributed.all_reduce(token)
    token.item()
