"""``spn_opt`` and ``history_opt``: names, defaults, ranges, and combinations that would do nothing."""
import pytest

from mcir_plugin.config import ConfigError, HistoryOptions, SPNOptions, parse_block


def spn(**given) -> SPNOptions:
    return parse_block(SPNOptions, given, 'train.spn_opt')


def history(**given) -> HistoryOptions:
    return parse_block(HistoryOptions, given, 'train.history_opt')


def refused(block, **given) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        block(**given)
    return caught.value.problems


def test_published_configuration_is_the_default():
    assert spn().kwargs() == {
        'loss_weight': 0.001, 'layer_weights': {'relu1_2': 0.2, 'relu2_2': 0.3, 'relu3_3': 0.5}, 'vgg_type': 'vgg16',
        'vgg_weights': None, 'use_input_norm': True, 'range_norm': False, 'criterion': 'l1', 'reduction': 'mean',
        'form': 'difference', 'gate': None, 'margin': 0.1, 'margin_decay_iter': None, 'tau': 2.0, 'eps': 1e-7,
        'extractor': None}
    bank = history()
    assert bank.update_iter == (100, 200, 500, 1000) and bank.decay == (0.1, 0.1, 0.1, 0.1) and bank.init_noise == 0.1
    assert (bank.num_negatives, bank.refresh, bank.negatives_per_iter) == (4, {'type': 'periodic'}, 'all')
    assert (bank.interval, bank.start_iter, bank.warmup_iter, bank.max_ratio, bank.warn_ratio) == (1, 0, 0, None, 0.5)
    assert (bank.seed, bank.dtype, bank.device) == (None, None, None)
    assert bank == HistoryOptions()


def test_kwargs_are_a_copy():
    options = spn()
    options.kwargs()['layer_weights']['relu1_2'] = 7
    assert options.layer_weights['relu1_2'] == 0.2


@pytest.mark.parametrize('given', [
    {'type': 'SPNLoss'}, {'loss_weight': 1}, {'vgg_type': 'vgg19_bn', 'layer_weights': {'bn3_4': 1}},
    {'vgg_weights': 'a/b.pth'}, {'vgg_weights': 'random:0'}, {'vgg_weights': './random'},
    {'vgg_weights': 'random_vgg.pth'},
    {'criterion': 'charbonnier'}, {'reduction': 'sum'}, {'layer_weights': {'pool2': 0.5}}, {'vgg_type': 'vgg11',
    'layer_weights': {'relu1_1': 1}},
])
def test_spn_allowed(given):
    options = spn(**given)
    assert all(getattr(options, name) == value for name, value in given.items())


@pytest.mark.parametrize(('given', 'path', 'words'), [
    ({'type': 'SpnLos'}, 'type', 'did you mean SPNLoss?'),
    ({'loss_weigth': 1}, 'loss_weigth', 'did you mean loss_weight?'),
    ({'loss_weight': 0}, 'loss_weight', 'remove spn_opt'),
    ({'loss_weight': -1}, 'loss_weight', '>= 0'),
    ({'loss_weight': '1e-3'}, 'loss_weight', 'without quotes'),
    ({'layer_weights': {}}, 'layer_weights', 'for example'),
    ({'layer_weights': ['relu1_2']}, 'layer_weights', 'for example'),
    ({'layer_weights': {'relu1_2': 0}}, 'layer_weights.relu1_2', '> 0'),
    ({'layer_weights': {'relu3_4': 1}}, 'layer_weights', 'vgg16 has no layer relu3_4 (did you mean relu'),
    ({'layer_weights': {'bn1_1': 1}}, 'layer_weights', 'conv1_1, relu1_1, conv1_2, relu1_2, pool1'),
    ({'layer_weights': {3: 1}}, 'layer_weights', 'no layer 3'),
    ({'vgg_type': 'vgg11'}, 'layer_weights', 'Give layer_weights yourself'),
    ({'vgg_type': 'vgg13'}, 'layer_weights', 'no layer relu3_3'),
    ({'vgg_type': 'vgg17'}, 'vgg_type', 'vgg16_bn'),
    ({'vgg_weights': ''}, 'vgg_weights', 'random:<seed>'),
    ({'vgg_weights': 'random'}, 'vgg_weights', 'random:0'),
    ({'vgg_weights': 'random:'}, 'vgg_weights', 'random:0'),
    ({'vgg_weights': 'random:x'}, 'vgg_weights', 'random:0'),
    ({'vgg_weights': 'random:-1'}, 'vgg_weights', 'random:0'),
    ({'vgg_weights': 'None'}, 'vgg_weights', 'write ~'),
    ({'use_input_norm': 1}, 'use_input_norm', 'true or false'),
    ({'criterion': 'L1'}, 'criterion', 'did you mean l1?'),
    ({'reduction': 'none'}, 'reduction', 'mean or sum'),
])
def test_spn_refused(given, path, words):
    problems = refused(spn, **given)
    assert len(problems) == 1
    assert problems[0].startswith(f'train.spn_opt.{path}:') and words in problems[0]


