"""Option files as users write them, through the real command."""
from pathlib import Path

import pytest
import torch
import yaml

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr.options import option_parser


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return ``write(opt, name) -> path`` relative to a fresh current folder."""
    monkeypatch.chdir(tmp_path)

    def to_file(opt, name='opt.yml'):
        Path(name).write_text(opt if isinstance(opt, str) else yaml.safe_dump(opt, sort_keys=False))
        return name

    return to_file


def test_four_lines_on_top_of_an_untouched_file(options, train, write):
    stock = options(spn=False, total_iter=2)
    write(stock, 'stock.yml')
    text = '_base_: stock.yml\nname: on_top\ntrain:\n  spn_opt: {type: SPNLoss, vgg_weights: "random:0"}\n'
    write(text, 'mcir.yml')
    assert main(['train', '-opt', 'mcir.yml']) == 0
    folder = Path('experiments/on_top')
    assert 'l_spn' in next(folder.glob('*.log')).read_text()
    assert text.strip() in (folder / 'mcir.yml').read_text()
    resolved = yaml.safe_load((folder / 'resolved_mcir.yml').read_text())
    assert resolved['train']['spn_opt']['type'] == 'SPNLoss' and resolved['network_g'] == stock['network_g']
    assert main(['train', '-opt', str(folder / 'resolved_mcir.yml'), '--force_yml', 'name=again']) == 0
    files = [torch.load(f'experiments/{name}/models/net_g_latest.pth', weights_only=True)['params']
             for name in ('on_top', 'again')]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])


def test_force_yml_switches_spn_on(options, train):
    run = train(options(spn=False, total_iter=2), '--force_yml', 'train:spn_opt:type=SPNLoss',
                'train:spn_opt:vgg_weights=random:0', 'train:spn_opt:loss_weight=2e-3',
                'train:history_opt:update_iter=[1, 2]')
    assert '0.002 * mean distance' in run.log and '2 past copies' in run.log


def test_authors_flat_names(options, train):
    opt = options(total_iter=2)
    del opt['train']['history_opt']
    opt['train'].update(neg_iter=[1, 2, 2], neg_decay=0.2)
    log = train(opt).log
    assert '3 past copies' in log and 'decay 0.2' in log
    assert 'train.neg_iter is read as train.history_opt.update_iter' in log


def test_misspelt_host_option_is_a_warning(options, train):
    opt = options(total_iter=2)
    opt['train']['ema_dcay'] = 0.9
    assert 'ema_decay' in train(opt).log.split('Model-contrastive')[0]


def test_gpu_option_file_runs_on_a_laptop(options, train):
    opt = options(total_iter=1)
    opt['num_gpu'] = 8
    run = train(opt)
    assert 1 in run.lines()
    assert torch.cuda.is_available() or 'no GPU is visible' in run.log


@pytest.mark.parametrize(('change', 'said'), [
    ({'spn_opt': {'type': 'SPNLoss', 'los_weight': 1}}, ['train.spn_opt.los_weight', 'loss_weight']),
    ({'spn_opt': {'type': 'SPNLos'}}, ['train.spn_opt.type', 'SPNLoss']),
    ({'spn_opt': None}, ['train.history_opt', 'spn_opt']),
    ({'history_opt': {'update_iter': 0}}, ['train.history_opt.update_iter']),
    ({'history_opt': {'update_iter': 5, 'negatives_per_iter': 2}}, ['negatives_per_iter']),
])
def test_wrong_blocks_are_refused_before_anything_is_written(options, write, capsys, change, said):
    assert main(['train', '-opt', write(options(**change))]) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in said) and 'Traceback' not in error
    assert not Path('experiments').exists()


def test_missing_weights_are_reported_before_data_is_loaded(options, write, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv('MCIR_OFFLINE', '1')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    opt = options()
    del opt['train']['spn_opt']['vgg_weights']
    opt['datasets']['train']['dataroot_gt'] = 'nowhere.lmdb'  # would fail as soon as data is loaded
    assert main(['train', '-opt', write(opt)]) == 2
    error = capsys.readouterr().err
    for part in ('vgg16-397923af.pth', 'download.pytorch.org', 'pretrained_models', 'vgg_weights', 'random:'):
        assert part in error
    assert not Path('experiments').exists()


def test_python_tag_is_refused(options, write, capsys):
    text = yaml.safe_dump(options()) + '\nevil: !!python/object/apply:os.mkdir [ran]\n'
    assert main(['train', '-opt', write(text)]) == 2
    assert 'python' in capsys.readouterr().err and not Path('ran').exists()


def test_missing_import_is_named(options, write, capsys):
    assert main(['train', '-opt', write(options()), '--import', 'no_such_package.archs']) == 2
    assert 'no_such_package' in capsys.readouterr().err


@pytest.mark.parametrize('command', ['train', 'test', 'check'])
@pytest.mark.parametrize('given', [['-opt', 'no_such.yml'], ['--opt', 'no_such.yml'], ['--opt=no_such.yml']])
def test_all_spellings_of_opt_name_the_option_file(command, given, capsys):
    assert main([command, *given]) == 2
    assert 'no_such.yml' in ''.join(capsys.readouterr())


@pytest.mark.parametrize('flag', ['--local_rank', '--local-rank'])
def test_both_spellings_of_local_rank(flag):
    assert option_parser().parse_args(['-opt', 'x.yml', f'{flag}=3']).local_rank == 3


def test_test_command(options, train, write, close_log):
    run = train(options(total_iter=4))
    opt = options(spn=False)
    opt['path']['pretrain_network_g'] = str(run.folder / 'models' / 'net_g_4.pth')
    data = {key: opt['datasets']['train'][key] for key in ('type', 'dataroot_gt', 'dataroot_lq', 'io_backend')}
    opt['datasets'] = {'test_1': {**data, 'name': 'Patches'}}
    opt['val'] = {'save_img': True, 'suffix': None, 'metrics': {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': False}}}
    close_log()
    assert main(['test', '-opt', write(opt, 'test.yml')]) == 0
    assert '# psnr' in next(Path('results/tiny').glob('*.log')).read_text()
    assert len(list(Path('results/tiny/visualization/Patches').glob('*.png'))) == 8
