"""Where the first NaN or infinity of a step comes from. Looked into only after one was seen, so it may take time."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mcir_plugin.contrast import ContrastTerm
from mcir_plugin.hosts.guard import Names
from mcir_plugin.hosts.outputs import leaves


class Trace(NamedTuple):
    """What a step leaves behind: references, no copies and no graphs.

    Attributes:
        step (int): The iteration.
        inputs (tuple): What the network was called with.
        kwargs (dict): By keyword.
        select (Callable | None): Picks the image from the output of the network.
        pred (Tensor | None): The output that the criterion was asked about; None if it was not asked.
        gt (Tensor | None): Its ground truth.
        value (Tensor | None): The criterion, without the term.
        added (Tensor | None): The term; None if it rested.
        drawn (tuple[int, ...]): Positions of the negatives that took part.
        files (tuple[str, ...]): Names of the samples of the batch, where the host knows them.
    """

    step: int
    inputs: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    select: Callable[[Any], Tensor] | None = None
    pred: Tensor | None = None
    gt: Tensor | None = None
    value: Tensor | None = None
    added: Tensor | None = None
    drawn: tuple[int, ...] = ()
    files: tuple[str, ...] = ()


class Finding(NamedTuple):
    """The first thing that is not finite, and what to do about it."""

    what: str
    remedy: str


@torch.no_grad()
def first_cause(trace: Trace, term: ContrastTerm, network: nn.Module, names: Names = Names(),  # noqa: B008
                before_step: bool = False) -> Finding | None:
    """Return the first thing of a step that is not finite, in the order in which it was computed; None if all is.

    Data, weights of the network, its output, the criterion, the negatives, the features.

    Args:
        trace (Trace): What the step left behind.
        term (ContrastTerm): Its history and extractor; past copies are run again if need be.
        network (nn.Module): The network under training, bare.
        names (Names): Of the host. Default: BasicSR's.
        before_step (bool): Whether the optimizer has not stepped since: only then do the weights say what they were.
            Default: False.
    """
    checks = chain(_data(trace), _weights(network, names) if before_step else (), _output(trace, names, before_step),
                   _criterion(trace), _past_weights(trace, term, names), _past_outputs(trace, term, names),
                   _features(trace, term, names))
    return next(iter(checks), None)


def broken_state(module: nn.Module) -> str:
    """Return in words which parameters and buffers of a module are not finite; empty if all are."""
    state = chain(module.named_parameters(), module.named_buffers())
    broken = [f'{name} ({_share(tensor)})' for name, tensor in state if not _finite(tensor)]
    return ', '.join(broken[:2]) + (f' and {len(broken) - 2} more' if broken[2:] else '')


def _data(trace: Trace) -> Iterator[Finding]:
    given = [*leaves(trace.inputs), *leaves(trace.kwargs)]
    named = [('lq' if number == 0 else f'input {number + 1} of the network', image)
             for number, (_, image) in enumerate(given)]
    for name, image in [*named, *([] if trace.gt is None else [('gt', trace.gt)])]:
        if not _finite(image):
            yield Finding(f'in the data: {name}, {_share(image)}{_samples(image, trace.files)}',
                          'repair or remove that image; if the data set normalises, look at mean and std')


def _weights(network: nn.Module, names: Names) -> Iterator[Finding]:
    if broken := broken_state(network):
        yield Finding(f'in the weights of {names.network}: {broken}; the update before this iteration, or '
                      'whoever else writes them, has made them so', f'a lower learning rate, {names.clip}')


def _output(trace: Trace, names: Names, before_step: bool) -> Iterator[Finding]:
    if trace.pred is not None and not _finite(trace.pred):
        because = ('its weights and its input are finite, so it overflows inside' if before_step else
                   f'its input is finite, so its weights became so in the update of iteration {trace.step - 1}, or it '
                   'overflows inside')
        yield Finding(f'in the output of {names.network} ({_share(trace.pred)}): {because}',
                      f'a lower learning rate, {names.clip}, full precision')


def _criterion(trace: Trace) -> Iterator[Finding]:
    if trace.value is not None and not _finite(trace.value):
        yield Finding('in the criterion itself: output and ground truth are finite', 'another criterion, or its eps')


def _past_weights(trace: Trace, term: ContrastTerm, names: Names) -> Iterator[Finding]:
    """Look at the copies as they were in the step: a refresh after it has brought the weights of after it."""
    if term.bank is None or _finite(trace.added):
        return
    for k, copy in enumerate(term.bank.copies):
        if term.bank.refreshed_at[k] < trace.step and (broken := broken_state(copy)):
            yield Finding(f'in the weights of negative {k + 1}: {broken}',
                          f'begin the history anew: start a run from the saved weights of {names.network}')


def _past_outputs(trace: Trace, term: ContrastTerm, names: Names) -> Iterator[Finding]:
    for k, image in _negatives(trace, term):
        if not _finite(image):
            yield Finding(f'in the output of negative {k + 1} ({_share(image)}): its input is finite, so it overflows '
                          'inside', f'{names.history}.precision: ~ and dtype: ~, if they are set; a network that '
                          'is stable in eval mode')


def _features(trace: Trace, term: ContrastTerm, names: Names) -> Iterator[Finding]:
    if _finite(trace.added):
        return
    if broken := broken_state(term.loss.extractor):
        yield Finding(f'in the weights of the feature extractor: {broken}', f'another file in {names.spn}.vgg_weights')
    images = [('the output', trace.pred), *((f'negative {k + 1}', image) for k, image in _negatives(trace, term))]
    for what, image in images:
        for layer, feature in zip(term.loss.layer_weights, term.loss.embed(image), strict=False):
            if not _finite(feature):
                yield Finding(f'in the features of the extractor: {layer} of {what} ({_share(feature)})',
                              f'{names.history}.precision: ~, if it is set; images in the range that the extractor '
                              'expects')


def _negatives(trace: Trace, term: ContrastTerm) -> Iterator[tuple[int, Tensor]]:
    """Make the negatives of the step again, unless the term is finite or there are none."""
    if term.bank is not None and trace.added is not None and not _finite(trace.added):
        outputs = term.bank.outputs(trace.drawn, *trace.inputs, select=trace.select, **trace.kwargs)
        yield from zip(trace.drawn, outputs, strict=True)


def _finite(tensor: Tensor | None) -> bool:
    return tensor is None or bool(torch.isfinite(tensor).all())


def _share(tensor: Tensor) -> str:
    return f'{int((~torch.isfinite(tensor)).sum())} of {tensor.numel()} values are NaN or infinite'


def _samples(batch: Tensor, files: Sequence[str]) -> str:
    if batch.dim() < 4:
        return ''
    bad = (~torch.isfinite(batch)).flatten(1).any(1).nonzero().flatten().tolist()
    named = [f'{number + 1} ({files[number]})' if number < len(files) else f'{number + 1}' for number in bad[:8]]
    return f', in sample {", ".join(named)} of the batch of {len(batch)}'
