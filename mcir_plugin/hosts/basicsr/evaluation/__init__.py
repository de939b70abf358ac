"""Evaluation in BasicSR: published protocols as metrics, tiles, and the values of every image.

    metrics.py       the protocols as ``calculate_...`` in BasicSR's registry; what is printed beside a number
    lpips_metric.py  LPIPS, where package and weights are at hand
    float_images.py  images that were not rounded, for the metrics that need them
    records.py       the values of every image, and their CSV file
    validation.py    the mixin that adds all this to a model type
    defaults.py      ``basicsr test``: options that a test need not give
"""
from mcir_plugin.hosts.basicsr.evaluation.validation import with_evaluation

__all__ = ['with_evaluation']
