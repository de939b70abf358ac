"""A real Runner: what a run with history does to the loss, the log, the model and the optimizer's steps."""
import traceback
from functools import partial
from pathlib import Path

import pytest
import restoration
import torch
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch.utils._python_dispatch import TorchDispatchMode

import mcir_plugin
from mcir_plugin.config import ConfigError
from mcir_plugin.errors import McirError
from mcir_plugin.hosts.criterion import PairingError
from mcir_plugin.hosts.guard import TrainingDivergedError
from mcir_plugin.hosts.mmengine.guard import FiniteGuard
from mcir_plugin.losses.frozen_layers import FrozenConv2d


def test_log_shows_criterion_and_term_apart(config, train):
    run = train(config())
    lines = run.lines()
    assert len(lines) == 6
    for line in lines:
        assert line['loss_pix'] > 0 > line['loss_spn']
        assert line['loss'] == pytest.approx(line['loss_pix'] + line['loss_spn'], rel=1e-6)
        assert line['loss_spn'] == pytest.approx(-0.05 * (line['spn/dist_1'] + line['spn/dist_2']) / 2, rel=1e-5)
        assert line['spn/ratio'] == pytest.approx(-line['loss_spn'] / line['loss_pix'], rel=1e-5)
    assert [line['spn/age_1'] for line in lines] == [1, 2, 1, 2, 1, 2]
    assert [line['spn/age_2'] for line in lines] == [1, 2, 3, 1, 2, 3]
    for said in ('joined by - 0.05 * mean distance to the negatives; 2 past copies of generator (TinySR)',
                 'loss_spn: -', 'spn/dist_1: '):
        assert said in run.text


def test_tensorboard_shows_the_scalars(config, train):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    backends = [{'type': 'LocalVisBackend'}, {'type': 'TensorboardVisBackend'}]
    run = train(config(iters=3, visualizer={'type': 'Visualizer', 'vis_backends': backends}))
    events = EventAccumulator(str(run.runner.log_dir) + '/vis_data')
    events.Reload()
    logged = [event.value for event in events.Scalars('loss_spn')]
    assert logged == pytest.approx([line['loss_spn'] for line in run.lines()], rel=1e-5)
    assert {'spn/dist_1', 'spn/age_2', 'spn/ratio', 'loss_pix'} <= set(events.Tags()['scalars'])


def test_wandb_gets_the_scalars(config, train, tmp_path, monkeypatch):
    """In an offline run; wandb is no dependency of the tests."""
    wandb = pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    told, log = [], wandb.Run.log
    monkeypatch.setattr(wandb.Run, 'log', lambda self, data, *args, **kwargs: told.append(dict(data)) or log(
        self, data, *args, **kwargs))
    backends = [{'type': 'LocalVisBackend'}, {'type': 'WandbVisBackend'}]
    run = train(config(iters=3, visualizer={'type': 'Visualizer', 'vis_backends': backends}))
    scalars = [data for data in told if 'loss_spn' in data]
    assert [data['loss_spn'] for data in scalars] == pytest.approx([line['loss_spn'] for line in run.lines()], rel=1e-5)
    assert all({'spn/dist_1', 'spn/age_2', 'spn/ratio', 'loss_pix'} <= set(data) for data in scalars)


@pytest.mark.parametrize(('answer', 'split'), [('named', 'loss_l1'), ('list', 'loss_l1'), ('scaled', None),
                                               ('apart', None)])
def test_term_counts_once_however_the_model_names_its_losses(config, train, answer, split):
    """The weights after the run are those of a model whose total is known to be criterion plus term."""
    expected, run = train(config()), train(config(model={'answer': answer}))
    for name, value in expected.weights().items():
        assert torch.allclose(value, run.weights()[name], atol=1e-7), name
    for line, reference in zip(run.lines(), expected.lines(), strict=True):
        assert line['loss'] == pytest.approx(reference['loss'], rel=1e-5)
        assert line['loss_spn'] == pytest.approx(reference['loss_spn'], rel=1e-5)
        if split:
            assert line[split] == pytest.approx(reference['loss_pix'], rel=1e-5)


