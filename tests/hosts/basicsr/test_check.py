"""``basicsr check``: good files pass and leave no trace, every fault is named before anything is trained."""
from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import lmdb
import pytest
import torch
import yaml

from mcir_plugin.cli import main
from mcir_plugin.config import load_options, read_contrast
from mcir_plugin.history import Schedule
from mcir_plugin.hosts.basicsr.check.plan import kept_checkpoints

Options = dict[str, Any]
SECONDS = r'(\d+\.\d{3}) s'


@dataclass
class Verdict:
    """What a check printed, and its exit status."""

    status: int
    text: str
    errors: str

    @property
    def last(self) -> str:
        return self.text.splitlines()[-1]

    def stage(self, title: str) -> str:
        """Return what was printed under a stage."""
        return re.search(rf'^\[\w+\] {title}.*?(?=^\[|^check:)', self.text, re.M | re.S)[0]


@pytest.fixture
def check(tmp_path, monkeypatch, capsys) -> Callable[..., Verdict]:
    """Return ``check(opt, *flags) -> Verdict``, run in an empty folder of its own, in this process."""

    def run(opt: Options, *flags: str) -> Verdict:
        monkeypatch.chdir(tmp_path)
        Path('opt.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
        capsys.readouterr()
        status = main(['check', '-opt', 'opt.yml', *flags])
        printed = capsys.readouterr()
        return Verdict(status, printed.out, printed.err)

    return run


@pytest.fixture
def own(options, tmp_path) -> Options:
    """Options on LMDBs of their own, which a test may damage."""
    return on_copies(options(), tmp_path)


def on_copies(opt: Options, folder: Path) -> Options:
    """Copy the training LMDBs."""
    for root in ('dataroot_gt', 'dataroot_lq'):
        copied = folder / 'data' / Path(opt['datasets']['train'][root]).name
        shutil.copytree(opt['datasets']['train'][root], copied)
        opt['datasets']['train'][root] = str(copied)
    return opt


def with_validation(opt: Options) -> Options:
    """Validate on the training pairs."""
    train = opt['datasets']['train']
    opt['datasets']['val'] = {'name': 'Pairs', **{key: train[key] for key in (
        'type', 'dataroot_gt', 'dataroot_lq', 'io_backend')}}
    opt['val'] = {'val_freq': 4, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}}
    return opt


def tree(*folders: Path) -> list[tuple[str, int, int]]:
    """Return path, size and time of change of everything in some folders, but the option file of the test."""
    return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for folder in folders
                  for path in folder.rglob('*') if path.is_file() and path.name != 'opt.yml')


def train_set(opt: Options) -> Options:
    return opt['datasets']['train']


def change_lmdb(opt: Options, root: str, change: Callable[[bytes], bytes | None], key: str = 'p03') -> None:
    """Replace or remove one value in an LMDB."""
    with lmdb.open(train_set(opt)[root], map_size=2**24) as environment, environment.begin(write=True) as transaction:
        value = change(transaction.get(key.encode()))
        transaction.put(key.encode(), value) if value else transaction.delete(key.encode())


def change_lines(opt: Options, root: str, change: Callable[[list[str]], list[str]]) -> None:
    """Rewrite ``meta_info.txt``."""
    path = Path(train_set(opt)[root], 'meta_info.txt')
    path.write_text(''.join(change(path.read_text().splitlines(keepends=True))))


def resized(png: bytes, side: int) -> bytes:
    """Return a PNG in another size."""
    import numpy as np
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode('.png', cv2.resize(image, (side, side)))[1].tobytes()


def pretrained(opt: Options, content: Any) -> str:
    """Save a file next to the option file and name it as pretrained network."""
    path = str(Path(train_set(opt)['dataroot_gt']).parent / 'net.pth')
    torch.save(content, path)
    opt['path']['pretrain_network_g'] = path
    return path


# ------------------------------------------------- good files ------------------------------------------------- #


