"""One block per loss: names, defaults, options that nothing would read, and histories that no loss would read."""
import inspect

import pytest

from mcir_plugin.config import LOSS_BLOCKS, ConfigError, HistoryOptions, SPNOptions, parse_loss, read_contrast
from mcir_plugin.config.contrast import WITHOUT_HISTORY

PEERS = [name for name in LOSS_BLOCKS if name != 'SPNLoss']


def loss(**given):
    return parse_loss(given, 'train.spn_opt')


def refused(**given) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loss(**given)
    return caught.value.problems


@pytest.mark.parametrize('name', LOSS_BLOCKS)
def test_block_and_constructor_have_the_same_arguments_and_defaults(name):
    from mcir_plugin.losses import LOSSES
    parameters = inspect.signature(LOSSES[name]).parameters
    assert loss(type=name).kwargs() == {key: parameter.default for key, parameter in parameters.items()}
    assert LOSSES[name].__name__ == name == loss(type=name).type
    assert loss(type=name).uses_history == ('negatives' in LOSSES[name](
        vgg_weights='random:0', layer_weights={'relu1_1': 1.}).needs)


def test_type_decides_and_is_the_spn_loss_by_default():
    assert parse_loss(None, 'x') == parse_loss({}, 'x') == loss(type='SPNLoss') == SPNOptions()
    assert loss(type='CCRLoss', gamma=0.5).gamma == 0.5
    assert refused(type='CRLos')[0].startswith('train.spn_opt.type: ') and 'did you mean CRLoss' in refused(
        type='CRLos')[0]
    for wrong in (3, None, ['CRLoss'], {}):
        assert 'must be SPNLoss, CRLoss, CCRLoss or PCLLoss' in refused(type=wrong)[0]
    with pytest.raises(ConfigError, match='must be a mapping'):
        parse_loss('CRLoss', 'train.spn_opt')


@pytest.mark.parametrize(('given', 'path', 'words'), [
    ({'type': 'CRLoss', 'gama': 1}, 'gama', 'there is no such option'),
    ({'type': 'CRLoss', 'loss_weigth': 1}, 'loss_weigth', 'did you mean loss_weight?'),
    ({'type': 'CRLoss', 'form': 'hinge'}, 'form', 'there is no such option'),
    ({'type': 'CRLoss', 'reduction': 'sum'}, 'reduction', 'there is no such option'),
    ({'type': 'CRLoss', 'loss_weight': 0}, 'loss_weight', 'published: 0.1'),
    ({'type': 'CRLoss', 'vgg_type': 'vgg11'}, None, None),
    ({'type': 'CRLoss', 'layer_weights': {'relu3_4': 1}, 'vgg_type': 'vgg16'}, 'layer_weights', 'no layer relu3_4'),
    ({'type': 'CCRLoss', 'gamma': 1}, 'gamma', '< 1'),
    ({'type': 'CCRLoss', 'lq_weight': 0}, 'lq_weight', '> 0'),
    ({'type': 'PCLLoss', 'criterion': 'cosin'}, 'criterion', 'did you mean cosine?'),
    ({'type': 'CRLoss', 'criterion': 'cosine'}, 'criterion', 'l1, l2, smooth_l1 or charbonnier'),
    ({'type': 'PCLLoss', 'blur_kernel_size': 8}, 'blur_kernel_size', 'Use 9'),
    ({'type': 'PCLLoss', 'sharpness': [1, 0.5]}, 'sharpness[1]', '>= 1'),
    ({'type': 'PCLLoss', 'blur_sigma': []}, 'blur_sigma', 'empty'),
    ({'type': 'PCLLoss', 'eps': 1e-3}, 'eps', 'no effect with form: infonce. Remove it, or use form: ratio'),
    ({'type': 'PCLLoss', 'form': 'ratio', 'tau': 1}, 'tau', 'no effect with form: ratio'),
    ({'extractor': 'vgg', 'layer_weights': {'a': 1}}, 'extractor.type', 'must be network or live'),
    ({'extractor': {'type': 'network', 'weights': 'f'}, 'layer_weights': {'a': 1}}, 'extractor.network', 'is missing'),
    ({'extractor': {'type': 'network', 'network': {'type': 'A'}}, 'layer_weights': {'a': 1}}, 'extractor.weights',
     'is missing'),
    ({'extractor': {'type': 'network', 'network': 'A', 'weights': 'f'}, 'layer_weights': {'a': 1}},
     'extractor.network', 'must be a mapping such as {type: UNetDiscriminatorSN'),
    ({'extractor': {'type': 'network', 'network': {'type': 'A'}, 'weights': 'random:x'}, 'layer_weights': {'a': 1}},
     'extractor.weights', 'must be random:<seed>'),
    ({'extractor': {'type': 'live', 'nam': 'net_d'}, 'layer_weights': {'a': 1}}, 'extractor.nam', 'did you mean name?'),
    ({'extractor': 'live'}, 'layer_weights', 'is missing; with train.spn_opt.extractor it names modules'),
    ({'extractor': 'live', 'layer_weights': {'a': 1}, 'vgg_type': 'vgg16'}, 'vgg_type', 'no effect with'),
    ({'extractor': 'live', 'layer_weights': {'a': 1}, 'use_input_norm': True}, 'use_input_norm', 'Remove one'),
    ({'margin': 0.1}, 'margin', 'no effect with form: difference. Remove it, or use form: hinge'),
    ({'form': 'ratio', 'margin_decay_iter': 5}, 'margin_decay_iter', 'form: hinge'),
    ({'form': 'hinge', 'tau': 2}, 'tau', 'form: infonce'),
    ({'eps': 1}, 'eps', 'form: ratio'),
    ({'form': 'infonce', 'gate': 'ground_truth'}, 'gate', 'use form: difference or hinge'),
    ({'gate': 'groundtruth'}, 'gate', 'did you mean ground_truth?'),
    ({'form': 'triplet'}, 'form', 'difference, ratio, hinge or infonce'),
])
def test_options_that_are_wrong_or_that_nothing_reads(given, path, words):
    if path is None:
        assert loss(**given).vgg_type == 'vgg11'  # all first layers of a block exist everywhere
        return
    problems = refused(**given)
    assert len(problems) == 1 and problems[0].startswith(f'train.spn_opt.{path}:') and words in problems[0]