def test_run_is_untouched_until_the_term_acts(config, train):
    rests, plain = train(config(hook={'history': {'start_iter': 5}})), train(config(plain=True))
    for ours, theirs in zip(rests.lines(), plain.lines(), strict=True):
        if ours['step'] < 6:
            assert ours['loss'] == theirs['loss'] and 'loss_spn' not in ours
        else:
            assert ours['loss_pix'] == theirs['loss'] and ours['loss_spn'] < 0
    assert any(not torch.equal(value, plain.weights()[name]) for name, value in rests.weights().items())


def test_model_is_left_as_it_was_found(config, train):
    ours, plain = train(config()).runner, train(config(plain=True)).runner
    assert ours.model.state_dict().keys() == plain.model.state_dict().keys()
    assert 'parse_losses' not in vars(ours.model)
    assert not any(module._forward_hooks for module in ours.model.modules())
    assert not ours.optim_wrapper.optimizer._optimizer_step_post_hooks


def test_accumulation_counts_steps_of_the_optimizer(config, train):
    """Eight iterations in groups of three: steps after iterations 3, 6 and 8."""
    wrapper = {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 3}
    run = train(config(iters=8, optim_wrapper=wrapper, hook={'history': {'update_iter': [2, 3], 'decay': 0.0}}))
    assert run.hook.steps.count == 3
    assert [line['spn/age_1'] for line in run.lines()] == [1, 1, 1, 2, 2, 2, 1, 1]
    second, third = run.hook.contrast.term.bank.copies
    assert torch.equal(third.head.weight, run.runner.model.generator.head.weight), 'refreshed after step 3'
    saved = run.saved(6)['state_dict']['generator.head.weight']
    assert torch.equal(second.head.weight, saved), 'refreshed after step 2, which is iteration 6'


def test_bfloat16_autocast(config, train, monkeypatch):
    """AmpOptimWrapper wants a GPU; everything in it but the (then disabled) gradient scaler works on a CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    seen = []
    wrapper = {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16', 'optimizer': {'type': 'Adam', 'lr': 1e-3}}

    def noted(original):
        def watched(self, x):
            output = original(self, x)
            seen.append((self.training, output.dtype))
            return output
        return watched

    for layer in (torch.nn.Conv2d, FrozenConv2d):  # of networks, of the extractor
        monkeypatch.setattr(layer, 'forward', noted(layer.forward))
    run = train(config(iters=4, optim_wrapper=wrapper))
    assert {(True, torch.bfloat16), (False, torch.bfloat16)} <= set(seen), 'network and negatives run in bfloat16'
    assert (False, torch.float32) in seen, 'the extractor does not'
    assert run.hook.steps.count == 4
    full = train(config(iters=4))
    for ours, theirs in zip(run.lines(), full.lines(), strict=True):
        assert ours['loss_spn'] == pytest.approx(theirs['loss_spn'], rel=0.2)
        assert ours['loss_pix'] == pytest.approx(theirs['loss_pix'], rel=0.02)


@pytest.mark.skipif(not hasattr(torch.amp, 'GradScaler'), reason='this torch has no gradient scaler for a CPU')
def test_a_step_that_the_gradient_scaler_leaves_out_does_not_count(config, train, monkeypatch):
    """The scale is so large that the first gradients overflow, and no others."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, 'cpu'))
    scale = {'init_scale': 3e38, 'backoff_factor': 1e-6}
    wrapper = {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16', 'loss_scale': scale,
               'optimizer': {'type': 'SGD', 'lr': 1e-6}}
    heavy = {'pixel_loss': {'type': 'MeanL1', 'loss_weight': 1e3}}
    run = train(config(iters=5, model=heavy, optim_wrapper=wrapper, hook={'history': {'update_iter': [2, 3]}}))
    assert run.runner.optim_wrapper.loss_scaler.get_scale() == pytest.approx(3e32)
    assert run.hook.steps.count == 4
    assert [line['spn/age_1'] for line in run.lines()] == [1, 1, 2, 1, 2], 'refreshed after two steps, not iterations'


def test_first_loss_that_is_asked_carries_the_term(config, train):
    run = train(config(hook={'losses': ['perceptual_loss', 'pixel_loss']},
                       model={'perceptual_loss': {'type': 'TwoPartLoss', 'loss_weight': 0.1}}))
    for line in run.lines():
        assert line['loss'] == pytest.approx(line['loss_pix'] + line['loss_spn'] + line['loss_perceptual'], rel=1e-5)


