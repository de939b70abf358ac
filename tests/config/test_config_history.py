"""Other histories in ``history_opt``: degraded inputs, stages, diversity, decaying weights, uncertainty, presets."""
from dataclasses import replace

import pytest

from mcir_plugin.config import ConfigError, HistoryOptions, parse_block, read_contrast
from mcir_plugin.config.presets import PRESETS
from mcir_plugin.config.yaml_text import parse_yaml

NOISE = {'type': 'noise', 'noise_sigma': (1.0, 30.0), 'gray_prob': 0.5, 'with_input': True, 'clip': True}
STAGED = {'type': 'staged', 'intervals': (1000, 2000, 3000), 'stage_iter': 100_000}
DIVERSITY = {'type': 'diversity', 'threshold': 0.3, 'window': 100, 'max_iter': 1000}


def history(**given) -> HistoryOptions:
    return parse_block(HistoryOptions, given, 'train.history_opt')


@pytest.mark.parametrize(('text', 'expected'), [
    ('degrade: noise', {'degrade': NOISE, 'num_negatives': 5, 'update_iter': (1000, ), 'decay': (0.1, )}),
    ('{degrade: {type: noise, noise_sigma: [5, 5]}, num_negatives: 3}',
     {'degrade': {**NOISE, 'noise_sigma': (5.0, 5.0)}, 'num_negatives': 3}),
    ('{degrade: blur, update_iter: 7}', {'update_iter': (7, ), 'num_negatives': 5, 'decay': (0.1, )}),
    ('{degrade: blur, update_iter: [7], decay: [0.2]}', {'update_iter': (7, ), 'decay': (0.2, )}),
    ('{degrade: resize, refresh: residual_std}', {'num_negatives': 5, 'decay': (0.001, ), 'update_iter': ()}),
    ('{degrade: {type: mix, with_input: false}, num_negatives: 1}', {'num_negatives': 1}),
    ('refresh: staged', {'refresh': STAGED, 'num_negatives': 1, 'decay': (0.1, ), 'update_iter': ()}),
    ('refresh: {type: staged, intervals: 50}', {'refresh': {**STAGED, 'intervals': (50, )}}),
    ('{refresh: staged, degrade: noise}', {'num_negatives': 5, 'decay': (0.1, )}),
    ('refresh: diversity', {'refresh': DIVERSITY, 'num_negatives': 4, 'decay': (0.1, ) * 4, 'update_iter': ()}),
    ('{refresh: diversity, num_negatives: 2}', {'num_negatives': 2, 'decay': (0.1, 0.1)}),
    ('weight_schedule: lr', {'weight_schedule': {'type': 'lr', 'end_iter': None}}),
    ('weight_schedule: {type: cosine, end_iter: 9, end_factor: 0.1}',
     {'weight_schedule': {'type': 'cosine', 'end_iter': 9, 'end_factor': 0.1}}),
    ('uncertainty: {}', {'uncertainty': {'strength': 0.5, 'limit': 10.0, 'visualize_iter': None}}),
    ('{uncertainty: {strength: 1}, negatives_per_iter: 2}', {'negatives_per_iter': 2}),
    ('{uncertainty: {}, degrade: noise}', {'num_negatives': 5}),
    ('{uncertainty: ~, degrade: ~, preset: ~}', {'uncertainty': None, 'degrade': None}),
])
def test_normal_forms(text, expected):
    options = history(**parse_yaml(text, 'test'))
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize(('text', 'path', 'words'), [
    ('degrade: nois', 'degrade.type', 'did you mean noise?'),
    ('degrade: {noise_sigma: [1, 2]}', 'degrade', 'mapping with this type'),
    ('degrade: {type: blur, noise_sigma: [1, 2]}', 'degrade.noise_sigma', 'no such option'),
    ('degrade: {type: noise, noise_sigma: [30, 1]}', 'degrade.noise_sigma', 'the smaller first'),
    ('degrade: {type: noise, noise_sigma: 30}', 'degrade.noise_sigma', 'a list of two'),
    ('degrade: {type: noise, noise_sigma: [1, 300]}', 'degrade.noise_sigma[1]', '<= 255'),
    ('degrade: {type: blur, blur_sigma: [0, 1]}', 'degrade.blur_sigma[0]', '> 0'),
    ('{degrade: noise, update_iter: [5, 6]}', 'update_iter', 'one past copy'),
    ('{degrade: noise, decay: [0.1, 0.1]}', 'decay', '2 numbers for 1 negatives'),
    ('{degrade: noise, negatives_per_iter: 2}', 'negatives_per_iter', 'smaller num_negatives'),
    ('{degrade: noise, num_negatives: 1}', 'num_negatives', 'nothing to degrade'),
    ('{degrade: noise, refresh: diversity}', 'refresh', 'compares past copies'),
    ('{refresh: staged, num_negatives: 3}', 'num_negatives', 'refreshed together are equal'),
    ('{refresh: staged, update_iter: 100}', 'update_iter', 'no intervals of single'),
    ('{refresh: {type: staged, intervals: []}}', 'refresh.intervals', 'empty'),
    ('{refresh: diversity, update_iter: 100}', 'update_iter', 'has no effect'),
    ('{refresh: diversity, num_negatives: 1}', 'num_negatives', 'compares past copies'),
    ('{refresh: {type: diversity, threshold: 1}}', 'refresh.threshold', '< 1'),
    ('{refresh: {type: diversity, window: 1000}}', 'refresh.window', 'never be looked at'),
    ('{refresh: diversity, interval: 10}', 'refresh.window', 'take 1000 with interval 10'),
    ('weight_schedule: cosin', 'weight_schedule.type', 'did you mean cosine?'),
    ('weight_schedule: {type: constant, end_factor: 0.1}', 'weight_schedule.end_factor', 'no such option'),
    ('weight_schedule: {type: linear, end_factor: 1}', 'weight_schedule.end_factor', '< 1'),
    ('{weight_schedule: {type: linear, end_iter: 30}, start_iter: 10, warmup_iter: 20}', 'weight_schedule.end_iter',
     'more than start_iter + warmup_iter (30)'),
    ('{weight_schedule: {type: constant, end_iter: 30}, interval: 31}', 'weight_schedule.end_iter', 'iteration 31'),
    ('{weight_schedule: {type: lr, end_iter: 5}, start_iter: 5}', 'weight_schedule.end_iter', 'more than'),
    ('uncertainty: true', 'uncertainty', 'a mapping of its options'),
    ('uncertainty: {strenght: 1}', 'uncertainty.strenght', 'did you mean strength?'),
    ('uncertainty: {strength: 0}', 'uncertainty.strength', '> 0'),
    ('uncertainty: {limit: 1}', 'uncertainty.limit', '> 1'),
    ('{uncertainty: {}, negatives_per_iter: 1}', 'uncertainty', 'only one takes part'),
    ('{uncertainty: {}, update_iter: 5}', 'uncertainty', 'only one takes part'),
    ('{uncertainty: {}, preset: sec}', 'uncertainty', 'only one takes part'),
    ('preset: papers', 'preset', 'did you mean paper?'),
    ('{preset: dckd, negatives_per_iter: 1}', 'negatives_per_iter', 'smaller num_negatives'),
])
def test_refused(text, path, words):
    with pytest.raises(ConfigError) as caught:
        history(**parse_yaml(text, 'test'))
    problems = caught.value.problems
    assert len(problems) == 1
    assert problems[0].startswith(f'train.history_opt.{path}:') and words in problems[0]


