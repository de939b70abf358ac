"""The generated option reference and the script that keeps the README up to date."""
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from mcir_plugin.config import LOSS_BLOCKS, HistoryOptions, SPNOptions, parse_block, reference_table
from mcir_plugin.config.evaluation import MetricOptions, TileOptions
from mcir_plugin.config.negatives import DEGRADE_BLOCKS, UncertaintyOptions
from mcir_plugin.config.presets import PRESETS
from mcir_plugin.config.recipe import ClipOptions, CosineOptions
from mcir_plugin.config.reference import preset_table, variants_table
from mcir_plugin.config.refresh import REFRESH_BLOCKS
from mcir_plugin.config.weight_schedule import WEIGHT_BLOCKS
from mcir_plugin.config.yaml_text import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'scripts' / 'option_reference.py'
BLOCKS = [*LOSS_BLOCKS.values(), HistoryOptions, *REFRESH_BLOCKS.values(), UncertaintyOptions, TileOptions,
          MetricOptions]
REQUIRED = [ClipOptions, CosineOptions]  # without a default for each option
MERGED = [*DEGRADE_BLOCKS.values(), *WEIGHT_BLOCKS.values()]  # several share a table
FORMS = {'margin': 'hinge', 'margin_decay_iter': 'hinge', 'tau': 'infonce', 'eps': 'ratio'}  # that read an option
BEGIN, END = '<!-- options:begin -->', '<!-- options:end -->'


def rows(cls) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip('|').split(' | ')] for line in reference_table(cls).splitlines()]


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), '--file', str(path), *arguments]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': 'utf-8'}
    return subprocess.run(command, capture_output=True, text=True, encoding='utf-8', env=environment)


@pytest.mark.parametrize('cls', [*BLOCKS, *REQUIRED, *MERGED])
def test_one_complete_row_per_option(cls):
    head, rule, *body = rows(cls)
    assert head == ['Option', 'Default', 'Allowed', 'Meaning'] and set(rule) == {'---'}
    assert [row[0] for row in body] == [f'`{definition.name}`' for definition in fields(cls)]
    assert all(len(row) == 4 and all(row) for row in body)


@pytest.mark.parametrize('cls', [*BLOCKS, *MERGED])
def test_written_defaults_are_the_defaults(cls):
    for name, default, _, _ in rows(cls)[2:]:
        name = name.strip('`')
        reader = {'form': FORMS[name]} if hasattr(cls, 'form') and name in FORMS else {}
        given = {name: parse_yaml(default.strip('`'), 'table'), **reader}
        assert parse_block(cls, given, 'x') == cls(**reader)


def test_ranges_and_choices_are_shown():
    allowed = {row[0].strip('`'): row[2] for row in [*rows(SPNOptions), *rows(HistoryOptions)]}
    assert allowed['criterion'] == 'l1, l2, smooth_l1 or charbonnier'
    assert allowed['decay'].startswith('a number >= 0 and &lt; 1')
    assert allowed['negatives_per_iter'] == 'all or an integer >= 1'


@pytest.mark.parametrize('blocks', [DEGRADE_BLOCKS, WEIGHT_BLOCKS])
def test_merged_table_has_every_option_with_its_readers(blocks):
    table = variants_table(blocks)
    rows = [[cell.strip() for cell in line.strip('|').split(' | ')] for line in table.splitlines() if line[:1] == '|']
    found = {(row[0].strip('`'), reader) for row in rows[2:] for reader in row[4].split(', ')}
    assert found == {(definition.name, name) for name, block in blocks.items() for definition in fields(block)
                     if definition.name != 'type'}
    assert all(f'- `{name}`: ' in table for name in blocks)


def test_table_of_presets_has_every_value_with_its_source():
    lines = preset_table().splitlines()[2:]
    assert len(lines) == sum(map(len, PRESETS.values()))
    for name, preset in PRESETS.items():
        for option, entry in preset.items():
            assert any(f'`{name}`' in line and f'`{option}: ' in line and entry.mark in line and entry.source in line
                       for line in lines)


def test_script_writes_between_the_markers_and_only_there(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text(f'# Title\n\n{BEGIN}\nstale text\n{END}\n\nrest ü\n', encoding='utf-8')
    path.chmod(0o640)
    check = run(path, '--check')
    assert check.returncode == 1 and 'out of date' in check.stderr
    assert 'stale text' in path.read_text(encoding='utf-8')
    assert run(path).returncode == 0
    text = path.read_text(encoding='utf-8')
    assert text.startswith(f'# Title\n\n{BEGIN}\n') and text.endswith(f'{END}\n\nrest ü\n') and 'stale text' not in text
    assert all(reference_table(cls) in text for cls in BLOCKS)
    assert path.stat().st_mode & 0o777 == 0o640 and os.listdir(tmp_path) == ['page.md']
    assert run(path, '--check').returncode == 0
    path.write_text(text.replace('0.022', '0.023'), encoding='utf-8')
    assert run(path, '--check').returncode == 1


@pytest.mark.parametrize('text', ['no markers', BEGIN, END + BEGIN, BEGIN + END + BEGIN + END, BEGIN + END + END])
def test_script_refuses_a_page_without_its_markers(tmp_path, text):
    path = tmp_path / 'page.md'
    path.write_text(text, encoding='utf-8')
    result = run(path)
    assert result.returncode == 1 and 'exactly once' in result.stderr and path.read_text(encoding='utf-8') == text


def test_script_says_which_file_is_missing(tmp_path):
    result = run(tmp_path / 'none.md')
    assert result.returncode == 1 and 'none.md' in result.stderr and 'Traceback' not in result.stderr