def test_loss_with_several_parts(config, train):
    both = {'pixel_loss': None, 'perceptual_loss': {'type': 'TwoPartLoss'}}
    run = train(config(hook={'losses': ['pixel_loss', 'perceptual_loss']}, model=both))
    reference = train(config())
    for line, expected in zip(run.lines(), reference.lines(), strict=True):
        assert line['loss_perceptual'] == pytest.approx(expected['loss_pix'], rel=1e-5)
        assert line['loss_spn'] == pytest.approx(expected['loss_spn'], rel=1e-5)


def test_infinite_loss_stops_before_history_and_checkpoints_hold_it(config, build, monkeypatch):
    run = build(config())
    pixel_loss, calls = run.runner.model.pixel_loss, []

    def forward(pred, target):
        calls.append(1)
        return (pred - target).abs().mean() * (float('inf') if len(calls) == 4 else 1)

    monkeypatch.setattr(pixel_loss, 'forward', forward)
    with pytest.raises(TrainingDivergedError, match='loss_pix is inf at iteration 4.*resume=True'):
        run.runner.train()
    assert sorted(path.name for path in Path(run.runner.work_dir).glob('*.pth')) == [
        'diverged_iter_4_rank0.pth', 'iter_2.pth']
    assert all(parameter.isfinite().all() for parameter in run.hook.contrast.term.bank.parameters())


def test_nan_of_the_negatives_names_the_term_and_the_negative(config, train):
    with pytest.raises(TrainingDivergedError, match='loss_spn is nan at iteration 1.* in the output of negative 1'):
        train(config(model={'generator': {'type': 'TinySR', 'broken_past': True}}))


def test_weights_that_are_not_finite(config, build):
    """Before training they are refused; those of a later step are named, and a snapshot is kept."""
    run = build(config())
    run.runner.model.generator.head.weight.data[0, 0, 0, 0] = float('nan')
    with pytest.raises(ConfigError, match='generator: its weights are not finite: head.weight'):
        run.runner.train()