def test_preset_paper_is_the_default():
    assert replace(history(preset='paper'), preset=None) == HistoryOptions() == history()


def test_preset_of_the_adaptive_rule_is_what_its_name_gives():
    assert replace(history(preset='paper_adaptive'), preset=None) == history(refresh='residual_std')
    assert replace(history(preset='light'), preset=None) == history(negatives_per_iter=1, interval=10)


@pytest.mark.parametrize(('preset', 'expected'), [
    ('dckd', {'degrade': NOISE, 'num_negatives': 5, 'decay': (0.1, ), 'init_noise': 0.0, 'refresh': STAGED,
              'update_iter': ()}),
    ('sec', {'negatives_per_iter': 1, 'interval': 10, 'num_negatives': 4, 'warmup_iter': 1000,
             'refresh': {**DIVERSITY, 'window': 50}}),
])
def test_presets(preset, expected):
    options = history(preset=preset)
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize('preset', PRESETS)
def test_values_of_presets_are_allowed_and_in_normal_form(preset):
    """Written out by hand, a preset is accepted and means the same."""
    given = {name: entry.value for name, entry in PRESETS[preset].items()}
    assert history(**given) == replace(history(preset=preset), preset=None)
    assert {entry.mark for entry in PRESETS[preset].values()} <= {'published', 'ours'}
    assert all(entry.source for entry in PRESETS[preset].values())


