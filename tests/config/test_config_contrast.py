"""From the options of a whole run to the options of its contrastive term."""
import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcir_plugin.config import ConfigError, HistoryOptions, SPNOptions, load_options, read_contrast

SPN = {'type': 'SPNLoss'}


def refused(train) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_contrast({'train': train})
    return caught.value.problems


@pytest.mark.parametrize('opt', [{}, {'train': None}, {'train': {}}, {'train': {'pixel_opt': {}, 'total_iter': 5}},
                                 {'train': {'spn_opt': None}}, {'train': {'spn_opt': None, 'history_opt': None}}])
def test_without_spn_opt(opt):
    assert read_contrast(opt) is None


@pytest.mark.parametrize('spn', [SPN, {}])
def test_defaults(spn):
    config = read_contrast({'train': {'spn_opt': spn, 'total_iter': 500_000}})
    assert (config.spn, config.history, config.notes) == (SPNOptions(), HistoryOptions(), ())


def test_from_a_file_and_nothing_is_modified(tmp_path):
    path = tmp_path / 'opt.yml'
    path.write_text('train:\n  total_iter: 1000\n  spn_opt: {type: SPNLoss, loss_weight: 1e-2, neg_decay: 0.2}\n'
                    '  history_opt: {update_iter: [10, 20]}\n  neg_start: 5\n', encoding='utf-8')
    opt = load_options(path)
    before = copy.deepcopy(opt)
    config = read_contrast(opt)
    assert opt == before
    assert config.spn.loss_weight == 0.01 and config.history.update_iter == (10, 20)
    assert config.history.decay == (0.2, 0.2) and config.history.start_iter == 5


@pytest.mark.parametrize('place', ['train', 'train.spn_opt', 'train.history_opt'])
@pytest.mark.parametrize(('flat', 'name', 'value', 'expected'), [
    ('neg_iter', 'update_iter', [3, 4], (3, 4)), ('neg_decay', 'decay', 0.3, (0.3, ) * 4), ('neg_start',
    'start_iter', 9, 9)])
def test_flat_names_of_the_authors(place, flat, name, value, expected):
    train = {'spn_opt': dict(SPN), 'history_opt': {}}
    block = train.get(place.partition('.')[2], train)
    block[flat] = value
    config = read_contrast({'train': train})
    assert getattr(config.history, name) == expected
    assert config.notes == (f'{place}.{flat} is read as train.history_opt.{name}', )


@pytest.mark.parametrize(('train', 'path'), [
    ({'spn_opt': SPN, 'neg_iter': 5, 'history_opt': {'update_iter': 5}}, 'train.neg_iter'),
    ({'spn_opt': {**SPN, 'neg_decay': 0.1}, 'history_opt': {'decay': 0.1}}, 'train.spn_opt.neg_decay'),
    ({'spn_opt': SPN, 'history_opt': {'neg_start': 1, 'start_iter': 2}}, 'train.history_opt.neg_start'),
    ({'spn_opt': {**SPN, 'neg_iter': 5}, 'neg_iter': 6}, 'train.spn_opt.neg_iter'),
])
def test_both_names_of_one_option(train, path):
    problems = refused(train)
    assert len(problems) == 1 and problems[0].startswith(f'{path}:') and 'given as well' in problems[0]


@pytest.mark.parametrize(('train', 'paths'), [
    ({'history_opt': {}}, ['train.history_opt']),
    ({'history_opt': {'update_iter': 5}}, ['train.history_opt']),
    ({'neg_iter': 5, 'neg_decay': 0.1}, ['train.neg_iter', 'train.neg_decay']),
    ({'spn_opt': None, 'history_opt': {'neg_start': 5}}, ['train.history_opt', 'train.history_opt.neg_start']),
])
def test_history_without_loss(train, paths):
    problems = refused(train)
    assert [problem.split(':')[0] for problem in problems] == paths
    assert all('has no effect without train.spn_opt' in problem for problem in problems)