@pytest.mark.parametrize(('given', 'expected'), [
    ({'update_iter': 7}, {'update_iter': (7, ), 'decay': (0.1, ), 'num_negatives': 1}),
    ({'update_iter': [3, 5], 'decay': 0}, {'update_iter': (3, 5), 'decay': (0.0, 0.0), 'num_negatives': 2}),
    ({'update_iter': [3, 5], 'decay': [0.1, 0.9]}, {'decay': (0.1, 0.9)}),
    ({'decay': [0.1, 0.2, 0.3, 0.4]}, {'decay': (0.1, 0.2, 0.3, 0.4), 'update_iter': (100, 200, 500, 1000)}),
    ({'update_iter': 7, 'decay': [0.5]}, {'decay': (0.5, )}),
    ({'refresh': {'type': 'periodic'}}, {'refresh': {'type': 'periodic'}}),
    ({'refresh': 'growing'}, {'refresh': {'type': 'growing', 'growth': 1000, 'max_iter': 3000}}),
    ({'refresh': {'type': 'growing', 'max_iter': 5000}, 'update_iter': 1000},
     {'refresh': {'type': 'growing', 'growth': 1000, 'max_iter': 5000}}),
    ({'refresh': {'type': 'growing', 'max_iter': 1000}}, {'update_iter': (100, 200, 500, 1000)}),
    ({'refresh': 'residual_std'}, {'refresh': {'type': 'residual_std', 'threshold': 0.022}, 'update_iter': (),
                                   'num_negatives': 4, 'decay': (0.001, ) * 4}),
    ({'refresh': 'residual_std', 'num_negatives': 2}, {'num_negatives': 2, 'decay': (0.001, 0.001)}),
    ({'refresh': 'residual_std', 'num_negatives': 2, 'decay': 0.1}, {'decay': (0.1, 0.1)}),
    ({'refresh': {'type': 'residual_std', 'threshold': 1}, 'num_negatives': None}, {'num_negatives': 4}),
    ({'negatives_per_iter': 4}, {'negatives_per_iter': 4}),
    ({'num_negatives': None}, {'num_negatives': 4}),
    ({'max_ratio': 0.3}, {'max_ratio': 0.3, 'warn_ratio': 0.5}),
    ({'max_ratio': 0.3, 'warn_ratio': 0.2}, {'warn_ratio': 0.2}),
    ({'init_noise': 0, 'seed': 0, 'dtype': 'float32', 'device': 'cpu'}, {'init_noise': 0.0, 'dtype': 'float32'}),
    ({'init_noise': 1, 'interval': 5, 'start_iter': 10, 'warmup_iter': 20}, {'init_noise': 1.0, 'interval': 5}),
])
def test_history_normal_forms(given, expected):
    options = history(**given)
    assert {name: getattr(options, name) for name in expected} == expected
    assert len(options.decay) == options.num_negatives


