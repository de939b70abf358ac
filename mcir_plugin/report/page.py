"""The pages of a comparison: one HTML file that needs no other, Markdown tables, numbers as JSON. HTML needs Jinja2."""
from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mcir_plugin.report.comparison import Comparison, Result
from mcir_plugin.report.figures import with_unit
from mcir_plugin.report.statistics import BETTER, FEWEST_IMAGES, LEVEL, NONE, RESAMPLES, TOO_FEW, WORSE

TEMPLATE = Path(__file__).with_name('page.html.jinja')
HEADER = ('set', 'weights', 'metric', 'variant', 'mean', 'spread', 'difference', '95 % interval', 'verdict',
          'images better/worse', 'sign test p', 'difference per seed', '95 % interval over seeds')
COLUMNS = ('mean', 'spread', 'difference', '95 % interval', '95 % over seeds', 'images better / worse', 'sign test p')
CLASSES = {BETTER: 'better', WORSE: 'worse'}  # of verdicts that are drawn in colour


@dataclass(frozen=True)
class Picture:
    """A PNG file of the report.

    Attributes:
        path (Path): The file.
        title (str): Heading.
        text (str): What it shows.
        section (str): Heading of the part of the page that it belongs to.
    """

    path: Path
    title: str
    text: str
    section: str


def table_rows(results: Sequence[Result]) -> list[list[str]]:
    """Return the cells of the table of results, as many per row as :data:`HEADER` has."""
    return [[result.dataset, result.weights, result.metric, result.variant, _number(result.summary.mean),
             _number(result.summary.spread), *_paired_cells(result)] for result in results]


def groups(results: Sequence[Result]) -> list[tuple[str, list[tuple[str, list[str], str]]]]:
    """Return the same numbers for the page: per set, metric and weights a heading and one row per variant.

    A row is name, cells as many as :data:`COLUMNS` has, and the verdict.
    """
    found: dict[str, list[tuple[str, list[str], str]]] = {}
    for result in results:
        paired, heading = result.paired, f'{result.dataset} \u00b7 {with_unit(result.metric)} \u00b7 {result.weights}'
        cells = [_number(result.summary.mean), _number(result.summary.spread)]
        if paired is not None:
            over_seeds = _interval(paired.seeds_low, paired.seeds_high) if len(paired.seeds) > 1 else '-'
            cells += [f'{paired.mean:+.4f}', _interval(paired.low, paired.high), over_seeds,
                      f'{paired.wins} / {paired.losses}', f'{paired.p_value:.3g}']
        row = (result.variant, cells + [''] * (len(COLUMNS) - len(cells)), paired.verdict if paired else 'baseline')
        found.setdefault(heading, []).append(row)
    return list(found.items())


def tally(results: Sequence[Result]) -> str:
    """Return in one sentence how many comparisons with the baseline came out how."""
    verdicts = [result.paired.verdict for result in results if result.paired]
    if not verdicts:
        return 'There is nothing to compare with.'
    counts = '; '.join(f'{verdict} in {verdicts.count(verdict)}' for verdict in (BETTER, WORSE, NONE, TOO_FEW)
                       if verdict in verdicts)
    return f'Of {len(verdicts)} comparison(s) with the baseline: {counts}.'


def conclusion(results: Sequence[Result]) -> list[str]:
    """Return one sentence per comparison with the baseline."""
    return [f'{result.dataset}, {result.metric} ({result.weights}): {result.variant}: {result.paired.verdict} '
            f'({result.paired.mean:+.4g}, 95 % interval {result.paired.low:+.4g} to {result.paired.high:+.4g}).'
            for result in results if result.paired]


def notes(comparison: Comparison, results: Sequence[Result]) -> list[str]:
    """Return how the numbers were made, and what they cannot say."""
    seeds, tests = len(comparison.seeds), sum(result.paired is not None for result in results)
    lines = [
        f'Mean: over {seeds} seed(s) and all images. Spread: standard deviation (n - 1) over seeds of the mean over '
        'images.',
        f'Difference: variant minus {comparison.variants[0]}, same seed and same image on both sides. Its '
        f'{100 * LEVEL:g} % interval is a percentile bootstrap of {RESAMPLES} resamples: seeds and images are drawn '
        'with replacement independently of each other, and the differences at all their crossings averaged, since an '
        'image is equally hard in every training.',
        'Sign test: exact, two-sided, over images (differences averaged over seeds, ties left out).',
        "Interval over seeds: Student's t of the mean differences per seed, which says whether chance in the training, "
        'common to all images, could have made the difference.',
        f'"better" and "worse" need all of: both intervals without 0, and p < {1 - LEVEL:.2f}. Otherwise: {NONE}. With '
        f'one seed, or fewer than {FEWEST_IMAGES} images, a bootstrap interval without 0 is {TOO_FEW}.',
        f'{tests} comparison(s) are shown, without a correction for their number.',
    ]
    if seeds < 5:
        lines.append(f'With {seeds} seeds the bootstrap interval understates how much trainings vary by chance; read '
                     'the interval over seeds.' if seeds > 1 else
                     'With one seed nothing can be said about how much trainings vary by chance.')
    few = {result.dataset for result in results if len(result.images) < FEWEST_IMAGES}
    lines += [f'{name}: fewer than {FEWEST_IMAGES} images, too few for the sign test to find any difference.'
              for name in sorted(few)]
    lines += [f'{result.dataset}, {result.metric}: left out, since the value is not finite in some run: '
              f'{", ".join(result.left_out)}.' for result in results if result.left_out and not result.paired]
    return lines