@pytest.mark.parametrize('train', [{'spn_opt': 3}, {'spn_opt': 'SPNLoss'}, {'spn_opt': [SPN]}, {'spn_opt': False},
                                   {'spn_opt': SPN, 'history_opt': 4}, 'train', [1], 3])
def test_blocks_must_be_mappings(train):
    assert 'must be a mapping' in refused(train)[0]


def test_problems_of_both_blocks_at_once():
    problems = refused({'spn_opt': {'loss_weigth': 1}, 'history_opt': {'decay': 2, 'dtype': 'x'}, 'neg_iter': 0})
    assert [problem.split(':')[0] for problem in problems] == [
        'train.spn_opt.loss_weigth', 'train.history_opt.decay', 'train.history_opt.dtype',
        'train.history_opt.update_iter']


@pytest.mark.parametrize(('history', 'path'), [
    ({'start_iter': 100}, 'start_iter'), ({'start_iter': 500}, 'start_iter'), ({'interval': 101}, 'interval'),
    ({'interval': 60, 'start_iter': 60}, 'interval'),
])
def test_a_term_that_never_acts(history, path):
    problems = refused({'spn_opt': SPN, 'total_iter': 100, 'history_opt': {'update_iter': 5, **history}})
    assert len(problems) == 1 and problems[0].startswith(f'train.history_opt.{path}:')


@pytest.mark.parametrize('history', [{'start_iter': 99}, {'interval': 100}, {'interval': 50, 'start_iter': 99}])
def test_a_term_that_acts_once_is_fine(history):
    config = read_contrast({'train': {'spn_opt': SPN, 'total_iter': 100, 'history_opt': {'update_iter': 5, **history}}})
    assert config.notes == ()


def test_notes_about_what_does_not_happen_within_the_run():
    train = {'spn_opt': SPN, 'total_iter': 500, 'history_opt': {'warmup_iter': 501}}
    notes = read_contrast({'train': train}).notes
    assert len(notes) == 2
    assert 'update_iter[3] is 1000' in notes[0] and 'never refreshed' in notes[0]
    assert 'warmup_iter is 501' in notes[1]


@pytest.mark.parametrize(('history', 'first'), [({'start_iter': 50}, 51), ({'interval': 50}, 50)])
def test_a_margin_that_is_gone_before_the_term_acts(history, first):
    spn = {**SPN, 'form': 'hinge', 'margin_decay_iter': first}
    history = {'update_iter': 5, **history}
    problem, = refused({'spn_opt': spn, 'total_iter': 100, 'history_opt': history})
    assert problem.startswith(f'train.spn_opt.margin_decay_iter: received {first}, ')
    assert f'iteration {first} first' in problem
    config = read_contrast({'train': {'spn_opt': {**spn, 'margin_decay_iter': 101}, 'total_iter': 100,
                                      'history_opt': history}})
    assert len(config.notes) == 1 and 'margin_decay_iter is 101' in config.notes[0]


@pytest.mark.parametrize('total', [None, 'many', 4e5])
def test_total_iter_that_is_no_integer_is_left_to_the_toolbox(total):
    config = read_contrast({'train': {'spn_opt': SPN, 'total_iter': total, 'history_opt': {'start_iter': 10**9}}})
    assert config.history.start_iter == 10**9 and config.notes == ()


words = st.sampled_from(['all', 'vgg11', 'growing', 'x'])
leaves = st.none() | st.booleans() | st.integers(-5, 5000) | st.floats() | words
names = st.sampled_from([
    'update_iter', 'decay', 'refresh', 'num_negatives', 'negatives_per_iter', 'neg_iter', 'type', 'growth',
    'layer_weights',
    'relu1_2', 'vgg_type', 'vgg_weights', 'loss_weight', 'spn_opt', 'history_opt',
])
blocks = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(blocks, blocks, leaves)
def test_arbitrary_blocks(spn, history, total):
    opt = {'train': {'spn_opt': spn, 'history_opt': history, 'total_iter': total}}
    before = repr(opt)
    try:
        config = read_contrast(opt)
    except ConfigError as error:
        assert error.problems
    else:
        assert config is None or len(config.history.decay) == config.history.num_negatives
    assert repr(opt) == before
