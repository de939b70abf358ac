"""The values of every image of a validation, and their CSV file."""
from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from io import StringIO
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

Row = tuple[str, dict[str, float]]


class Records:
    """Collects the metrics of every image of one validation.

    Args:
        metrics (Mapping): ``val.metrics``: the blocks by name.

    Attributes:
        rows (list[Row]): Name of the image and its values, in the order of the validation.
    """

    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self.metrics = metrics
        self.rows: list[Row] = []

    def begin(self, data: Mapping[str, Any]) -> None:
        """Take in the sample that the model is fed with."""
        path = data.get('lq_path', '')
        path = path[0] if isinstance(path, list | tuple) and path else path
        self.rows.append((Path(str(path)).stem, {}))

    def recording(self, host_function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``calculate_metric``: every value is noted on its way."""

        @wraps(host_function)
        def calculate_metric(data: Mapping[str, Any], opt: Mapping[str, Any]) -> Any:
            value = host_function(data, opt)
            name = next((name for name, block in self.metrics.items() if block is opt), None)
            if name is not None and self.rows:
                self.rows[-1][1][name] = float(value)
            return value

        return calculate_metric

    def finish(self, results: Mapping[str, Any]) -> tuple[list[Row], dict[str, float]]:
        """Return the rows, sorted by name, and the means.

        Args:
            results (Mapping): ``metric_results`` of the model. Video models keep every frame there, of all processes:
                a tensor (frames, metrics) per clip. Their mean is that over clips of the mean over frames.
        """
        clips = {name: values for name, values in results.items() if isinstance(values, Tensor) and values.ndim == 2}
        if not clips:
            rows = sorted((row for row in self.rows if row[1]), key=itemgetter(0))
            return rows, {name: fmean(values[name] for _, values in rows if name in values) for name in self.metrics
                          if any(name in values for _, values in rows)}
        rows = [(f'{clip}/{frame:08d}', dict(zip(self.metrics, values, strict=True)))
                for clip, frames in clips.items() for frame, values in enumerate(frames.tolist())]
        means = [frames.double().mean(0).tolist() for frames in clips.values()]
        return rows, dict(zip(self.metrics, map(fmean, zip(*means, strict=True)), strict=True))


def write_csv(path: Path, rows: Iterable[Row], means: Mapping[str, float]) -> None:
    """Write one line per image and the mean as the last one; the file appears whole or not at all.

    Args:
        path (Path): The file; its folder is made if need be.
        rows (Iterable[Row]): Names and values.
        means (Mapping[str, float]): The last line; its names are the columns.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['image', *means])
    for name, values in (*rows, ('mean', means)):
        writer.writerow([name, *(f'{values[metric]:.6f}' if metric in values else '' for metric in means)])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        partial.write_text(text.getvalue(), encoding='utf-8')
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