@pytest.mark.parametrize(('given', 'expected'), [
    ({'preset': 'dckd', 'num_negatives': 3}, {'num_negatives': 3, 'degrade': NOISE}),
    ({'preset': 'dckd', 'refresh': 'periodic'}, {'update_iter': (1000, ), 'num_negatives': 5}),
    ({'preset': 'dckd', 'degrade': None}, {'num_negatives': 1, 'decay': (0.1, ), 'refresh': STAGED}),
    ({'preset': 'paper', 'degrade': 'noise'}, {'update_iter': (1000, ), 'num_negatives': 5}),
    ({'preset': 'paper_adaptive', 'refresh': 'growing'}, {'update_iter': (100, 200, 500, 1000), 'num_negatives': 4}),
    ({'preset': 'sec', 'interval': 1, 'negatives_per_iter': 'all'}, {'interval': 1, 'warmup_iter': 1000}),
])
def test_own_keys_win_over_a_preset(given, expected):
    options = history(**given)
    assert {name: getattr(options, name) for name in expected} == expected


def in_a_run(history, total=100, **data):
    return read_contrast({'datasets': {'train': data}, 'train': {
        'total_iter': total, 'spn_opt': {}, 'history_opt': {'update_iter': 5, **history}}})


@pytest.mark.parametrize(('schedule', 'end'), [
    ('linear', 100), ({'type': 'cosine', 'end_factor': 0.1}, 100), ({'type': 'linear', 'end_iter': 60}, 60),
    ('constant', None), ('lr', None), ({'type': 'lr', 'end_iter': 99}, 99),
])
@pytest.mark.parametrize('total', [100, 100.0])
def test_decays_end_with_the_training(schedule, end, total):
    config = in_a_run({'weight_schedule': schedule}, total)
    assert config.history.weight_schedule['end_iter'] == end and config.notes == ()


@pytest.mark.parametrize(('history', 'total', 'path', 'words'), [
    ({'weight_schedule': {'type': 'constant', 'end_iter': 100}}, 100, '.end_iter', 'training ends at 100'),
    ({'weight_schedule': {'type': 'lr', 'end_iter': 300}}, 100, '.end_iter', 'has no effect'),
    ({'weight_schedule': 'cosine', 'start_iter': 40, 'warmup_iter': 60}, 100, '', 'which leaves nothing'),
    ({'weight_schedule': 'cosine'}, None, '.end_iter', 'train.total_iter is None'),
    ({'weight_schedule': 'linear'}, 'many', '.end_iter', 'needs it'),
])
def test_ends_that_do_not_fit_the_training(history, total, path, words):
    with pytest.raises(ConfigError) as caught:
        in_a_run(history, total)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f'train.history_opt.weight_schedule{path}:')
    assert words in caught.value.problems[0]


def test_note_about_a_weight_that_has_not_decayed():
    notes = in_a_run({'weight_schedule': {'type': 'linear', 'end_iter': 300}}).notes
    assert len(notes) == 1 and 'end_iter is 300: the weight has not decayed' in notes[0]


@pytest.mark.parametrize(('clip', 'data', 'expected'), [
    (True, {'mean': [0.5] * 3, 'std': [0.5] * 3}, ['(mean and std)']), (True, {'mean': [0.5] * 3}, ['(mean)']),
    (False, {'mean': [0.5] * 3}, []), (True, {'mean': None}, []), (True, {}, []),
])
def test_note_about_normalised_inputs(clip, data, expected):
    notes = in_a_run({'degrade': {'type': 'noise', 'clip': clip}}, **data).notes
    assert len(notes) == len(expected) and all(word in note for word, note in zip(expected, notes, strict=True))