def markdown(comparison: Comparison, results: Sequence[Result]) -> str:
    """Return the tables as Markdown."""
    parts = [f'# {_cell(comparison.title)}', _markdown_table(HEADER, table_rows(results)),
             '\n'.join(f'- {_cell(line)}' for line in conclusion(results)),
             '## Protocols', _markdown_table(('metric', 'what is compared', 'better'), protocol_rows(comparison)),
             *comparison.remarks,
             '## Cost', _markdown_table(('variant', 's per step', 'memory (MB)', 'measured on'), cost_rows(comparison)),
             '## How to read this', '\n'.join(f'- {_cell(line)}' for line in notes(comparison, results))]
    return '\n\n'.join(part for part in parts if part) + '\n'


def page(comparison: Comparison, results: Sequence[Result], pictures: Sequence[Picture]) -> str:
    """Return the HTML page; pictures are inside, names are escaped, nothing is loaded from elsewhere."""
    from jinja2 import Environment, StrictUndefined
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(TEMPLATE.read_text(encoding='utf-8')).render(
        comparison=comparison, columns=COLUMNS, groups=groups(results), tally=tally(results), classes=CLASSES,
        protocols=protocol_rows(comparison), costs=cost_rows(comparison),
        differing=differing_rows(comparison), notes=notes(comparison, results),
        sections=[(name, [(picture.title, picture.text, _inside(picture.path)) for picture in pictures
                          if picture.section == name]) for name in dict.fromkeys(p.section for p in pictures)])


def numbers(comparison: Comparison, results: Sequence[Result]) -> str:
    """Return everything that was computed as JSON; what is not a finite number is null."""
    content = {'title': comparison.title, 'variants': comparison.variants, 'seeds': comparison.seeds,
               'protocols': dict(comparison.protocols), 'results': [asdict(result) for result in results],
               'costs': [asdict(cost) for cost in comparison.costs()]}
    return json.dumps(_finite(content), indent=2) + '\n'


def raw_runs(comparison: Comparison) -> str:
    """Return what was measured in every run as JSON, one run per line: values of all images, all curves, memory."""
    lines = ',\n'.join(json.dumps(_finite(asdict(run))) for run in comparison.runs)
    return f'[\n{lines}\n]\n'


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it."""
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        partial.write_text(text, encoding='utf-8')
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def protocol_rows(comparison: Comparison) -> list[list[str]]:
    """Return metric, what is compared, and which values are better."""
    return [[name, str(how['title']), 'higher' if how['higher_is_better'] else 'lower']
            for name, how in comparison.protocols.items()]


def cost_rows(comparison: Comparison) -> list[list[str]]:
    """Return variant, median seconds per step, memory, and where that was measured."""
    return [[cost.variant, _number(cost.seconds), f'{cost.memory:.0f}' if math.isfinite(cost.memory) else '-',
             cost.device or '-'] for cost in comparison.costs()]


def differing_rows(comparison: Comparison) -> list[list[str]]:
    """Return option and its value in every variant, for the options that are not the same in all."""
    return [[option, *(values.get(variant, '-') for variant in comparison.variants)]
            for option, values in comparison.differing.items()]


def _paired_cells(result: Result) -> list[str]:
    paired = result.paired
    if paired is None:
        return ['baseline', *['-'] * 6]
    return [f'{paired.mean:+.4f}', f'{paired.low:+.4f} .. {paired.high:+.4f}', paired.verdict,
            f'{paired.wins}/{paired.losses}', f'{paired.p_value:.3g}',
            ', '.join(f'{seed:+.4f}' for seed in paired.seeds),
            f'{paired.seeds_low:+.4f} .. {paired.seeds_high:+.4f}' if len(paired.seeds) > 1 else '-']


def _interval(low: float, high: float) -> str:
    return f'{low:+.4f} to {high:+.4f}'


def _number(value: float) -> str:
    return f'{value:.4f}' if math.isfinite(value) else '-'


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join('| ' + ' | '.join(_cell(cell) for cell in line) + ' |' for line in lines)


def _cell(text: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, one line."""
    for sign in '\\`*_[]|':
        text = text.replace(sign, '\\' + sign)
    return ' '.join(text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;').split())


def _inside(path: Path) -> str:
    return 'data:image/png;base64,' + base64.b64encode(path.read_bytes()).decode('ascii')


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
