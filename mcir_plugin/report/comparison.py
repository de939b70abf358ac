"""What a comparison of trained networks holds, and its numbers: one result per set, weights, metric and variant."""
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from mcir_plugin.errors import McirError
from mcir_plugin.report.statistics import Paired, Summary, compare_paired, summarize

Scores = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]
Curves = Mapping[str, Mapping[int, float]]


class ComparisonError(McirError, ValueError):
    """Runs that cannot be compared with each other."""


@dataclass(frozen=True)
class RunData:
    """One training.

    Attributes:
        variant (str): What was trained.
        seed (int): Its seed.
        name (str): Of the experiment.
        scores (Mapping): Value by set, weights, metric and image.
        curves (Mapping): Value by name and iteration.
        memory (float | None): Largest memory in MB. Default: not known.
        device (str): Where it was trained, and which memory was measured. Default: not known.
    """

    variant: str
    seed: int
    name: str
    scores: Scores
    curves: Curves = field(default_factory=dict)
    memory: float | None = None
    device: str = ''

    @property
    def step_times(self) -> list[float]:
        """Seconds per step as printed, without the first ones, in which caches and workers start."""
        times = list(self.curves.get('seconds', {}).values())
        return times[1:] or times


@dataclass(frozen=True)
class Result:
    """What one variant reached by one metric on one set.

    Attributes:
        dataset (str): Name of the validation set.
        weights (str): ``net_g``, or ``net_g_ema`` for the average.
        metric (str): Its name in the option file.
        variant (str): Name of the variant.
        summary (Summary): Mean and spread.
        paired (Paired | None): Against the baseline; None for the baseline itself.
        images (tuple[str, ...]): What the numbers are over.
        left_out (tuple[str, ...]): Images with a value that is not finite in some run.
    """

    dataset: str
    weights: str
    metric: str
    variant: str
    summary: Summary
    paired: Paired | None
    images: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """What one variant costs: median seconds per step, largest memory in MB; NaN if not known."""

    variant: str
    seconds: float
    memory: float
    device: str


@dataclass(frozen=True)
class Comparison:
    """Runs of several variants, each with the same seeds.

    Attributes:
        title (str): What was compared.
        runs (tuple[RunData, ...]): Those of the baseline first.
        protocols (Mapping): ``title`` and ``higher_is_better`` by metric.
        differing (Mapping): Options that are not the same in all variants: value by option and variant.
        remarks (tuple[str, ...]): Sentences on what was measured, such as what was left out. Default: none.
    """

    title: str
    runs: tuple[RunData, ...]
    protocols: Mapping[str, Mapping[str, object]]
    differing: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seeds = {variant: [run.seed for run in self.of(variant)] for variant in self.variants}
        for variant, found in seeds.items():
            if len(set(found)) != len(found):
                raise ComparisonError(f'{variant}: two runs have the same seed ({sorted(found)}). Give runs of other '
                                      'options another label')
        if len({tuple(sorted(found)) for found in seeds.values()}) != 1:
            raise ComparisonError('The variants were not trained with the same seeds, so their runs cannot be paired: '
                                  + '; '.join(f'{variant} {sorted(found)}' for variant, found in seeds.items()))

    @property
    def variants(self) -> list[str]:
        """Names of the variants; the first is the baseline."""
        return list(dict.fromkeys(run.variant for run in self.runs))

    @property
    def seeds(self) -> list[int]:
        """Seeds of every variant."""
        return sorted(run.seed for run in self.of(self.variants[0]))

    def of(self, variant: str) -> list[RunData]:
        """Return the runs of a variant in the order of their seeds."""
        return sorted((run for run in self.runs if run.variant == variant), key=lambda run: run.seed)

    def results(self) -> list[Result]:
        """Return all results.

        Raises:
            ComparisonError: If the runs were not evaluated on the same images by the same metrics.
        """
        return [result for dataset, weights, metric in self._measured()
                for result in self._compared(dataset, weights, metric)]

    def costs(self) -> list[Cost]:
        """Return what every variant costs."""
        return [self._cost(variant) for variant in self.variants]

    def _measured(self) -> list[tuple[str, str, str]]:
        found = {run.name: {(dataset, weights, metric): sorted(values) for dataset, by_weights in run.scores.items()
                            for weights, metrics in by_weights.items() for metric, values in metrics.items()}
                 for run in self.runs}
        (first, reference), *others = found.items()
        for name, measured in others:
            if measured.keys() != reference.keys():
                odd = sorted(measured.keys() ^ reference.keys())[0]
                raise ComparisonError(f'{first} and {name} were not evaluated alike: only one of them has values of '
                                      f'{" / ".join(odd)}. Evaluate both on the same sets by the same metrics')
            for key in reference:
                if measured[key] != reference[key]:
                    raise ComparisonError(f'{first} and {name} were evaluated on other images of {key[0]}: '
                                          f'{len(reference[key])} and {len(measured[key])}, not all with the same '
                                          'names. Evaluate both on the same images')
        return list(reference)

    def _compared(self, dataset: str, weights: str, metric: str) -> Iterator[Result]:
        names = sorted(self.runs[0].scores[dataset][weights][metric])
        tables = {variant: np.array([[run.scores[dataset][weights][metric][name] for name in names]
                                     for run in self.of(variant)]) for variant in self.variants}
        finite = np.isfinite(np.concatenate(list(tables.values()))).all(axis=0)
        if not finite.any():
            raise ComparisonError(f'{dataset} / {metric}: every image has a value that is not finite in some run')
        kept = tuple(name for name, good in zip(names, finite, strict=True) if good)
        left_out = tuple(name for name in names if name not in kept)
        baseline = tables[self.variants[0]][:, finite]
        higher = bool(self.protocols[metric]['higher_is_better'])
        for place, (variant, table) in enumerate(tables.items()):
            paired = compare_paired(baseline, table[:, finite], higher) if place else None
            yield Result(dataset, weights, metric, variant, summarize(table[:, finite]), paired, kept, left_out)

    def _cost(self, variant: str) -> Cost:
        runs = self.of(variant)
        times = [time for run in runs for time in run.step_times]
        memory = [run.memory for run in runs if run.memory is not None]
        return Cost(variant, float(np.median(times)) if times else math.nan, max(memory, default=math.nan),
                    '; '.join(dict.fromkeys(run.device for run in runs if run.device)))
