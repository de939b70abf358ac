"""``basicsr compare`` for real, killed in the middle: 2 variants, 2 seeds, the numbers computed again from images."""
import json
import math
import shutil
import signal
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy import stats
from skimage.metrics import structural_similarity

from mcir_plugin.cli import main
from mcir_plugin.config import load_options
from mcir_plugin.hosts.basicsr.compare import entry
from mcir_plugin.hosts.basicsr.compare.evaluate import evaluate, evaluated_metrics, is_evaluated
from mcir_plugin.hosts.basicsr.compare.logs import read_curves
from mcir_plugin.hosts.basicsr.compare.schedule import RunsFailedError

ROOT = Path(__file__).parents[3]
PREPARE = ROOT / 'scripts' / 'data_preparation'
DATA = Path('datasets', 'quickstart')
VARIANTS, SEEDS, STEPS, BORDER = ('none', 'spn'), (0, 1), 60, 2
NAME, VAL = 'quickstart_SwinIR_SRx2_MCIR', 'photos_val'
RUNS = [f'{NAME}_{variant}_seed{seed}' for seed in SEEDS for variant in VARIANTS]
SMALLER = [  # than the quick start: one core has to do it four times
    f'train:total_iter={STEPS}', 'val:val_freq=30', 'logger:print_freq=1', 'logger:save_checkpoint_freq=10',
    'logger:use_tb_logger=false', 'datasets:train:num_worker_per_gpu=0', 'datasets:train:batch_size_per_gpu=1',
    'datasets:train:gt_size=32', 'network_g:embed_dim=8', 'network_g:num_heads=[2]', 'train:optim_g:lr=2e-4',
    'train:spn_opt:layer_weights={relu1_2: 1}', 'train:history_opt:interval=1']
COMMAND = ['compare', '-opt', str(ROOT / 'options' / 'quickstart.yml'), '--variants', *VARIANTS,
           '--seeds', *map(str, SEEDS), '--output', 'out', '--set', *SMALLER]
LIMIT = 600  # seconds, for a machine that does much else


def prepare(folder: Path) -> None:
    """Make the data of the quick start, as its script does."""
    photos = DATA / 'photos'
    for script, *arguments in (
            ('skimage_photos.py', '--output', photos),
            ('prepare_sr.py', '--input', photos / 'train', '--output', DATA / 'train', '--scale', '2', '--size', '128',
             '--step', '96'),
            ('prepare_sr.py', '--input', photos / 'val', '--output', DATA / 'val', '--scale', '2', '--full')):
        subprocess.run([sys.executable, PREPARE / script, *map(str, arguments)], cwd=folder, check=True)