def test_good_file_passes_and_leaves_no_trace(own, check, tmp_path):
    opt = with_validation(own)
    before = tree(tmp_path)
    verdict = check(opt)
    assert (verdict.status, verdict.last) == (0, 'check: no problems (0 warnings)'), verdict.text
    assert tree(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['data', 'opt.yml']
    assert not torch.distributed.is_initialized()


def test_time_and_memory_are_estimated_with_and_without_spn(own, check):
    steps = check(own).stage('first steps')
    plain, spn, ratio = map(float, re.search(
        rf'time per step: {SECONDS} without SPN, {SECONDS} with SPN, ratio (\d+\.\d\d)', steps).groups())
    assert plain > 0 and ratio >= 1
    assert ratio == pytest.approx(spn / plain, abs=0.01 + ratio * 0.001 / plain)
    assert re.search(r'memory: [\d.]+ [KM]B without SPN, [\d.]+ [KM]B with SPN \(estimate', steps)
    assert re.search(r'time of 8 iterations: .* without SPN, .* with SPN \(estimate\)', steps)
    # 2 copies of EDSR, and VGG16 up to relu1_2 with mean and std: float32
    copies, extractor = 2 * (4531 + 3), 3 * 64 * 9 + 64 + 64 * 64 * 9 + 64 + 6
    shown = re.search(r'negatives ([\d.]+) KB, extractor ([\d.]+) KB', steps)
    assert [float(number) for number in shown.groups()] == pytest.approx(
        [copies * 4 / 1024, extractor * 4 / 1024], abs=0.06)


def test_memory_by_owner_is_left_where_the_system_tells_no_peak(options, check, monkeypatch, tmp_path):
    from mcir_plugin.hosts.basicsr.check import cost
    monkeypatch.setattr(cost, 'STATUS', tmp_path / 'no_such_file')
    steps = check(options()).stage('first steps')
    assert 'memory:' not in steps and 'memory with SPN by owner:' in steps


def test_plan_says_what_will_run(own, check, tmp_path):
    plan = check(with_validation(own), '--debug').stage('plan')
    for said in ('SRModel with EDSR', '8 images', 'batch 2', '8 iterations, 2 epochs of 4', 'Adam (lr 0.001',
                 'every 8 iterations on Pairs (8 images); psnr', 'joins: cri_pix (L1Loss)', '2 past copies of EDSR',
                 str(tmp_path / 'experiments' / 'debug_tiny'), 'a new run begins', 'BaseModel.get_optimizer'):
        assert said in plan


@pytest.mark.parametrize('total', [1, 4, 9, 60])
@pytest.mark.parametrize('every', [1, 2, 4, 5e0, 100])
@pytest.mark.parametrize('keep', [{}, {'keep_last': 1}, {'keep_last': 3}, {'keep_last': 2, 'keep_every': 4},
                                  {'keep_last': 1, 'keep_every': 6}, {'keep_last': 50, 'keep_every': 7}])
def test_checkpoints_that_stay_are_counted(total, every, keep):
    stay: list[int] = []
    for iteration in range(1, total + 1):  # what training saves and deletes
        if iteration % every == 0:
            stay.append(iteration)
            stay = [saved for saved in stay if saved in stay[-keep.get('keep_last', total):]
                    or saved % keep.get('keep_every', total + 1) == 0]
    opt = {'train': {'total_iter': total}, 'logger': {'save_checkpoint_freq': every, **keep}}
    assert kept_checkpoints(opt) == len(stay) + 1  # and net_g_latest


def test_room_is_needed_for_the_checkpoints_that_stay(options, check, monkeypatch):
    opt = options(total_iter=40)
    opt['logger'].update(save_checkpoint_freq=1, keep_last=2)
    assert 'every 1 iterations, 3 of about' in check(opt).stage('plan')
    monkeypatch.setattr('shutil.disk_usage', lambda folder: SimpleNamespace(free=1))
    plan = check(opt).stage('plan')
    assert '3 checkpoints need about' in plan and 'logger.keep_last' in plan


def test_host_is_silent(own, check):
    verdict = check(own)
    assert verdict.errors == ''
    for chatter in ('Conv2d', 'Disable distributed', 'is created', 'is built', 'Traceback'):
        assert chatter not in verdict.text


def test_plain_basicsr_file_passes(options, check):
    verdict = check(options(spn=False))
    assert verdict.status == 0
    assert 'with SPN' not in verdict.text and 'train.spn_opt is not given' in verdict.stage('plan')


def test_term_that_begins_late_is_measured_while_it_acts(options, check):
    opt = options(total_iter=100)
    opt['train']['history_opt'].update(interval=3, start_iter=5)
    verdict = check(opt)
    assert float(re.search(r'l_spn (-?\d\.\d+e[+-]\d+)', verdict.text)[1]) < 0


@pytest.mark.parametrize('history', [{}, {'interval': 7}, {'interval': 4, 'start_iter': 10}, {'start_iter': 99}])
def test_steps_and_total_agree_with_the_schedule(options, history):
    from mcir_plugin.hosts.basicsr.check.estimate import acting_iterations
    from mcir_plugin.hosts.basicsr.check.steps import acting_steps
    opt = options(total_iter=100, net_d_iters=2, net_d_init_iters=30)
    opt['train']['history_opt'] = history
    contrast = read_contrast(opt)
    schedule = Schedule(contrast.history.interval, contrast.history.start_iter)
    steps = acting_steps(opt, contrast)
    assert all(schedule.factor(step) > 0 and step % 2 == 0 and step > 30 for step in steps)
    assert steps == sorted(set(steps))
    assert acting_iterations(contrast.history, 100) == sum(schedule.factor(step) > 0 for step in range(1, 101))


# --------------------------------------------------- faults --------------------------------------------------- #
# each damages something and returns the stage that must say so, and what it must say


def missing_folder(opt: Options) -> tuple[str, list[str]]:
    train_set(opt)['dataroot_lq'] += '.gone'
    return 'files', ['datasets.train.dataroot_lq', 'there is no folder', '.gone']


def file_for_folder(opt: Options) -> tuple[str, list[str]]:
    shutil.rmtree(train_set(opt)['dataroot_gt'])
    Path(train_set(opt)['dataroot_gt']).write_text('')
    return 'files', ['datasets.train.dataroot_gt', 'there is no folder']


def stock_list(opt: Options) -> tuple[str, list[str]]:
    train_set(opt)['meta_info_file'] = 'basicsr/data/meta_info/meta_info_DIV2K800sub_GT.txt'
    return 'files', ['meta_info_file', 'does not carry', 'XPixelGroup/BasicSR', 'meta_info_DIV2K800sub_GT.txt from']


def keys_differ(opt: Options) -> tuple[str, list[str]]:
    change_lines(opt, 'dataroot_lq', lambda lines: [lines[0].replace('p00', 'q00'), *lines[1:]])
    return 'data', ['train.dataroot_gt', 'without a partner', 'gt.lmdb): 1 keys', ': p00', 'lq.lmdb): 1 keys', ': q00']


def key_not_in_database(opt: Options) -> tuple[str, list[str]]:
    change_lmdb(opt, 'dataroot_gt', lambda value: None)
    return 'data', ['train.dataroot_gt', '1 of 8 cannot be found: p03']


def truncated_png(opt: Options) -> tuple[str, list[str]]:
    change_lmdb(opt, 'dataroot_lq', lambda value: value[:len(value) // 2])
    return 'data', ['train.dataroot_lq', '1 of 8 are truncated', 'p03']


def broken_jpeg(opt: Options) -> tuple[str, list[str]]:
    change_lmdb(opt, 'dataroot_lq', lambda value: b'\xff\xd8' + b'nothing' * 9)
    return 'data', ['train.dataroot_lq', 'are truncated, their end is missing: p03']


def no_image(opt: Options) -> tuple[str, list[str]]:
    change_lmdb(opt, 'dataroot_lq', lambda value: b'some text of a person')
    return 'data', ['train.dataroot_lq', '1 of 8 are no images', 'p03']


def blank_line(opt: Options) -> tuple[str, list[str]]:
    for root in ('dataroot_gt', 'dataroot_lq'):
        change_lines(opt, root, lambda lines: [*lines, '\n'])
    return 'data', ['train.dataroot_gt', '1 of 9 cannot be found: (blank line)']


def wrong_scale(opt: Options) -> tuple[str, list[str]]:
    change_lmdb(opt, 'dataroot_lq', lambda value: resized(value, 30))
    return 'data', ['1 of 8 pairs', 'not 2 times as large', 'p03 (gt 64 x 64, lq 30 x 30)']


def patch_too_large(opt: Options) -> tuple[str, list[str]]:
    train_set(opt)['gt_size'] = 96
    return 'data', ['8 of 8 pairs', 'smaller than gt_size 96']


def no_database(opt: Options) -> tuple[str, list[str]]:
    Path(train_set(opt)['dataroot_gt'], 'data.mdb').unlink()
    Path(train_set(opt)['dataroot_lq'], 'meta_info.txt').unlink()
    return 'data', ['gt.lmdb is no LMDB', 'lacks data.mdb', 'lq.lmdb is no LMDB', 'lacks meta_info.txt']


def garbage_database(opt: Options) -> tuple[str, list[str]]:
    Path(train_set(opt)['dataroot_gt'], 'data.mdb').write_bytes(b'garbage' * 5000)
    return 'data', ['datasets.train: InvalidError']


def folder_name(opt: Options) -> tuple[str, list[str]]:
    old = train_set(opt)['dataroot_gt']
    train_set(opt)['dataroot_gt'] = shutil.move(old, old.replace('.lmdb', '_db'))
    return 'data', ['train.dataroot_gt', 'does not end in .lmdb']


def pretrained_missing(opt: Options) -> tuple[str, list[str]]:
    opt['path']['pretrain_network_g'] = 'nowhere/net_g.pth'
    return 'networks', ['path.pretrain_network_g: nowhere/net_g.pth does not exist']


def pretrained_of_other_network(opt: Options) -> tuple[str, list[str]]:
    from basicsr.archs import build_network
    state = build_network({**opt['network_g'], 'num_feat': 16}).state_dict()
    state['more.weight'] = state.pop('conv_first.weight')
    pretrained(opt, {'params': state})
    return 'networks', ['does not fit EDSR', 'missing in the file: conv_first.weight', 'unknown to the network: more',
                        'conv_first.bias is (16,), expected (8,)']


def pretrained_without_key(opt: Options) -> tuple[str, list[str]]:
    pretrained(opt, {'state_dict': {}})
    return 'networks', ["nothing under 'params', but under 'state_dict'", 'path.param_key_g']


def hostile_pickle(opt: Options) -> tuple[str, list[str]]:
    path = Path(pretrained(opt, {}))
    path.write_bytes(pickle.dumps(Hostile()))
    return 'networks', ['path.pretrain_network_g', 'Nothing of it was run']


def typo_in_own_block(opt: Options) -> tuple[str, list[str]]:
    opt['train']['spn_opt']['los_weight'] = 1
    return 'options', ['train.spn_opt.los_weight', 'did you mean loss_weight?']


def text_for_number(opt: Options) -> tuple[str, list[str]]:
    opt['train']['optim_g']['lr'] = '2e-4x'
    opt['train']['total_iter'] = 0
    opt['logger']['print_freq'] = 0
    return 'options', ["train.optim_g.lr: received '2e-4x', must be a number", 'train.total_iter: received 0',
                       'logger.print_freq: received 0, must be a number > 0']


def loop_options_missing(opt: Options) -> tuple[str, list[str]]:
    with_validation(opt)
    del opt['val']['val_freq'], opt['logger']['use_tb_logger'], opt['datasets']['val']['name']
    return 'options', ['val.val_freq: the option file must give it', 'logger.use_tb_logger: the option',
                       'datasets.val.name: the option']


def no_mapping(opt: Options) -> tuple[str, list[str]]:
    opt['datasets']['train'] = 'DIV2K'
    opt['datasets']['val'] = {'name': 'x', 'type': 'PairedImageDataset', 'io_backend': 'disk'}
    return 'options', ['datasets.train: must be a mapping', 'datasets.val.io_backend: must be a mapping']


def short_periods(opt: Options) -> tuple[str, list[str]]:
    opt['train']['scheduler'] = {'type': 'CosineAnnealingRestartLR', 'periods': [3, 3], 'restart_weights': [1, 1]}
    return 'options', ['train.scheduler.periods: their sum is 6', 'total_iter 8']


def rare_generator_steps(opt: Options) -> tuple[str, list[str]]:
    opt['train'].update(net_d_iters=6, net_d_init_iters=0)
    opt['train']['history_opt'] = {'interval': 4}
    return 'options', ['train.history_opt.interval: received 4', 'one of 6 iterations', '2 times too large']


def odd_patch(opt: Options) -> tuple[str, list[str]]:
    train_set(opt)['gt_size'] = 33
    return 'options', ['datasets.train.gt_size: received 33, must be a multiple of scale (2)']


def prefetch_on_gpu(opt: Options) -> tuple[str, list[str]]:
    train_set(opt)['prefetch_mode'] = 'cuda'
    return 'options', ['prefetch_mode: cuda needs datasets.train.pin_memory']


def strange_phase(opt: Options) -> tuple[str, list[str]]:
    opt['datasets']['valid'] = {'name': 'x', 'type': 'PairedImageDataset'}
    return 'options', ['datasets.valid: a data set']


def import_missing(opt: Options) -> tuple[str, list[str]]:
    opt['imports'] = ['no_such_package.archs']
    return 'options', ["'no_such_package.archs' cannot be imported"]


def unknown_arch(opt: Options) -> tuple[str, list[str]]:
    opt['network_g']['type'] = 'EDSRR'
    return 'names', ['network_g.type', "'EDSRR'", 'did you mean EDSR?', 'imports: [hat.archs, hat.models]']


def unknown_loss(opt: Options) -> tuple[str, list[str]]:
    opt['train']['pixel_opt']['type'] = 'L1Los'
    return 'names', ['train.pixel_opt.type', 'did you mean L1Loss?']


def wrong_arguments(opt: Options) -> tuple[str, list[str]]:
    opt['network_g']['num_blok'] = 2
    del opt['network_g']['num_in_ch']
    opt['train']['pixel_opt']['los_weight'] = 2
    return 'names', ['network_g.num_blok: EDSR takes no such argument (did you mean num_block?)',
                     'network_g.num_in_ch: EDSR needs it', 'train.pixel_opt.los_weight: L1Loss takes no such']


def wrong_value(opt: Options) -> tuple[str, list[str]]:
    opt['network_g']['num_feat'] = 'many'
    return 'networks', ['network_g: TypeError', '.py:']


def wrong_metric(opt: Options) -> tuple[str, list[str]]:
    with_validation(opt)
    del opt['val']['metrics']['psnr']['crop_border']
    opt['val']['metrics']['ssim'] = {'type': 'calculate_sim', 'crop_border': 2}
    return 'names', ['val.metrics.psnr.crop_border: calculate_psnr needs it', 'did you mean calculate_ssim?']


def metric_of_no_use(opt: Options) -> tuple[str, list[str]]:
    with_validation(opt)
    opt['val']['metrics']['psnr']['input_order'] = 'WHC'
    return 'first steps', ['val.metrics.psnr: ValueError', 'WHC']


def no_scale(opt: Options) -> tuple[str, list[str]]:
    opt['scale'] = None
    return 'data', ['datasets.train: scale: received ~ (no value), must be a number > 0']


def nothing_to_join(opt: Options) -> tuple[str, list[str]]:
    opt['model_type'] = 'StyleGAN2Model'
    return 'names', ['StyleGAN2Model', 'Remove train.spn_opt']


def batch_larger_than_epoch(opt: Options) -> tuple[str, list[str]]:
    train_set(opt)['batch_size_per_gpu'] = 9
    return 'first steps', ['datasets.train.batch_size_per_gpu: an epoch has 8 samples', 'batch (9)',
                           'dataset_enlarge_ratio']


def network_of_other_scale(opt: Options) -> tuple[str, list[str]]:
    opt['network_g']['upscale'] = 4
    return 'first steps', ['RuntimeError', 'size of tensor', '.py:']


def patch_too_small_for_extractor(opt: Options) -> tuple[str, list[str]]:
    train_set(opt)['gt_size'] = 8
    opt['train']['spn_opt']['layer_weights'] = {'relu5_1': 1.0}
    return 'first steps', ['8 x 8 pixels are too small for relu5_1']


def losses_not_finite(opt: Options) -> tuple[str, list[str]]:
    opt['train']['pixel_opt']['loss_weight'] = 1e39
    return 'first steps', ['l_pix inf']


class Hostile:
    """Leaves a mark when it is unpickled by a reader that runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path('ran'), )


FAULTS = [
    missing_folder, file_for_folder, stock_list, keys_differ, key_not_in_database, truncated_png, broken_jpeg, no_image,
    blank_line, wrong_scale, patch_too_large, no_database, garbage_database, folder_name, pretrained_missing,
    pretrained_of_other_network, pretrained_without_key, hostile_pickle, typo_in_own_block, text_for_number,
    loop_options_missing, no_mapping, short_periods, rare_generator_steps, odd_patch,
    prefetch_on_gpu, strange_phase, import_missing,
    unknown_arch, unknown_loss, wrong_arguments, wrong_value, wrong_metric, metric_of_no_use, no_scale, nothing_to_join,
    batch_larger_than_epoch, network_of_other_scale, patch_too_small_for_extractor, losses_not_finite,
]


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: fault.__name__)
def test_fault_is_named(own, check, tmp_path, fault):
    stage, expected = fault(own)
    before = tree(tmp_path)
    verdict = check(own)
    assert verdict.status == 2
    for text in expected:
        assert text in verdict.stage(stage)
    number = verdict.text.count('PROBLEM: ')
    assert number > 0 and verdict.last == f'check: {number} problem{"s" * (number > 1)}'
    assert '[SKIPPED] plan' in verdict.text
    assert 'Traceback' not in verdict.text + verdict.errors
    assert tree(tmp_path) == before


def test_option_file_of_a_test_is_one_problem(check, options):
    path = Path(__file__).parents[3] / 'options/test/NAFNet/NAFNet-w32_GoPro.yml'
    verdict = check(load_options(path))
    assert verdict.status == 2 and verdict.last == 'check: 1 problem'
    assert 'it is one of `basicsr test`' in verdict.text and 'run `basicsr test -opt`' in verdict.text
    torn = options()
    del torn['train']
    assert 'train: the block is missing' in check(torn).text  # a file of a training, which lacks something


def test_faults_of_several_stages_are_named_together(own, check):
    expected = [fault(own) for fault in (text_for_number, unknown_arch, unknown_loss, stock_list, wrong_scale)]
    pretrained_missing(own)
    verdict = check(own)
    for stage, texts in expected:
        assert all(text in verdict.stage(stage) for text in texts)
    assert 'network_g: not built' in verdict.stage('networks')  # so its file cannot be compared with it
    assert '[SKIPPED] first steps: there are problems above' in verdict.text


def test_missing_extractor_weights(own, check, monkeypatch, tmp_path):
    del own['train']['spn_opt']['vgg_weights']
    monkeypatch.setenv('MCIR_OFFLINE', '1')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'data'))
    verdict = check(own)
    assert verdict.status == 2
    said = verdict.stage('feature extractor')
    assert 'vgg16-397923af.pth' in said and 'vgg_weights: random:0' in said


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without a GPU')
def test_gpu_asked_for_but_absent_is_a_warning(options, check):
    verdict = check({**options(), 'num_gpu': 1})
    assert (verdict.status, verdict.last) == (0, 'check: no problems (1 warning)')
    assert 'WARNING: num_gpu is 1, but no GPU is visible' in verdict.stage('options')


def test_misspelt_key_and_late_milestone_are_warnings(options, check):
    opt = options()
    opt['train']['warmup_itr'] = 3
    opt['train']['scheduler']['milestones'] = [6, 9]
    verdict = check(opt)
    assert verdict.status == 0 and verdict.last.endswith('(2 warnings)')
    assert 'did you mean warmup_iter?' in verdict.text and '[9] lie beyond total_iter 8' in verdict.text


def test_term_larger_than_its_criterion_is_a_warning(options, check):
    opt = options()
    opt['train']['spn_opt']['loss_weight'] = 30.0
    verdict = check(opt)
    assert verdict.status == 0
    assert 'WARNING: The contrastive term pulls' in verdict.stage('first steps')


# ----------------------------------------------- folders of images ---------------------------------------------- #


@pytest.fixture
def on_disk(options, photographs, tmp_path) -> Options:
    """Options on folders of PNG files."""
    opt = options()
    for kind, side in (('gt', 64), ('lq', 32)):
        folder = tmp_path / 'data' / kind
        folder.mkdir(parents=True)
        for number, image in enumerate(photographs):
            cv2.imwrite(str(folder / f'{number}.png'), cv2.resize(image, (side, side)))
        train_set(opt)[f'dataroot_{kind}'] = str(folder)
    train_set(opt)['io_backend'] = {'type': 'disk'}
    return opt


def test_folders_pass(on_disk, check):
    verdict = check(on_disk)
    assert verdict.status == 0
    assert '8 pairs, 8 looked at, 8 decoded' in verdict.stage('data')


def test_unpaired_files_are_listed_with_phase_and_folder(on_disk, check):
    folder = Path(train_set(on_disk)['dataroot_lq'])
    (folder / '2.png').rename(folder / 'two.png')
    said = check(on_disk).stage('data')
    assert re.search(r'datasets\.train\.dataroot_gt \(.*/gt\): 1 images without a partner .*: 2\.png', said)
    assert re.search(r'datasets\.train\.dataroot_lq \(.*/lq\): 1 images without a partner .*: two\.png', said)


def test_listed_file_that_is_missing(on_disk, check, tmp_path):
    listing = tmp_path / 'data' / 'list.txt'
    listing.write_text('0.png (64,64,3)\n1.png (64,64,3)\nnine.png (64,64,3)\n')
    train_set(on_disk)['meta_info_file'] = str(listing)
    verdict = check(on_disk)
    assert '1 of 3 cannot be found: nine.png' in verdict.stage('data')


def test_bytes_after_the_end_of_a_png_are_no_fault(on_disk, check):
    with Path(train_set(on_disk)['dataroot_lq'], '2.png').open('ab') as file:
        file.write(b'left by an editor')
    assert check(on_disk).status == 0


def test_of_many_images_those_recorded_as_misfits_are_looked_at(own, check, monkeypatch):
    from mcir_plugin.hosts.basicsr.check import pairs
    monkeypatch.setattr(pairs, 'ALL_BELOW', 4)
    monkeypatch.setattr(pairs, 'SAMPLE', 1)
    first = pairs.chosen([f'p{i:02d}' for i in range(8)])
    assert len(first) == 1 and pairs.chosen([f'p{i:02d}' for i in range(8)]) == first
    small = 'p07' if first != ['p07'] else 'p06'
    change_lmdb(own, 'dataroot_gt', lambda value: resized(value, 20), small)
    change_lmdb(own, 'dataroot_lq', lambda value: resized(value, 10), small)
    for root, sizes in (('dataroot_gt', ('(64,64', '(20,20')), ('dataroot_lq', ('(32,32', '(10,10'))):
        change_lines(own, root, lambda lines, sizes=sizes: [
            line.replace(*sizes) if line.startswith(small) else line for line in lines])
    said = check(own).stage('data')
    assert '1 of 2 pairs the images are smaller than gt_size 32' in said and small in said


# ------------------------------------------------ third parties ------------------------------------------------ #

FAULTY_PACKAGE = """
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY
from torch import nn
from torch.utils.data import Dataset

class PickyNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        assert width % 4 == 0, f'width {width} is no multiple of 4'

class BrokenDataset(Dataset):
    def __init__(self, opt):
        self.opt = opt

    def __len__(self):
        return 8

    def __getitem__(self, index):
        raise OSError('the disk is gone')

for registry, cls in ((ARCH_REGISTRY, PickyNet), (DATASET_REGISTRY, BrokenDataset)):
    if cls.__name__ not in registry:
        registry.register(cls)
"""


@pytest.fixture
def third_party(tmp_path, options) -> Options:
    """Options that import a package with an arch and a data set that fail."""
    (tmp_path / 'picky_package.py').write_text(FAULTY_PACKAGE)
    return {**options(), 'imports': 'picky_package'}


def test_assertion_in_a_third_party_network(third_party, check):
    third_party['network_g'] = {'type': 'PickyNet', 'width': 6}
    verdict = check(third_party)
    assert verdict.status == 2
    assert re.search(r'network_g: AssertionError: width 6 is no multiple of 4, at .*picky_package\.py:9',
                     verdict.stage('networks'))


@pytest.mark.parametrize('workers', [0, 1])
def test_error_in_a_third_party_data_set(third_party, check, workers):
    train_set(third_party).update(type='BrokenDataset', io_backend=None, num_worker_per_gpu=workers)
    verdict = check(third_party)
    assert verdict.status == 2
    assert re.search(r'datasets\.train \(Patches\).*: OSError: the disk is gone, at .*picky_package\.py:19',
                     verdict.stage('first steps'))
    assert 'Traceback' not in verdict.text


# --------------------------------------------- earlier runs, launchers -------------------------------------------- #


def test_earlier_run(options, train, check, tmp_path):
    opt = options(total_iter=4)
    train(opt)
    opt['train']['total_iter'] = 8
    before = tree(tmp_path)

    anew = check(opt)
    assert anew.status == 0
    assert 'tiny exists: it will be renamed' in anew.text and 'up to iteration 4' in anew.text

    resumed = check(opt, '--auto_resume')
    assert (resumed.status, resumed.last) == (0, 'check: no problems (0 warnings)')
    assert 'resume: from iteration 4' in resumed.stage('plan')
    assert 'net_g_4.pth fits' in resumed.stage('networks')

    opt['train']['history_opt'] = {'update_iter': [2, 3, 4]}
    changed = check(opt, '--auto_resume')
    assert changed.status == 2
    assert 'holds 2 negatives, but the options ask for 3' in changed.stage('first steps')

    opt['path']['resume_state'] = 'experiments/tiny/training_states/5.state'
    assert '5.state is missing' in check(opt).stage('files')
    assert tree(tmp_path) == before


def test_only_the_first_process_checks_and_counts_all(options, check, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '1')
    silent = check(options(), '--launcher', 'pytorch')
    assert (silent.status, silent.text) == (0, '')
    monkeypatch.setenv('RANK', '0')
    plan = check(options(), '--launcher', 'pytorch').stage('plan')
    assert '2 process(es)' in plan and '4 epochs of 2' in plan
    assert not torch.distributed.is_initialized()


def test_launcher_without_its_environment_is_a_warning(options, check, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    verdict = check(options(), '--launcher', 'pytorch')
    assert verdict.status == 0
    assert 'WARNING: --launcher pytorch is given, but no launcher started' in verdict.stage('options')


def test_flags_change_what_is_checked(options, check):
    opt = options(spn=False)
    verdict = check(opt, '--force_yml', 'train:spn_opt:type=SPNLoss', 'train:spn_opt:vgg_weights=random:1',
                    'train:total_iter=12')
    assert verdict.status == 0
    assert 'time of 12 iterations' in verdict.text and 'weights random:1' in verdict.stage('plan')
