"""What is measured: the validation sets and metrics of an option file, and whether several files agree on them."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mcir_plugin.config.errors import raise_if_any, show
from mcir_plugin.hosts.basicsr.evaluation.metrics import higher_is_better, title_of

LOOKS = ('name', 'phase', 'scale')  # of a data set: what it is called, and what BasicSR's parser adds


def validation_sets(opt: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the blocks of the validation sets by their names."""
    return {str(block.get('name')): dict(block) for phase, block in opt['datasets'].items()
            if phase.split('_')[0] == 'val' and isinstance(block, Mapping)}


def require_metrics(opt: Mapping[str, Any], where: str = '') -> None:
    """Make sure that there is something to measure.

    Args:
        opt (Mapping): Options of a run.
        where (str): What the options belong to, for the message. Default: nothing.

    Raises:
        ConfigError: Without a validation set, with two of one name, or without metrics.
    """
    raise_if_any(f'{where}{problem}' for problem in _missing(opt))


def _missing(opt: Mapping[str, Any]) -> Iterator[str]:
    blocks = [block for phase, block in opt['datasets'].items() if phase.split('_')[0] == 'val']
    if not blocks:
        yield 'datasets.val: there is no validation set, so there would be nothing to compare. Add one'
    elif len(validation_sets(opt)) != len(blocks):
        yield 'datasets: two validation sets have the same name, or one is no mapping. Give each a name of its own'
    metrics = (opt.get('val') or {}).get('metrics')
    if not isinstance(metrics, Mapping) or not metrics:
        yield (f'val.metrics: received {show(metrics)}, so there would be nothing to compare. Name at least one, such '
               'as psnr: {type: calculate_psnr, crop_border: 4, test_y_channel: true}')
    elif not all(isinstance(block, Mapping) and isinstance(block.get('type'), str) for block in metrics.values()):
        yield 'val.metrics: every metric must be a mapping with a type, such as {type: calculate_psnr, crop_border: 0}'


def protocols(opt: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return for every metric what it compares, in one line, and whether more is better."""
    return {name: {'title': f'{block["type"]}: {title_of(block)}' if title_of(block) != block['type'] else
                   f'{block["type"]} {dict(block)}', 'higher_is_better': higher_is_better(block)}
            for name, block in opt['val']['metrics'].items()}


def require_same(opts: Mapping[str, Mapping[str, Any]]) -> None:
    """Make sure that several runs were validated on the same images by the same protocols.

    Args:
        opts (Mapping): Options of the runs by the name of each.

    Raises:
        ConfigError: Naming every difference from the first run.
    """
    (first, reference), *others = opts.items()
    raise_if_any(problem for name, opt in others for problem in _differences(first, reference, name, opt))


def _differences(first: str, reference: Mapping[str, Any], name: str, opt: Mapping[str, Any]) -> Iterator[str]:
    both = f'{first} and {name}'
    sets, others = validation_sets(reference), validation_sets(opt)
    if sets.keys() != others.keys():
        yield (f'{both} have different validation sets: {", ".join(sets)}; {", ".join(others)}. Only runs on the same '
               'sets can be compared; evaluate one again with the datasets of the other')
    for one in sets.keys() & others.keys():
        for key in sorted((sets[one].keys() | others[one].keys()) - set(LOOKS)):
            if sets[one].get(key) != others[one].get(key):
                yield (f'{both} differ in the validation set {one}: {key} is {show(sets[one].get(key))}; '
                       f'{show(others[one].get(key))}. Use the same images for both')
    metrics = [found['val']['metrics'] for found in (reference, opt)]
    for metric in dict.fromkeys([*metrics[0], *metrics[1]]):
        blocks = [found.get(metric) for found in metrics]
        if blocks[0] != blocks[1]:
            yield (f'{both} have different protocols for {metric}: {show(blocks[0])}; {show(blocks[1])}. Numbers of '
                   'different protocols cannot be compared; make val.metrics the same')
    if reference.get('scale') != opt.get('scale'):
        yield f'{both} have different scales: {show(reference.get("scale"))}; {show(opt.get("scale"))}'