@pytest.mark.parametrize(('given', 'path', 'words'), [
    ({'update_iters': 1}, 'update_iters', 'did you mean update_iter?'),
    ({'update_iter': 0}, 'update_iter', '>= 1'),
    ({'update_iter': []}, 'update_iter', 'empty'),
    ({'update_iter': [100, 0]}, 'update_iter[1]', '>= 1'),
    ({'update_iter': 1000.0}, 'update_iter', 'Write 1000'),
    ({'update_iter': True}, 'update_iter', 'integer'),
    ({'update_iter': None}, 'update_iter', '~ (no value)'),
    ({'decay': 1}, 'decay', '< 1'),
    ({'decay': [0.1, -0.1]}, 'decay[1]', '>= 0'),
    ({'decay': [0.1, 0.1]}, 'decay', '2 numbers for 4 negatives'),
    ({'update_iter': [1, 2, 3], 'decay': [0.1, 0.1]}, 'decay', '2 numbers for 3 negatives'),
    ({'refresh': 'residual_std', 'decay': [0.1, 0.1]}, 'decay', '2 numbers for 4 negatives'),
    ({'init_noise': 1.1}, 'init_noise', '<= 1'),
    ({'refresh': 'periodical'}, 'refresh.type', 'did you mean periodic?'),
    ({'refresh': 3}, 'refresh', 'periodic, growing, staged, residual_std or diversity'),
    ({'refresh': None}, 'refresh', 'periodic, growing, staged, residual_std or diversity'),
    ({'refresh': {'growth': 1000}}, 'refresh', 'mapping with this type'),
    ({'refresh': {'type': 'periodic', 'growth': 1000}}, 'refresh.growth', 'no such option'),
    ({'refresh': {'type': 'periodic', 'max_iter': 1000}}, 'refresh.max_iter', 'no such option'),
    ({'refresh': {'type': 'growing', 'treshold': 1}}, 'refresh.treshold', 'no such option'),
    ({'refresh': {'type': 'growing', 'growth': 0}}, 'refresh.growth', '>= 1'),
    ({'refresh': {'type': 'growing', 'max_iter': 500}}, 'refresh.max_iter', 'could not grow'),
    ({'refresh': 'growing', 'update_iter': 3000}, 'refresh.max_iter', 'could not grow'),
    ({'refresh': {'type': 'residual_std', 'threshold': 0}}, 'refresh.threshold', '> 0'),
    ({'refresh': 'residual_std', 'update_iter': 100}, 'update_iter', 'has no effect'),
    ({'num_negatives': 4}, 'num_negatives', 'has no effect'),
    ({'refresh': 'growing', 'num_negatives': 2}, 'num_negatives', 'has no effect'),
    ({'num_negatives': 0}, 'num_negatives', '>= 1'),
    ({'negatives_per_iter': 5}, 'negatives_per_iter', 'from 1 to 4'),
    ({'update_iter': 9, 'negatives_per_iter': 2}, 'negatives_per_iter', 'from 1 to 1'),
    ({'refresh': 'residual_std', 'num_negatives': 2, 'negatives_per_iter': 3}, 'negatives_per_iter', 'from 1 to 2'),
    ({'negatives_per_iter': 'most'}, 'negatives_per_iter', 'all or an integer'),
    ({'interval': 0}, 'interval', '>= 1'),
    ({'start_iter': -1}, 'start_iter', '>= 0'),
    ({'warmup_iter': -1}, 'warmup_iter', '>= 0'),
    ({'max_ratio': 0}, 'max_ratio', '> 0'),
    ({'warn_ratio': 0}, 'warn_ratio', '> 0'),
    ({'max_ratio': 0.5, 'warn_ratio': 0.5}, 'warn_ratio', 'never exceeds'),
    ({'seed': -1}, 'seed', '>= 0'),
    ({'seed': 2**32}, 'seed', '4294967295'),
    ({'dtype': 'fp16'}, 'dtype', 'float16'),
    ({'dtype': 'half'}, 'dtype', 'bfloat16'),
    ({'device': 'cuda'}, 'device', 'cpu'),
])
def test_history_refused(given, path, words):
    problems = refused(history, **given)
    assert len(problems) == 1
    assert problems[0].startswith(f'train.history_opt.{path}:') and words in problems[0]


def test_several_combinations_at_once():
    problems = refused(history, refresh='residual_std', update_iter=5, decay=[0.1], negatives_per_iter=9, max_ratio=1,
                       warn_ratio=2)
    assert [problem.split(':')[0].rpartition('.')[2] for problem in problems] == [
        'update_iter', 'decay', 'negatives_per_iter', 'warn_ratio']
