"""The page about data sets names every option and every command."""
from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from mcir_plugin.data import PairedRestorationOptions, read_rule

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'datasets.md').read_text(encoding='utf-8')


def test_every_option_is_explained() -> None:
    names = {definition.name for definition in fields(PairedRestorationOptions)} - {'scale'}  # BasicSR's, at the top
    assert sorted(name for name in names if name not in PAGE) == []


def test_every_command_is_listed() -> None:
    scripts = {path.name for path in (ROOT / 'scripts/data_preparation').glob('prepare_*.py')}
    assert sorted(name for name in scripts if f'`{name}`' not in PAGE) == []


def test_the_rules_of_the_table_do_what_it_says() -> None:
    assert read_rule('prefix(_)').partner('1400_3') == '1400'
    assert read_rule('{}x2 -> {}').partner('norain-7x2') == 'norain-7'
    assert read_rule('{a}-{*}_{b} -> {a}_{b}').partner('005-31_0_9') == '005_0_9'
    assert read_rule('{scene}_blur_{frame} -> {scene}_sharp_{frame}').partner('G1_blur_7_s001') == 'G1_sharp_7_s001'
