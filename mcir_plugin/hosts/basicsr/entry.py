"""``basicsr train`` and ``basicsr test``: BasicSR's own pipelines, run from the current folder."""
from __future__ import annotations

import os
import sys

import basicsr.test
import basicsr.train

from mcir_plugin.hosts.basicsr.compat.swap import swapped


def train(arguments: list[str]) -> None:
    """Run BasicSR's training pipeline; experiments go to ``./experiments``."""
    with swapped(sys, 'argv', ['basicsr train', *arguments]):
        basicsr.train.train_pipeline(os.getcwd())


def test(arguments: list[str]) -> None:
    """Run BasicSR's test pipeline; results go to ``./results``."""
    with swapped(sys, 'argv', ['basicsr test', *arguments]):
        basicsr.test.test_pipeline(os.getcwd())