def truths() -> dict[str, np.ndarray]:
    """Return the photographs of the validation set by name, of even height and width."""
    found = {path.stem: cv2.imread(str(path)) for path in sorted((DATA / 'photos' / 'val').iterdir())}
    assert len(found) == 3
    return {name: image[:image.shape[0] // 2 * 2, :image.shape[1] // 2 * 2] for name, image in found.items()}


def recipe() -> dict:
    return load_options(Path('out', 'options', f'{RUNS[1]}.yml'))


def wait_for(condition, process) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < end, 'waited too long'
        time.sleep(0.01)


def workers(folder: Path) -> list[str]:
    """Return the command lines of processes that work on a folder (Linux)."""
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            line = path.read_bytes().decode(errors='replace')
            if 'compare.worker' in line and (path.parent / 'cwd').resolve() == folder:
                found.append(line)
        except OSError:  # it has just ended
            continue
    return found


class Interrupted:
    """A comparison that was killed in its second run and started again; `before` is from between the two."""

    def __init__(self, root: Path) -> None:
        self.root, self.out = root, root / 'out'
        states = self.out / RUNS[1] / 'training_states'
        process = subprocess.Popen([sys.executable, '-m', 'mcir_plugin', *COMMAND], cwd=root, stderr=subprocess.PIPE)
        wait_for(lambda: (states / '10.state').is_file(), process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        end = time.monotonic() + LIMIT
        while workers(root) and time.monotonic() < end:
            time.sleep(0.05)
        self.left = workers(root)
        self.before = {path: path.stat().st_mtime_ns for path in (self.out / RUNS[0]).rglob('*') if path.is_file()}
        self.finished = [is_evaluated(self.out / run) for run in RUNS]
        self.ended_at = (self.out / RUNS[1] / 'models' / 'net_g_latest.pth').exists()

    def numbers(self) -> dict:
        return json.loads((self.out / 'report' / 'report.json').read_text())


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('comparison')


@pytest.fixture
def comparison(root, monkeypatch, close_log, made={}) -> Interrupted:  # noqa: B006
    monkeypatch.chdir(root)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    if not made:
        prepare(root)
        made['it'] = Interrupted(root)
        made['status'] = main(COMMAND)
    assert made['status'] == 0
    return made['it']


def test_a_killed_comparison_leaves_nothing_running_and_goes_on(comparison):
    assert comparison.left == []
    assert comparison.finished == [True, False, False, False] and not comparison.ended_at
    assert all(is_evaluated(comparison.out / run) for run in RUNS)


def test_a_finished_run_is_not_touched_again(comparison):
    assert comparison.before
    assert all(path.stat().st_mtime_ns == when for path, when in comparison.before.items())


def test_the_interrupted_run_continued_from_its_checkpoint(comparison):
    logs = sorted((comparison.out / RUNS[1]).glob('train_*.log'))
    assert len(logs) == 2
    text = logs[1].read_text()
    start = int(text.partition('Resuming training from epoch: ')[2].partition('iter: ')[2].partition('.')[0])
    assert start >= 10 and f'iter: {start:7,d}' not in text
    curve = read_curves(comparison.out / RUNS[1], 30, STEPS)
    assert list(curve['l_pix']) == list(range(1, STEPS + 1))
    assert sorted(curve[f'{VAL}: psnr']) == [30, 60]


def test_all_variants_of_a_seed_start_alike_and_see_the_same_data(comparison):
    """The term changes the weights a little at a time; other data would change the loss much at once."""
    curves = {run: list(read_curves(comparison.out / run, 30, STEPS)['l_pix'].values()) for run in RUNS}
    for seed in SEEDS:
        plain, spn = (curves[f'{NAME}_{variant}_seed{seed}'] for variant in VARIANTS)
        assert plain[0] == spn[0]
        assert np.allclose(plain[:10], spn[:10], rtol=0.02)
    assert not np.allclose(curves[RUNS[0]][:10], curves[RUNS[2]][:10], rtol=0.2)


def luma(image: np.ndarray) -> np.ndarray:
    blue, green, red = np.moveaxis(image[BORDER:-BORDER, BORDER:-BORDER].astype(np.float64), 2, 0)
    return 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255


def psnr(image: np.ndarray, gt: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.mean((luma(image) - luma(gt))**2))


def ssim(image: np.ndarray, gt: np.ndarray) -> float:
    full = structural_similarity(luma(image), luma(gt), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                 data_range=255, full=True)[1]
    return full[5:-5, 5:-5].mean()


def from_images(comparison, weights: str, measure) -> dict[str, list[list[float]]]:
    """Return the table (seeds, images) of every variant, computed from the images that were saved."""
    return {variant: [[measure(cv2.imread(str(comparison.out / f'{NAME}_{variant}_seed{seed}' / 'evaluation' / weights /
                                              'visualization' / VAL / f'{name}_{weights}.png')), gt)
                       for name, gt in truths().items()] for seed in SEEDS] for variant in VARIANTS}


def resampled(difference: np.ndarray) -> np.ndarray:
    """Return the mean of every draw of seeds and images with replacement; all are equally likely."""
    seeds, images = (np.array(list(product(range(count), repeat=count))) for count in difference.shape)
    return np.array([difference[rows][:, columns].mean() for rows in seeds for columns in images])


@pytest.mark.parametrize('weights', ['net_g', 'net_g_ema'])
@pytest.mark.parametrize(('metric', 'measure', 'within'), [('psnr', psnr, 5e-5), ('ssim', ssim, 2e-6)])
def test_the_statistics_are_those_of_the_saved_images(comparison, weights, metric, measure, within):
    tables = from_images(comparison, weights, measure)
    found = {result['variant']: result for result in comparison.numbers()['results']
             if (result['weights'], result['metric']) == (weights, metric)}
    for variant, table in tables.items():
        means = [statistics.fmean(row) for row in table]
        assert found[variant]['summary']['mean'] == pytest.approx(statistics.fmean(means), abs=within)
        assert found[variant]['summary']['spread'] == pytest.approx(statistics.stdev(means), abs=within)
    difference = np.subtract(tables['spn'], tables['none'])
    paired, images = found['spn']['paired'], difference.mean(axis=0)
    assert paired['mean'] == pytest.approx(difference.mean(), abs=within)
    assert paired['images'] == pytest.approx(images, abs=within)
    unclear = int((np.abs(images) <= within).sum())  # BasicSR's metrics use float32
    for count, clear in ((paired['wins'], images > within), (paired['losses'], images < -within)):
        assert clear.sum() <= count <= clear.sum() + unclear
    assert unclear < 2
    wanted = stats.binomtest(paired['wins'], paired['wins'] + paired['losses']).pvalue
    assert paired['p_value'] == pytest.approx(wanted)
    means = resampled(difference)
    for bound, level in ((paired['low'], 0.025), (paired['high'], 0.975)):  # 10,000 draws miss a level by 0.0016
        assert (means < bound - within).mean() <= level + 0.01 and (means <= bound + within).mean() >= level - 0.01


def test_the_report_is_complete(comparison):
    folder = comparison.out / 'report'
    html = (folder / 'report.html').read_text()
    for words in ('Y of 8-bit RGB, not rounded, border of 2 left out', '11x11 Gaussian, valid', 'train.spn_opt.type'):
        assert words in html
    names = {path.name for path in folder.iterdir()}
    assert {'report.md', 'losses.png', 'validations.png', 'cost.png'} <= names
    assert sum(name.startswith(f'image_{VAL}_') for name in names) == 3
    costs = comparison.numbers()['costs']
    assert [cost['variant'] for cost in costs] == list(VARIANTS)
    assert 0 < costs[0]['seconds'] < costs[1]['seconds'] and all(100 < cost['memory'] < 10_000 for cost in costs)


def test_existing_folders_give_the_same_report(comparison, capsys):
    runs = [f'{variant}=out/{NAME}_{variant}_seed{seed}' for variant in VARIANTS for seed in SEEDS]
    assert main(['report', *runs, '--output', 'again']) == 0
    assert 'calculate_psnr: Y of 8-bit RGB' in capsys.readouterr().out
    again = json.loads(Path('again/report.json').read_text())
    assert again['results'] == comparison.numbers()['results']
    assert main(['report', 'out', '--output', 'third']) == 0
    assert json.loads(Path('third/report.json').read_text())['results'] == again['results']


def lpips_from_images(run: Path, weights: str) -> dict[str, float]:
    """The values of the saved images by the authors' package, given the backbone that lies in the folder."""
    import lpips
    measure = lpips.LPIPS(net='alex', pnet_rand=True, verbose=False)
    saved = torch.load(next(Path('experiments/pretrained_models').iterdir()), weights_only=True)
    for part in measure.net.children():
        part.load_state_dict({key: saved[f'features.{key}'] for key in part.state_dict()})

    def tensor(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None] / 127.5 - 1

    folder = run / 'evaluation' / weights / 'visualization' / VAL
    with torch.no_grad():
        return {name: measure(tensor(cv2.imread(str(folder / f'{name}_{weights}.png'))), tensor(gt)).item()
                for name, gt in truths().items()}


def test_lpips_is_added_where_it_is_at_hand_and_else_left_out_in_one_line(comparison, capsys, monkeypatch):
    from torchvision.models import alexnet
    html = (comparison.out / 'report' / 'report.html').read_text()
    if 'LPIPS is left out. LPIPS needs the weights of AlexNet, which are not downloaded: put' not in html:
        pytest.skip('this machine has the weights of AlexNet')
    runs = [Path(shutil.copytree(comparison.out / run, Path('more', run))) for run in RUNS[:2]]
    weights = Path('experiments/pretrained_models/alexnet-owt-7be5be79.pth')
    weights.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save({key: value for key, value in alexnet().state_dict().items() if 'features' in key}, weights)
    try:
        (runs[0] / 'evaluation' / 'evaluation.json').unlink()
        assert main(['report', *map(str, runs), '--output', 'mixed']) == 0
        assert 'LPIPS is left out: 1 of 2 runs were evaluated before it was at hand' in capsys.readouterr().out
        (runs[1] / 'evaluation' / 'evaluation.json').unlink()
        assert main(['report', *map(str, runs), '--output', 'with']) == 0
        assert 'LPIPS 0.1 with AlexNet, RGB, rounded to 8 bits' in capsys.readouterr().out
        results = [r for r in json.loads(Path('with/report.json').read_text())['results'] if r['metric'] == 'lpips']
        assert [(r['weights'], r['variant']) for r in results] == [
            (weights, f'{NAME}_{variant}') for weights in ('net_g', 'net_g_ema') for variant in VARIANTS]
        for result, run in zip(results, runs * 2, strict=True):
            values = lpips_from_images(run, result['weights'])
            assert result['summary']['mean'] == pytest.approx(statistics.fmean(values.values()), rel=1e-4)
    finally:
        shutil.rmtree(weights.parent)


def test_lpips_is_left_out_where_an_image_is_too_small_for_it(comparison, monkeypatch):
    monkeypatch.setattr('mcir_plugin.hosts.basicsr.compare.evaluate.missing', lambda: None)
    opt = recipe()
    metrics, why = evaluated_metrics(opt)
    assert why is None and metrics['lpips'] == {'type': 'calculate_lpips', 'better': 'lower'}
    for key, size in (('dataroot_gt', 24), ('dataroot_lq', 12)):
        Path('small', key).mkdir(parents=True)
        for name, height in (('large', 2 * size), ('tiny', size)):
            cv2.imwrite(f'small/{key}/{name}.png', np.zeros((height, 3 * size, 3), np.uint8))
        opt['datasets']['val'] |= {key: f'small/{key}', 'io_backend': {'type': 'disk'}}
    metrics, why = evaluated_metrics(opt)
    assert metrics == opt['val']['metrics'] and '32 x 32' in why and f'tiny of {VAL} has 24 x 72' in why


def test_a_variant_that_fails_is_left_out_of_the_report_and_named(comparison, capsys, monkeypatch, request):
    (comparison.out / 'report').rename('kept')
    request.addfinalizer(lambda: (shutil.rmtree(comparison.out / 'report'), Path('kept').rename('out/report')))
    Path('broken.yml').write_text('spn_opt: {type: SPNLoss, vgg_weights: random:0, layer_weights: {relu1_1: 1.}}\n')
    command = [*COMMAND[:4], *VARIANTS, 'broken=broken.yml', *COMMAND[6:]]
    assert command[3] == '--variants' and command[7] == '--seeds'
    monkeypatch.setattr(entry, 'run_jobs', lambda jobs, *_: fail(jobs))  # a training that always fails

    def fail(jobs):
        assert [job.name for job in jobs] == ['broken seed 0', 'broken seed 1']
        raise RunsFailedError('2 of 2 runs failed')

    assert main(command) == 2
    said = capsys.readouterr()
    assert 'Left out, because runs of theirs failed: broken.' in said.out and '2 of 2 runs failed' in said.err
    assert comparison.numbers()['variants'] == list(VARIANTS)
    assert 'Left out, because runs of theirs failed: broken.' in (comparison.out / 'report' / 'report.md').read_text()
    assert main([*command[:4], 'broken=broken.yml', *command[4:6], *command[7:]]) == 2
    assert 'There is no report: broken' in capsys.readouterr().out


def test_an_evaluation_can_be_made_again(comparison):
    run = comparison.out / RUNS[0]
    paths = sorted((run / 'evaluation').rglob(f'metrics_{VAL}.csv'))
    before = {path: path.read_text() for path in paths}
    assert len(before) == 2
    (run / 'evaluation' / 'evaluation.json').unlink()
    assert not is_evaluated(run)
    torch.manual_seed(123)
    evaluate(run, load_options(comparison.out / 'options' / f'{RUNS[0]}.yml'))
    assert is_evaluated(run) and {path: path.read_text() for path in paths} == before


def test_reports_of_other_seeds_are_refused(comparison, capsys):
    assert main(['report', f'a=out/{RUNS[0]}', f'b=out/{RUNS[2]}']) == 2
    assert 'same seeds' in capsys.readouterr().err


def test_a_changed_recipe_is_refused_before_training(comparison, capsys):
    assert main([*COMMAND, '--set', f'train:total_iter={STEPS + 1}']) == 2
    assert 'train.total_iter' in capsys.readouterr().err