def test_weights_that_become_nan_in_training(config, build):
    class Break(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 1:
                runner.model.generator.head.weight.data[0, 0, 0, 0] = float('nan')

    run = build(config())
    run.runner.register_hook(Break(), 'LOWEST')
    with pytest.raises(TrainingDivergedError, match='loss_pix is nan at iteration 3.*in the weights of generator: '):
        run.runner.train()
    saved = torch.load(Path(run.runner.work_dir) / 'diverged_iter_3_rank0.pth', weights_only=True)
    assert saved['output'].isnan().any() and all(image.isfinite().all() for image in saved['inputs'])


def test_warns_once_about_a_term_that_outgrows_its_criterion(config, train):
    run = train(config(hook={'history': {'update_iter': [2], 'warn_ratio': 1e-6}}))
    assert run.text.count('HistoryNegativeHook.history.max_ratio: 0.1') == 1


def test_loss_of_something_that_the_network_did_not_return(config, train):
    with pytest.raises(PairingError, match='no negative can be paired'):
        train(config(model={'answer': 'processed'}))


def test_warns_when_the_named_loss_is_never_asked(config, train):
    run = train(config(hook={'losses': 'unused'}, model={'type': 'ModelWithUnusedLoss'}))
    assert run.text.count('did not ask unused') == 1
    assert all('loss_spn' not in line for line in run.lines())


@pytest.mark.parametrize(('hook', 'model', 'message'), [
    ({'network': 'generater'}, {}, r"network: received 'generater'.*did you mean generator"),
    ({'losses': 'pixel_los'}, {}, r"losses: received 'pixel_los'.*did you mean pixel_loss"),
    ({}, {'pixel_loss': None}, 'pixel_loss of RestorationModel is None'),
    ({'network': 'pixel_loss'}, {}, 'no optimizer trains a parameter of this MeanL1'),
    ({'history': {'start_iter': 6}}, {}, 'history.start_iter: received 6, but training ends at step 6'),
    ({'history': {'interval': 7}}, {}, 'history.interval: received 7, so the term would act at iteration 7 first'),
    ({'priority': 'LOWEST'}, {}, 'must come before CheckpointHook'),
])
def test_faults_that_show_when_training_starts(config, build, hook, model, message):
    run = build(config(hook=hook, model=model))
    with pytest.raises(ConfigError, match=message):
        run.runner.train()


def test_validation_inside_training_sees_no_term(config, train, pairs):
    loader = {'batch_size': 1, 'num_workers': 0, 'dataset': {'type': 'FolderPairs', 'root': str(pairs)},
              'sampler': {'type': 'DefaultSampler', 'shuffle': False}}
    run = train(config(train_cfg={'by_epoch': False, 'max_iters': 4, 'val_interval': 2}, val_cfg={},
                       val_dataloader=loader, val_evaluator={'type': 'MeanError'}))
    assert run.hook.steps.count == 4
    assert run.text.count('error: ') == 2


def test_second_training_of_the_same_runner_attaches_once(config, build):
    run = build(config(iters=2))
    run.runner.train()
    run.runner.train_loop._iter = 0
    run.runner.train()
    for line in run.lines():
        assert line['loss'] == pytest.approx(line['loss_pix'] + line['loss_spn'], rel=1e-6)
    assert len(run.lines()) == 4


def test_we_read_no_value_inside_a_step(config, build, monkeypatch):
    """On a GPU that would make the host wait; mmengine itself reads the losses after the iteration."""
    monkeypatch.setattr(FiniteGuard, 'inspect', lambda self: None)  # looks at once only where there is no GPU
    run = build(config(iters=4))
    step, ours, reads, scored = run.runner.model.train_step, str(Path(mcir_plugin.__file__).parent), [], []

    class Noted(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            stack = [frame for frame in traceback.extract_stack() if frame.filename.startswith(ours)]
            if stack:
                scored.append(func)
            if stack and func.overloadpacket.__name__ in ('_local_scalar_dense', 'is_nonzero', 'nonzero', 'equal'):
                reads.append(traceback.format_list(stack[-1:]))
            return func(*args, **kwargs or {})

    def watched(*args, **kwargs):
        with Noted():
            return step(*args, **kwargs)

    run.runner.model.train_step = watched
    run.runner.train()
    assert torch.ops.aten.convolution.default in scored and reads == []
    assert [line['spn/dist_1'] > 0 for line in run.lines()] == 4 * [True]


def with_extractor(extractor, layer='head'):
    return {'spn': {'type': 'CRLoss', 'extractor': extractor, 'layer_weights': {layer: 1.0}}, 'history': {}}


def test_features_of_a_network_of_the_registry(config, train):
    drawn = {'type': 'network', 'network': {'type': 'TinySR'}, 'weights': 'random:0'}
    lines = train(config(iters=3, hook=with_extractor(drawn))).lines()
    assert all(line['loss_spn'] > 0 for line in lines)
    assert lines[0]['loss_pix'] == train(config(iters=3, plain=True)).lines()[0]['loss']  # no random number was taken


def test_features_of_a_network_that_the_model_trains(config, build):
    run = build(config(iters=2, hook=with_extractor({'type': 'live', 'name': 'critic'})))
    run.runner.model.critic = critic = restoration.TinySR()
    before = {key: value.clone() for key, value in critic.state_dict().items()}
    run.runner.train()
    assert all(line['loss_spn'] > 0 for line in run.lines())
    assert critic.training and all(p.requires_grad and p.grad is None for p in critic.parameters())
    assert all(torch.equal(value, before[key]) for key, value in critic.state_dict().items())


@pytest.mark.parametrize(('extractor', 'says'), [
    ({'type': 'live', 'name': 'discriminator'}, "spn.extractor.name: received 'discriminator'"),
    ({'type': 'live', 'name': 'generator'}, 'spn.extractor.name: generator is the network that the term trains'),
    ({'type': 'network', 'network': {'type': 'TinySR'}, 'weights': 'random:0'}, "TinySR has no layer 'body.9'")])
def test_extractors_that_cannot_be_had(config, build, extractor, says):
    run = build(config(hook=with_extractor(extractor, 'body.9')))
    with pytest.raises(McirError, match=says):
        run.runner.train()
