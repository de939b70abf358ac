"""The ways in which the plugin can compute the term, from exact to approximate."""
from __future__ import annotations

from collections.abc import Callable

import torch
from steps import LAMBDA, Released, Setup, baseline, history, parts, plugin
from torch.func import functional_call, stack_module_state

from mcir_plugin import ContrastTerm
from mcir_plugin.history import Schedule, Window

INTERVAL = 10
SHALLOW = {'relu1_2': 0.4, 'relu2_2': 0.6}
Step = Callable[[], None]


def make_term(setup: Setup, mode: str) -> ContrastTerm:
    """Return the term of a mode, with the same negatives in all."""
    count = 1 if mode == 'one' else setup.negatives
    options = {'seed': 0}
    if mode in ('random', 'interval'):
        options['negatives_per_iter'] = 1
    if mode in PRECISIONS:
        options['precision'] = PRECISIONS[mode]
    if mode == 'channels_last':
        options['channels_last'] = True
    schedule = Schedule(interval=INTERVAL) if mode == 'interval' else None
    window = Window(setup.gt.shape[-1] // 2) if mode == 'crop' else None
    loss = setup.spn_loss(SHALLOW if mode == 'shallow' else None)
    term = ContrastTerm(history(setup, count, **options), loss, schedule, window=window)
    if mode in PRECISIONS:
        term.loss.extractor.compute_in(PRECISIONS[mode])
    if mode == 'compiled':
        compile_networks(term)
    if mode == 'batched':
        batch_negatives(term)
    return term


PRECISIONS = {'bf16': torch.bfloat16, 'fp16': torch.float16}
MODES = {
    'exact': 'all N negatives',
    'one': 'exact, with N = 1',
    'random': '1 of N at random',
    'interval': f'1 of N at random, every {INTERVAL}th step',
    'crop': 'all N, a random window of half the side',
    'shallow': 'all N, layers relu1_2 and relu2_2 only',
    'channels_last': 'all N, negatives in channels_last',
    'bf16': 'all N, negatives and extractor in bfloat16',
    'fp16': 'all N, negatives and extractor in float16',
    'compiled': 'all N, torch.compile of negatives and extractor (not an option of the plugin)',
    'batched': 'all N negatives as one call, torch.func (not an option of the plugin)',
}
SCORED = tuple(mode for mode in MODES if mode != 'interval')  # every step of theirs acts


def make_step(setup: Setup, name: str) -> Step:
    """Return the step of ``baseline``, ``released`` or ``plugin_<mode>``."""
    if name == 'baseline':
        return baseline(setup)
    if name == 'released':
        term = make_term(setup, 'exact')
        return Released(setup, list(term.bank.copies), term.loss)
    step = plugin(setup, make_term(setup, name.removeprefix('plugin_')))
    return cycle(setup, step) if name == 'plugin_interval' else step


def make_parts(setup: Setup) -> dict[str, Step]:
    """Return the parts of the floor, and the refresh of all of 16 negatives."""
    bank = history(setup, 16)

    def refresh() -> None:
        bank.update(1000)  # a multiple of all intervals

    return {**parts(setup, make_term(setup, 'exact')), 'refresh_16': refresh}


def cycle(setup: Setup, step: Step) -> Step:
    """Return INTERVAL steps in a row, of which one is scored."""

    def run() -> None:
        for _ in range(INTERVAL):
            step()

    return run


def compile_networks(term: ContrastTerm) -> None:
    """Compile the extractor and every past copy."""
    term.loss.extractor.compile()
    for past in term.bank.copies:
        past.compile()


def batch_negatives(term: ContrastTerm) -> None:
    """Run all past copies in one vectorised call."""
    bank = term.bank
    parameters, buffers = stack_module_state(list(bank.copies))

    @torch.no_grad()
    def negatives(lq: torch.Tensor, **_: object) -> list[torch.Tensor]:
        bank.drawn = bank.draw()
        called = torch.vmap(lambda p, b: functional_call(bank.copies[0], (p, b), (lq, )))
        return list(called(parameters, buffers).unbind())

    bank.negatives = negatives


__all__ = ['INTERVAL', 'LAMBDA', 'MODES', 'SCORED', 'make_parts', 'make_step', 'make_term']
