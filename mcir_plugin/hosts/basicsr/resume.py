"""Continuing a run: the history, every rank's random state, and the place in the data."""
from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.utils import get_root_logger
from torch import distributed

from mcir_plugin.contrast import FORMAT, ContrastTerm
from mcir_plugin.errors import StateError
from mcir_plugin.formats import require_readable
from mcir_plugin.hosts.basicsr.compat.saving import load_safely
from mcir_plugin.hosts.basicsr.compat.swap import swapped
from mcir_plugin.hosts.basicsr.explain import explained
from mcir_plugin.hosts.basicsr.options import NOTES
from mcir_plugin.hosts.basicsr.survival.checkpoints import newest_complete, require_undamaged
from mcir_plugin.hosts.basicsr.survival.ranks import decided_by_rank_0

KEY = 'mcir_plugin'  # our entry in BasicSR's training states


class DataPosition:
    """Where the training loop stands inside the epoch, and where a resumed one must go on.

    Attributes:
        epoch (int): Number of the running epoch.
        samples (int): Samples of this rank that have been trained on in the running epoch.
        pending (dict | None): Saved rank state that the first epoch after a resume has to take up.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.samples = 0
        self.pending: dict[str, Any] | None = None

    def count(self, model: Any) -> None:
        """Count the batch that the model is about to train on."""
        batch = getattr(model, 'lq', None)
        self.samples += 0 if batch is None else batch.shape[0]

    def take(self) -> int:
        """Return how many samples the running epoch has already seen, restoring the random state on the way."""
        if self.pending is None:
            self.samples = 0
            return 0
        state, self.pending = self.pending, None
        set_random_state(state['random'])
        self.samples = state['samples']
        return self.samples


DATA = DataPosition()


class ResumableSampler(EnlargedSampler):
    """BasicSR's sampler, which a resumed run enters where it was left instead of at the start of the epoch."""

    _started = False  # the loop calls set_epoch before the first epoch; a prefetcher iterates once before that
    _earlier: frozenset[threading.Thread] = frozenset()  # among them that prefetcher's, which may begin at any moment

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        super().set_epoch(epoch)
        if not self._started:
            self._earlier = frozenset(threading.enumerate()) - {threading.current_thread()}
        self._started = True
        DATA.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's indices, without those that were trained on before the interruption."""
        indices = self._independent() if getattr(self.dataset, 'sampling', None) == 'iid' else list(super().__iter__())
        indices = in_a_row(indices, getattr(self.dataset, 'crops_per_image', 1))
        in_epoch = self._started and threading.current_thread() not in self._earlier
        yield from indices[DATA.take() if in_epoch else 0:]

    def _independent(self) -> list[int]:
        """Draw every index anew from all images; like BasicSR's shuffling, from the number of the epoch alone."""
        generator = torch.Generator().manual_seed(self.epoch)
        draws = torch.randint(len(self.dataset), (self.total_size, ), generator=generator).tolist()
        return draws[self.rank::self.num_replicas]


def in_a_row(indices: list[int], times: int) -> list[int]:
    """Repeat the first indices, each so many times in a row; there are as many as before, of that many times fewer."""
    return [index for index in indices for _ in range(times)][:len(indices)]


def resumable_state(host_load: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Wrap ``load_resume_state``, which needs a GPU, unpickles code, and looks in ``./experiments`` only.

    Always applies. Can go when BasicSR loads to the CPU with ``weights_only`` from the experiment's own folder. It
    takes any state that is there for complete, too; what is continued here is the newest undamaged checkpoint.
    """

    @wraps(host_load)
    def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
        opt['path']['resume_state'] = decided_by_rank_0(lambda: _chosen(opt), opt)
        with ExitStack() as stack:
            stack.enter_context(swapped(torch, 'load', load_safely))
            stack.enter_context(swapped(torch.cuda, 'current_device', lambda: 0))
            with explained(f'path.resume_state ({opt["path"].get("resume_state")})'):
                state = host_load({**opt, 'auto_resume': False})
        _require_readable(state, opt['path'].get('resume_state'))
        ranks = (state or {}).get(KEY, {}).get('ranks', []) if opt['train'].get('spn_opt') else []
        DATA.pending = ranks[opt['rank']] if len(ranks) == opt['world_size'] else None
        return state

    return load_resume_state


def _require_readable(state: dict[str, Any] | None, path: str | None) -> None:
    """Refuse a training state of a newer version, or with an entry of ours that is none, before anything is built."""
    entry = (state or {}).get(KEY)
    if entry is None:
        return
    if not isinstance(entry, Mapping):
        raise StateError(f'path.resume_state: the entry {KEY} in {path} is no mapping. Use another checkpoint.')
    require_readable(entry.get('format'), FORMAT, f'path.resume_state: {path}')


def collect(term: ContrastTerm, opt: dict[str, Any]) -> dict[str, Any]:
    """Return what goes into a training state. Collective: every rank calls it."""
    mine = {'samples': DATA.samples, 'random': random_state()}
    ranks = [mine] * opt['world_size']
    if opt['dist']:
        distributed.all_gather_object(ranks, mine)
    return {**term.state_dict(), 'ranks': ranks}


def restore(term: ContrastTerm, resume_state: dict[str, Any]) -> None:
    """Restore the history from a training state; without one it starts anew, with a warning."""
    logger, saved = get_root_logger(), resume_state.get(KEY)
    if term.restarts(saved, resume_state['iter']):
        logger.warning('The checkpoint was written without history negatives. Training continues from it, but the '
                       f'history starts anew at iteration {resume_state["iter"]}.')
        return
    if saved is None:
        return
    term.load_state_dict(saved)
    if term.bank is not None:
        logger.info(f'Restored {term.num_negatives} history negatives.')
    elif saved['bank'] is not None:
        logger.warning(f'The checkpoint holds history negatives, which {type(term.loss).__name__} does not read: they '
                       'are left out.')
    if DATA.pending is None:
        logger.warning(f'The checkpoint was written by {len(saved["ranks"])} process(es). With another number the '
                       'epoch starts again and the random state is new; weights, optimizer and history continue.')


def random_state() -> dict[str, Any]:
    """Return the state of all random generators of this process, as tensors and plain values."""
    name, keys, *rest = np.random.get_state()
    return {'python': random.getstate(), 'numpy': [name, torch.from_numpy(keys.astype(np.int64)), *rest],
            'torch': torch.get_rng_state(), 'cuda': torch.cuda.get_rng_state() if torch.cuda.is_available() else None}


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what :func:`random_state` returned."""
    random.setstate(state['python'])
    name, keys, *rest = state['numpy']
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'])
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])


def _chosen(opt: dict[str, Any]) -> str | None:
    """Return the training state to continue from, if any, after a look at its files."""
    if opt['auto_resume']:
        state, rejected = newest_complete(opt)
        NOTES.extend(f'{damage}. Checkpoint {state.stem}, before it, is used.' for damage in rejected)
        return None if state is None else str(state)
    named = opt['path'].get('resume_state')
    if named:
        require_undamaged(Path(named), opt)
    return named
