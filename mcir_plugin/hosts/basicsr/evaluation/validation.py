"""The mixin that adds tiles, float images and the values of every image to the validation of any model type."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import basicsr.metrics
import torch
from basicsr.utils import get_root_logger
from torch import nn

from mcir_plugin.config import TileOptions, read_evaluation
from mcir_plugin.hosts.basicsr.compat.swap import swapped
from mcir_plugin.hosts.basicsr.evaluation.float_images import keeping_floats, modules_binding
from mcir_plugin.hosts.basicsr.evaluation.metrics import OWN_METRICS, needs_floats, title_of
from mcir_plugin.hosts.basicsr.evaluation.records import Records, write_csv
from mcir_plugin.metrics import MetricError
from mcir_plugin.tiling import TileError, run_tiled


class EvaluationMixin:
    """Watches a validation from outside; its loop stays the model's own. Mixed in by :func:`with_evaluation`."""

    _records: Records | None = None

    def __init__(self, opt: dict[str, Any]) -> None:
        self._tile = read_evaluation(opt, OWN_METRICS).tile
        super().__init__(opt)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Feed the model; within a validation the name of the image is noted."""
        if self._records is not None:
            self._records.begin(data)
        super().feed_data(data)

    def test(self) -> None:
        """Run the model's own inference, with ``val.tile`` on one tile after the other."""
        with ExitStack() as stack:
            for network in self._tiled_networks():
                stack.enter_context(tiled_forward(network, self._tile))
            super().test()

    def _tiled_networks(self) -> list[nn.Module]:
        names = ('net_g', 'net_g_ema') if self._tile else ()
        return [getattr(self, name) for name in names if hasattr(self, name)]

    def validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Run the model's own validation; then say what each number compares, and in a test write the CSV file."""
        metrics = (self.opt.get('val') or {}).get('metrics')
        if not metrics or dataloader is None:
            super().validation(dataloader, current_iter, tb_logger, save_img)
            return
        with self._watched(metrics) as records:
            super().validation(dataloader, current_iter, tb_logger, save_img)
        if self.opt['rank'] == 0:
            self._report(records, dataloader.dataset.opt['name'])

    @contextmanager
    def _watched(self, metrics: Mapping[str, Any]) -> Iterator[Records]:
        self._records = Records(metrics)
        with ExitStack() as stack:
            for module in (basicsr.metrics, *modules_binding(type(self), 'calculate_metric')):
                stack.enter_context(swapped(module, 'calculate_metric',
                                            self._records.recording(module.calculate_metric)))
            if needs_floats(metrics):
                stack.enter_context(keeping_floats(type(self)))
            try:
                yield self._records
            finally:
                self._records = None

    def _report(self, records: Records, dataset: str) -> None:
        rows, means = records.finish(getattr(self, 'metric_results', {}))
        if not means:
            return
        lines = [f'{name} ({title_of(records.metrics[name])}): {value:.4f}' for name, value in means.items()]
        lines.append(f'mean of {len(rows)} image(s)')
        if not self.opt['is_train']:
            path = Path(self.opt['path']['results_root'], f'metrics_{dataset}.csv')
            write_csv(path, rows, means)
            lines[-1] += f', each of them in {path}'
        get_root_logger().info(f'{dataset}, by protocol:\n\t' + '\n\t'.join(lines))


def with_evaluation(cls: type, opt: Mapping[str, Any]) -> type:
    """Return the model class as its options want it to be validated; unchanged where they ask for nothing.

    In a test every class is extended, in training those whose ``val`` has tiles or metrics of this package.

    Raises:
        MetricError: If a metric needs images that the validation of this class does not have.
    """
    metrics = (opt.get('val') or {}).get('metrics')
    config = read_evaluation(opt, OWN_METRICS)
    if opt['is_train'] and not (config.tile or config.metrics):
        return cls
    if needs_floats(metrics) and not modules_binding(cls, 'tensor2img'):
        raise MetricError(f'val.metrics: model_type {cls.__name__} does not convert its images with tensor2img, so the '
                          'images before rounding are not at hand. Use calculate_psnr_rgb_rounded, or another metric '
                          'of 8-bit images.')
    return type(cls.__name__, (EvaluationMixin, cls), {'__doc__': cls.__doc__})


@contextmanager
def tiled_forward(network: nn.Module, tile: TileOptions) -> Iterator[None]:
    """Inside the block, a call of the network with an image larger than a tile runs on tiles."""
    whole, own = network.forward, 'forward' in vars(network)

    def forward(*args: Any, **kwargs: Any) -> torch.Tensor:
        if kwargs or len(args) != 1 or not isinstance(args[0], torch.Tensor):
            raise TileError('val.tile: the model calls its network with more than one image; it cannot be run in '
                            'tiles. Remove val.tile.')
        return run_tiled(whole, args[0], tile.size, tile.overlap)

    network.forward = forward
    try:
        yield
    finally:
        if own:
            network.forward = whole
        else:
            del network.forward  # a bound method left behind would be copied into the replicas of DataParallel
