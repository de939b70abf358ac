"""What ``basicsr compare`` and ``basicsr report`` refuse before any training, and what they would train."""
import copy
import re
from pathlib import Path

import pytest
import yaml

from mcir_plugin.cli import main
from mcir_plugin.config import LOSS_BLOCKS, ConfigError, load_options, read_contrast
from mcir_plugin.config.presets import PRESETS
from mcir_plugin.hosts.basicsr.compare import schedule
from mcir_plugin.hosts.basicsr.compare.folders import Folder
from mcir_plugin.hosts.basicsr.compare.logs import last_iteration, read_curves
from mcir_plugin.hosts.basicsr.compare.plan import differing_keys, plan_runs, write_options
from mcir_plugin.hosts.basicsr.compare.remarks import interrupted
from mcir_plugin.hosts.basicsr.compare.variants import known_variants, resolve_variants

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}}


@pytest.fixture
def recipe(options, lmdb_pairs):
    """A complete option dictionary with a validation set in folders."""
    opt = options()
    roots = {key: root.removesuffix('.lmdb') for key, root in lmdb_pairs(2).items()}
    opt['datasets']['val'] = {'name': 'Val', 'type': 'PairedImageDataset', **roots, 'io_backend': {'type': 'disk'}}
    opt['val'] = {'val_freq': 4, 'save_img': False, 'metrics': copy.deepcopy(METRICS)}
    return opt


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys, close_log):
    """Return ``compare(opt, *flags) -> (status, stderr)``; a training would be an error."""

    def no_training(*_):
        raise AssertionError('a training was started')

    monkeypatch.setattr(schedule, '_start', no_training)
    monkeypatch.chdir(tmp_path)

    def run(opt, *flags):
        Path('opt.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
        status = main(['compare', '-opt', 'opt.yml', *flags])
        return status, capsys.readouterr().err

    return run


def test_every_loss_and_preset_is_a_variant_that_can_be_read(recipe):
    recipe['train']['total_iter'] = 10_000
    known = known_variants(recipe)
    assert {'none', 'spn', 'random', *PRESETS} <= known.keys()
    assert {kind.removesuffix('Loss').lower() for kind in LOSS_BLOCKS} <= known.keys()
    for name, blocks in known.items():
        train = {**recipe['train'], **blocks}
        contrast = read_contrast({'train': {key: value for key, value in train.items() if value is not None}})
        assert (contrast is None) == (name == 'none')
        if contrast and name not in ('spn', 'random', *PRESETS):
            assert contrast.spn.type.lower() == f'{name}loss'
            assert contrast.spn.vgg_weights == 'random:0'  # nothing is downloaded where the file does not want it


def test_random_is_the_files_own_term_with_one_draw(recipe):
    found = resolve_variants(['spn', 'random'], recipe)
    assert found['spn'] == {key: recipe['train'][key] for key in ('spn_opt', 'history_opt')}
    assert found['random'] == {'spn_opt': recipe['train']['spn_opt'],
                               'history_opt': {'update_iter': [2, 3], 'negatives_per_iter': 1}}


def test_losses_without_a_history_follow_the_schedule_of_the_file(recipe):
    recipe['train']['history_opt'] = {'update_iter': [2, 3], 'interval': 2, 'weight_schedule': 'lr', 'seed': 5}
    found = resolve_variants(['cr', 'ccr'], recipe)
    assert found['cr']['history_opt'] == {'interval': 2, 'weight_schedule': 'lr'}  # a seed would have no effect
    assert found['ccr']['history_opt'] == recipe['train']['history_opt']
    recipe['train']['history_opt']['crop_size'] = 16
    assert resolve_variants(['pcl'], recipe)['pcl']['history_opt'] == {
        'interval': 2, 'weight_schedule': 'lr', 'crop_size': 16, 'seed': 5}


def test_a_preset_of_the_file_counts_for_losses_without_a_history_too(recipe):
    recipe['train']['history_opt'] = {'preset': 'sec', 'warmup_iter': 7}
    assert resolve_variants(['cr'], recipe)['cr']['history_opt'] == {'interval': 10, 'warmup_iter': 7}


def test_variants_that_differ_in_how_they_are_written_only_are_refused(recipe):
    recipe['train']['history_opt'] = {'negatives_per_iter': 1}
    with pytest.raises(ConfigError, match='--variants spn random: both are the same term'):
        resolve_variants(['none', 'spn', 'random'], recipe)
    assert list(resolve_variants(['spn', 'paper'], recipe)) == ['spn', 'paper']  # all negatives there
    recipe['train']['history_opt'] = None
    with pytest.raises(ConfigError, match='--variants spn paper: both are the same term'):
        resolve_variants(['spn', 'paper'], recipe)


def test_variants_of_ones_own_come_from_files(recipe, tmp_path):
    path = tmp_path / 'mine.yml'
    path.write_text('spn_opt: {type: SPNLoss, loss_weight: 0.01}\n')
    found = resolve_variants(['none', f'strong={path}'], recipe)
    assert found['strong'] == {'spn_opt': {'type': 'SPNLoss', 'loss_weight': 0.01}, 'history_opt': None}


def test_runs_differ_in_nothing_but_term_seed_and_name(recipe, tmp_path):
    runs = plan_runs(recipe, ['none', 'spn'], [3, 5], tmp_path)
    assert [(run.variant, run.seed) for run in runs] == [('none', 3), ('spn', 3), ('none', 5), ('spn', 5)]
    keys = differing_keys([run.opt for run in runs])
    assert {key.partition('_opt.')[0] for key in keys} == {'name', 'manual_seed', 'train.spn', 'train.history'}
    assert 'spn_opt' not in runs[0].opt['train'] and 'history_opt' not in runs[0].opt['train']


@pytest.mark.parametrize(('flags', 'says'), [
    (['--variants', 'none', 'spm'], r'spm: there is no variant of this name \(did you mean spn\?\)'),
    (['--variants', 'spn', 'spn'], 'spn is given twice'),
    (['--variants', 'a/../b=x.yml'], 'Names consist of'),
    (['--variants', 'a_seed1=x.yml'], 'do not end in _seed'),
    (['--variants', 'mine=missing.yml'], "no file 'missing.yml'"),
    (['--variants', 'mine=opt.yml'], 'name cannot be part of a variant'),
    (['--seeds', '1', '1'], 'seeds: 1 is given twice'),
    (['--set', 'train:total_iter'], '--set train:total_iter: there is no ='),
    (['--set', 'val:metrics=~'], 'val.metrics: received None'),
    (['--set', 'val:metrics:psnr:type=calculate_psn'], 'calculate_psn'),
    (['--set', 'datasets:val:dataroot_lq=nowhere'], "no folder 'nowhere'"),
    (['--set', 'train:spn_opt:loss_wieght=1'], r'variant spn: train.spn_opt.*loss_wieght.*did you mean loss_weight'),
    (['--set', 'train:neg_iter=5'], 'train.neg_iter: a comparison exchanges whole blocks'),
    (['--set', 'path:resume_state=x.state'], 'path.resume_state'),
    (['--set', 'network_g:type=EDSS'], 'EDSS'),
    (['--set', 'train:spn_opt=SPNLoss'], "train.spn_opt: received 'SPNLoss', must be a mapping"),
    (['--set', 'train:history_opt=sec'], "train.history_opt: received 'sec', must be a mapping"),
    (['--set', 'train.total_iter=5'], r'--set train.total_iter=5: .* Write train:total_iter='),
    (['--set', 'num_gpu=4'], r'num_gpu: received 4.*--set num_gpu=1'),
    (['--variants', 'none', 'same=same.yml', 'spn'], '--variants same spn: both are the same term'),
    (['--gpus', '0'], '--gpus: the option file says num_gpu: 0'),
])
def test_bad_input_is_one_message_before_any_training(recipe, compare, tmp_path, flags, says):
    Path('same.yml').write_text(yaml.safe_dump({  # as the recipe has it, but for what is the default
        'spn_opt': {'reduction': 'mean', **recipe['train']['spn_opt']}, 'history_opt': recipe['train']['history_opt']}))
    status, message = compare(recipe, *flags)
    assert status == 2 and re.search(says, message, re.DOTALL), message
    assert 'Traceback' not in message
    assert not list(tmp_path.glob('experiments/compare_*/*')), 'something was written'


def test_images_that_would_overwrite_each_other_are_refused(recipe, compare, tmp_path):
    block = recipe['datasets']['val']
    for kind in ('gt', 'lq'):
        first = next(Path(block[f'dataroot_{kind}']).glob('*.png'))
        for folder in 'ab':
            (tmp_path / kind / folder).mkdir(parents=True)
            (tmp_path / kind / folder / '1.png').write_bytes(first.read_bytes())
        block[f'dataroot_{kind}'] = str(tmp_path / kind)
    Path('meta.txt').write_text('a/1.png (64,64,3)\nb/1.png (64,64,3)\n')
    block['meta_info_file'] = 'meta.txt'
    status, message = compare(recipe)
    assert status == 2 and 'validation set Val: several inputs are called 1.' in message
    del block['meta_info_file']
    status, message = compare({**recipe, 'datasets': {**recipe['datasets'], 'val': {
        **block, 'type': 'PairedRestorationDataset'}}}, '--dry_run')
    assert status == 0, message


def test_without_a_validation_set_there_is_nothing_to_compare(recipe, compare):
    del recipe['datasets']['val']
    status, message = compare(recipe)
    assert status == 2 and 'datasets.val: there is no validation set' in message


def test_a_dry_run_checks_and_writes_nothing(recipe, compare, tmp_path):
    status, message = compare(recipe, '--dry_run', '--set', 'train:totl_iter=5')
    assert status == 0 and message.count('WARNING: ') == message.count('train.totl_iter') == 1
    assert not (tmp_path / 'experiments').exists()


def test_runs_with_other_options_are_not_continued(recipe, tmp_path):
    write_options(plan_runs(recipe, ['none', 'spn'], [0], tmp_path))
    before = {path.name: path.read_bytes() for path in (tmp_path / 'options').iterdir()}
    write_options(plan_runs(recipe, ['spn', 'none', 'random'], [0, 1], tmp_path))  # more of them is fine
    recipe['train']['total_iter'] = 9
    with pytest.raises(ConfigError, match=r'other options \(train.total_iter\)'):
        write_options(plan_runs(recipe, ['none'], [0, 7], tmp_path))
    assert not (tmp_path / 'options' / 'tiny_none_seed7.yml').exists()
    assert all((tmp_path / 'options' / name).read_bytes() == text for name, text in before.items())


def experiment(folder: Path, opt, name: str, **changes) -> str:
    """Make an experiment folder as a finished training leaves it, without its weights' content."""
    path = folder / name
    (path / 'models').mkdir(parents=True)
    (path / 'models' / 'net_g_latest.pth').write_bytes(b'')
    opt = copy.deepcopy({**opt, 'name': name, 'manual_seed': 0})
    for key, value in changes.items():
        block, _, option = key.rpartition('__')
        target = opt
        for part in block.split('__') if block else ():
            target = target[part]
        target[option] = value
    (path / f'resolved_{name}.yml').write_text(yaml.safe_dump(opt))
    return str(path)


@pytest.mark.parametrize(('change', 'says'), [
    ({'val__metrics__psnr__test_y_channel': False}, 'different protocols for psnr'),
    ({'val__metrics__psnr__crop_border': 4}, 'different protocols for psnr'),
    ({'datasets__val__name': 'Set5'}, 'different validation sets: Val; Set5'),
    ({'datasets__val__dataroot_gt': 'elsewhere'}, 'differ in the validation set Val: dataroot_gt'),
    ({'scale': 4}, 'different scales'),
    ({'val__metrics': None}, 'val.metrics: received None'),
])
def test_reports_refuse_runs_that_were_not_validated_alike(recipe, compare, tmp_path, capsys, change, says):
    runs = [experiment(tmp_path, recipe, 'a'), experiment(tmp_path, recipe, 'b', **change)]
    assert main(['report', *runs]) == 2
    assert says in capsys.readouterr().err


def test_reports_refuse_runs_that_are_missing_or_unfinished(recipe, compare, tmp_path, capsys):
    run = experiment(tmp_path, recipe, 'a')
    unfinished = experiment(tmp_path, recipe, 'b')
    Path(unfinished, 'models', 'net_g_latest.pth').unlink()
    assert main(['report', run, 'nowhere', unfinished]) == 2
    message = capsys.readouterr().err
    assert 'nowhere: there is no such experiment folder' in message and 'the training has not ended' in message


LOG = """2026-01-01 00:00:00,000 INFO: Start training from epoch: 0, iter: 0
{}2026-01-01 00:00:02,000 INFO: Validation Val
\t # psnr: 20.0000\tBest: 20.0000 @ 5 iter

2026-01-01 00:00:02,000 INFO: Validation Val
\t # psnr: 21.0000\tBest: 21.0000 @ 10 iter

{}2026-01-01 00:00:09,000 INFO: End of training. Time consumed: 0:00:09
2026-01-01 00:00:09,000 INFO: Validation Val
\t # psnr: 22.5000\tBest: 22.5000 @ 1,212 iter

"""
STEP = ('2026-01-01 00:00:01,000 INFO: [tiny_..][epoch:  0, iter:{:8,d}, lr:(2.000e-04,)] [eta: 1 day, 0:01:02, time '
        '(data): 0.123 (0.004)] l_pix: {:.4e} l_spn: -1.2500e-04 spn/age_1: 3.0000e+00 \n')


def test_curves_are_those_of_the_log(tmp_path):
    (tmp_path / 'train_tiny_1.log').write_text(LOG.format(STEP.format(4, 0.5), STEP.format(1208, 0.25)))
    curves = read_curves(tmp_path, 5, 1212)
    assert curves['l_pix'] == {4: 0.5, 1208: 0.25}
    assert curves['l_spn'] == {4: -1.25e-4, 1208: -1.25e-4} and curves['spn/age_1'][4] == 3
    assert curves['seconds'] == {4: 0.123, 1208: 0.123} and curves['lr'][4] == 2e-4
    assert curves['Val: psnr'] == {5: 20., 10: 21., 1212: 22.5}
    assert last_iteration(tmp_path) == 1208


def test_validations_of_a_resumed_run_follow_its_iteration(tmp_path):
    (tmp_path / 'train_tiny_1.log').write_text(
        'x INFO: Resuming training from epoch: 3, iter: 10.\nx INFO: Validation Val\n\t # psnr: 30.0000\n')
    assert read_curves(tmp_path, 5, 100)['Val: psnr'] == {15: 30.}
    assert last_iteration(tmp_path) == 10


@pytest.mark.parametrize(('variant', 'workers', 'says'), [
    ('spn', 0, None), ('spn', 2, 'data workers draw other crops'), ('none', 0, 'BasicSR begins the epoch again')])
def test_a_run_that_may_have_seen_other_data_is_named(recipe, tmp_path, variant, workers, says):
    recipe['datasets']['train']['num_worker_per_gpu'] = workers
    run, = plan_runs(recipe, [variant], [3], tmp_path)
    run.folder.mkdir()
    folder = Folder(variant, 3, run.folder, run.options, run.opt)
    (run.folder / 'train_tiny_1.log').write_text('x INFO: Start training from epoch: 0, iter: 0\n')
    assert list(interrupted([folder])) == []
    (run.folder / 'train_tiny_2.log').write_text('x INFO: Resuming training from epoch: 3, iter: 10.\n')
    found = list(interrupted([folder]))
    assert found == [] if says is None else says in found[0] and 'seed3 was interrupted and continued after' in found[0]


def test_options_are_read_back_as_they_were_planned(recipe, tmp_path):
    run = plan_runs(recipe, ['spn'], [0], tmp_path)[0]
    write_options([run])
    assert load_options(run.options) == run.opt