@pytest.mark.parametrize('given', [
    {'form': 'hinge', 'margin': 0.2, 'margin_decay_iter': 100, 'gate': 'ground_truth'}, {'gate': 'ground_truth'},
    {'extractor': {'type': 'live', 'name': 'net_d'}, 'layer_weights': {'conv1': 1}, 'range_norm': True},
    {'extractor': None},
    {'type': 'PCLLoss', 'layer_weights': {'a.b': 1}, 'extractor': {
        'type': 'network', 'network': {'type': 'A', 'n': [1]}, 'weights': 'random:3'}},
    {'form': 'ratio', 'eps': 0.01}, {'form': 'infonce', 'tau': 0.5}, {'gate': None, 'form': 'ratio'},
    {'type': 'PCLLoss', 'form': 'ratio', 'eps': 0.1}, {'type': 'PCLLoss', 'tau': 3, 'domain': 'frequency'},
    {'type': 'CCRLoss', 'gamma': 0.1, 'lq_weight': 1, 'eps': 1}, {'type': 'CRLoss', 'eps': 0.1},
])
def test_options_that_are_read(given):
    options = loss(**given)
    assert {name: getattr(options, name) for name in given} == given


def test_single_strengths_become_tuples():
    options = loss(type='PCLLoss', sharpness=2, blur_sigma=[1, 3])
    assert options.sharpness == (2.0, ) and options.blur_sigma == (1.0, 3.0)


@pytest.mark.parametrize('name', PEERS)
def test_history_that_a_loss_does_not_read(name):
    train = {'spn_opt': {'type': name}, 'total_iter': 5000}
    for history in ({'update_iter': [5, 10]}, {'decay': 0.1}, {'negatives_per_iter': 1}, {'init_noise': 0},
                    {'refresh': 'growing'}, {'dtype': 'bfloat16'}, {'device': 'cpu'}, {'channels_last': True}):
        if LOSS_BLOCKS[name].uses_history:
            assert read_contrast({'train': {**train, 'history_opt': history}})
            continue
        with pytest.raises(ConfigError) as caught:
            read_contrast({'train': {**train, 'history_opt': history}})
        (problem, ), (option, ) = caught.value.problems, history
        assert problem.startswith(f'train.history_opt.{option}: has no effect with {name}')
        assert 'use SPNLoss or CCRLoss' in problem


@pytest.mark.parametrize('name', PEERS)
def test_what_says_when_a_term_acts_is_read_by_every_loss(name):
    history = {'interval': 2, 'start_iter': 3, 'warmup_iter': 4, 'max_ratio': 0.3, 'warn_ratio': 0.2,
               'precision': 'bfloat16', 'crop_size': 32, 'seed': 1}
    config = read_contrast({'train': {'spn_opt': {'type': name}, 'total_iter': 2000, 'history_opt': history}})
    assert {option: getattr(config.history, option) for option in history} == history
    assert config.notes == ()
    with pytest.raises(ConfigError, match='start_iter: received 9, but training ends'):
        read_contrast({'train': {'spn_opt': {'type': name}, 'total_iter': 9, 'history_opt': {'start_iter': 9}}})


def test_notes_are_about_what_the_loss_reads():
    for name, block in LOSS_BLOCKS.items():
        notes = read_contrast({'train': {'spn_opt': {'type': name}, 'total_iter': 500}}).notes
        assert bool(notes) == block.uses_history  # the last default interval is 1000


def test_a_seed_needs_something_to_draw():
    train = {'spn_opt': {'type': 'CRLoss'}, 'history_opt': {'seed': 3}}
    with pytest.raises(ConfigError, match='seed: has no effect with CRLoss without crop_size'):
        read_contrast({'train': train})


def test_every_option_of_the_history_is_known_to_be_read_or_not():
    """A new option has to be put on one side."""
    with_history = {'preset', 'update_iter', 'decay', 'init_noise', 'refresh', 'num_negatives', 'degrade',
                    'negatives_per_iter', 'uncertainty', 'dtype', 'device', 'channels_last'}
    assert with_history | set(WITHOUT_HISTORY) == set(inspect.signature(HistoryOptions).parameters)
    assert not with_history & set(WITHOUT_HISTORY)


def test_flat_names_of_the_authors_reach_a_loss_with_history_only():
    assert read_contrast({'train': {'spn_opt': {'type': 'CCRLoss'}, 'neg_iter': 5}}).history.update_iter == (5, )
    with pytest.raises(ConfigError, match='update_iter: has no effect with CRLoss'):
        read_contrast({'train': {'spn_opt': {'type': 'CRLoss'}, 'neg_iter': 5}})
