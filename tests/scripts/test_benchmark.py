"""The benchmarks run, in small, and report what they say they report."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / 'scripts' / 'benchmark'
SMALL = ['--patch', '8', '--batch', '1', '--repeats', '4']


def run(script, *arguments):
    return subprocess.run([sys.executable, str(FOLDER / script), *map(str, arguments)], capture_output=True, text=True,
                          check=False)


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp('benchmark') / 'folder' / 'result.json'
    done = run('step_cost.py', *SMALL, '--negatives', 3, '--modes', 'exact', 'random', 'interval', 'crop', 'bf16',
               'batched', '--no-memory', '--json', path)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text()), done.stdout


def test_result_holds_machine_samples_and_medians(result):
    found, _ = result
    steps = {'baseline', 'released', 'floor', *(f'plugin_{mode}' for mode in
                                                ('exact', 'random', 'interval', 'crop', 'bf16', 'batched'))}
    assert steps <= set(found['median']) and found['machine']['torch'] and found['settings']['negatives'] == 3
    assert all(len(found['samples'][name]) == 4 for name in steps)
    assert found['median']['baseline'] < found['median']['plugin_exact']


def test_floor_is_the_sum_of_its_parts_in_every_round(result):
    samples = result[0]['samples']
    for turn, floor in enumerate(samples['floor']):
        parts = {name: samples[name][turn] for name in ('baseline', 'part_F', 'part_V', 'part_V_backward')}
        assert floor == pytest.approx(
            parts['baseline'] + 3 * parts['part_F'] + 3 * parts['part_V'] + parts['part_V_backward'])


def test_gradients_are_those_of_the_naive_step_and_errors_those_of_the_modes(result):
    gradient = result[0]['gradient']
    assert gradient['exact_against_naive_float64'] < 1e-6
    for row in gradient['relative_errors']:
        assert row['random_mean'] < 1e-4 < row['random']
        assert row['crop_mean'] < row['crop']
        assert row['bf16'] > 1e-3
    differences = [row['mean_abs_difference'] for row in gradient['relative_errors']]
    assert differences == sorted(differences, reverse=True)


def test_table_names_every_step(result):
    found, said = result
    assert all(f'| {name} |' in said for name in ('baseline', 'released', 'floor', 'plugin_exact'))
    assert 'of the exact step' in said and f'{found["median"]["baseline"]:.3f}' in said


def test_memory_is_that_of_a_process_of_its_own():
    done = run('step_cost.py', *SMALL, '--memory-of', 'plugin_exact')
    assert done.returncode == 0, done.stderr
    assert 10e6 < json.loads(done.stdout.splitlines()[-1]) < 2e9  # EDSR-baseline with Adam alone takes 24 MB


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--modes', 'exakt'], 'must be from: exact, one'),
    (['--arch', 'NAFNet-w32', '--scale', '2'], 'leave --scale out'),
    (['--repeats', '1'], '--repeats at least 4'),
])
def test_wrong_arguments_are_refused(arguments, message):
    done = run('step_cost.py', *arguments)
    assert done.returncode != 0 and message in done.stderr


@pytest.mark.parametrize(('samples', 'said'), [
    ({'a': [2.0, 2.1, 1.9, 2.0, 2.0], 'b': [1., 1., 1., 1., 1.]}, '2.000 +- '),
    ({'a': [1.3, 0.7, 1.1, 0.9, 1.05], 'b': [1., 1., 1., 1., 1.]}, 'no difference beyond the spread'),
    ({'a': [2., 4., 8., 16.], 'b': [1., 2., 4., 8.]}, '2.000 +- 0.000'),  # slow rounds are slow for both
])
def test_ratios_smaller_than_their_spread_are_not_printed(samples, said, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import timing
    assert timing.say_ratio(*timing.ratio(samples, 'a', 'b')).startswith(said)


def test_scaling_fits_both_lines_and_draws(tmp_path):
    done = run('scaling.py', '--negatives', 1, 3, '--patch', 8, '--batch', 1, '--repeats', 4, '--json',
               tmp_path / 'scaling.json', '--plot', tmp_path / 'scaling.png')
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / 'scaling.json').read_text())
    assert [row['axis'] for row in found['rows']] == ['negatives', 'negatives', 'patch', 'batch']
    assert found['slopes']['plugin_exact'] > 0 and (tmp_path / 'scaling.png').stat().st_size > 5000
