"""A long training of tiny steps in the real BasicSR loop: does it take more and more of anything?

    python scripts/soak/soak.py --json docs/benchmarks/soak.json --plot docs/benchmarks/soak.png

Trains a tiny EDSR with 16 negatives on photographs from the scikit-image wheel, with LMDB, a worker process that is
started anew in every epoch, validation, checkpoints and TensorBoard, by ``basicsr train`` in a process of its own, and
prints the slope of the memory, the step time at the end over that at the start, and the growth of open files.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import yaml

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS / 'benchmark'))
NEGATIVES = [10, 20, 50, 100] * 4


def main() -> int:
    """Run the command."""
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        record = train(Path(folder), args)
    result = {'settings': {'steps': args.steps, 'negatives': len(NEGATIVES), 'every': args.every},
              **summary(record, args.skip), 'machine': machine(), 'looks': record['looks'],
              'block_ms': blocks(record['times'], args.every)}
    print(text(result))
    if args.json:
        from table import write_json
        write_json(result, args.json)
    if args.plot:
        draw(result, args.plot)
    return 0


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=10_000, help='optimizer steps (default: 10000)')
    parser.add_argument('--every', type=int, default=50, help='steps between two looks at the process (default: 50)')
    parser.add_argument('--skip', type=float, default=0.1, metavar='SHARE',
                        help='of the steps at the start, in which caches fill, left out of slopes (default: 0.1)')
    parser.add_argument('--json', type=Path, help='file for everything that was noted')
    parser.add_argument('--plot', type=Path, help='PNG file for the curves')
    return parser.parse_args()


def train(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Prepare data in ``folder``, train there, return what the recorder wrote.

    Raises:
        SystemExit: With the end of its output, if the training fails.
    """
    preparation = SCRIPTS / 'data_preparation'
    run(folder, [preparation / 'skimage_photos.py', '--output', 'photos'])
    run(folder, [preparation / 'prepare_sr.py', '--input', 'photos/train', '--output', 'train', '--scale', 2, '--size',
                 96, '--step', 96])
    run(folder, [preparation / 'prepare_sr.py', '--input', 'photos/val', '--output', 'val', '--scale', 2, '--size', 96,
                 '--step', 400])
    (folder / 'soak.yml').write_text(yaml.safe_dump(options(args.steps), sort_keys=False))
    run(folder, ['-m', 'mcir_plugin', 'train', '-opt', 'soak.yml'],
        SOAK_FILE=str(folder / 'record.json'), SOAK_EVERY=str(args.every), PYTHONPATH=str(SCRIPTS / 'soak'))
    return json.loads((folder / 'record.json').read_text())


def run(folder: Path, command: list[object], **environment: str) -> None:
    """Run Python with a command line in ``folder``."""
    done = subprocess.run([sys.executable, *map(str, command)], cwd=folder, env={**os.environ, **environment},
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(f'{command[0]} ended with {done.returncode}:\n{done.stdout[-3000:]}')


def options(steps: int) -> dict[str, Any]:
    """Return the option file: everything that a training does, in small, and often."""
    often = max(1, steps // 20)
    data = {'type': 'PairedImageDataset', 'io_backend': {'type': 'lmdb'}}

    def roots(part: str) -> dict[str, str]:
        return {'dataroot_gt': f'{part}/HR_sub.lmdb', 'dataroot_lq': f'{part}/LR_bicubic_X2_sub.lmdb'}

    return {
        'name': 'soak', 'model_type': 'SRModel', 'scale': 2, 'num_gpu': 0, 'manual_seed': 0,
        'imports': ['soak_recorder'],
        'datasets': {'train': {**data, **roots('train'), 'name': 'train', 'gt_size': 16, 'allow_grey': True,
                               'use_hflip': True, 'use_rot': True, 'num_worker_per_gpu': 1, 'batch_size_per_gpu': 1,
                               'dataset_enlarge_ratio': max(1, often // 20)},
                     'val': {**data, **roots('val'), 'name': 'val'}},
        'network_g': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 2,
                      'res_scale': 1, 'img_range': 255., 'rgb_mean': [0.4488, 0.4371, 0.4040]},
        'path': {'pretrain_network_g': None, 'resume_state': None},
        'train': {'ema_decay': 0.999, 'optim_g': {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [steps], 'gamma': 0.5}, 'total_iter': steps,
                  'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
                  'spn_opt': {'type': 'SPNLoss', 'vgg_weights': 'random:0', 'layer_weights': {'relu1_1': 1.0}},
                  'history_opt': {'update_iter': NEGATIVES, 'max_ratio': 0.1}},
        'val': {'val_freq': often, 'save_img': False,
                'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': False}}},
        'logger': {'print_freq': 10, 'save_checkpoint_freq': often, 'use_tb_logger': True, 'wandb': {'project': None}},
    }


def summary(record: dict[str, Any], skip: float) -> dict[str, float]:
    """Return slopes and ratios of what was noted, without the first ``skip`` of it.

    Returns:
        dict: ``rss_mb_per_1000_steps`` (least squares), ``rss_mb_first`` and ``rss_mb_last``, ``files_growth``,
        ``threads_growth`` (last look over the first that counts), ``step_ms_first`` and ``step_ms_last`` (medians of
        the first and the last quarter) and their ``step_ratio``; ``fast_step_ratio``, the same of the fastest tenths,
        which other work on the machine disturbs less.
    """
    looks = record['looks'][int(skip * len(record['looks'])):]
    steps = [end - start for start, end in zip(record['times'], record['times'][1:], strict=False)]
    steps = steps[int(skip * len(steps)):]
    quarter = len(steps) // 4
    first, last = median(steps[:quarter]) * 1e3, median(steps[-quarter:]) * 1e3
    rss = [look['rss'] / 1e6 for look in looks]
    return {'rss_mb_per_1000_steps': 1000 * slope([look['step'] for look in looks], rss), 'rss_mb_first': rss[0],
            'rss_mb_last': rss[-1], 'files_first': looks[0]['files'], 'files_growth': growth(looks, 'files'),
            'threads_growth': growth(looks, 'threads'), 'step_ms_first': first, 'step_ms_last': last,
            'step_ratio': last / first, 'fast_step_ratio': tenth(steps[-quarter:]) / tenth(steps[:quarter])}


def tenth(values: list[float]) -> float:
    """Return the value that a tenth of all is below."""
    return sorted(values)[len(values) // 10]


def slope(x: list[float], y: list[float]) -> float:
    """Return the least-squares slope of y over x."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return (sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
            / sum((a - mean_x)**2 for a in x))


def growth(looks: list[dict[str, int]], name: str) -> int:
    """Return by how much the largest number of the last quarter exceeds that of the first; 0 is no growth."""
    quarter = max(1, len(looks) // 4)
    values = [look[name] for look in looks]
    return max(values[-quarter:]) - max(values[:quarter])


def blocks(times: list[float], every: int) -> list[float]:
    """Return the median step time of every block of steps, in ms."""
    steps = [1e3 * (end - start) for start, end in zip(times, times[1:], strict=False)]
    return [round(median(steps[i:i + every]), 3) for i in range(0, len(steps), every)]


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    import torch
    from machine import describe
    return describe(torch.device('cpu'))


def text(result: dict[str, Any]) -> str:
    """Return the figures in words."""
    return (f'{result["settings"]["steps"]} steps, {result["settings"]["negatives"]} negatives\n'
            f'memory       {result["rss_mb_first"]:.1f} -> {result["rss_mb_last"]:.1f} MB, '
            f'{result["rss_mb_per_1000_steps"]:+.3f} MB per 1000 steps\n'
            f'step         {result["step_ms_first"]:.2f} -> {result["step_ms_last"]:.2f} ms (medians of the first and '
            f'the last quarter), ratio {result["step_ratio"]:.3f}, of the fastest tenths '
            f'{result["fast_step_ratio"]:.3f}\n'
            f'open files   {result["files_first"]}, growth {result["files_growth"]:+d}; threads '
            f'{result["threads_growth"]:+d}')


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw memory, open files and step time over the steps."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 6), layout='constrained')
    axes = figure.subplots(3, 1, sharex=True)
    steps = [look['step'] for look in result['looks']]
    axes[0].plot(steps, [look['rss'] / 1e6 for look in result['looks']])
    axes[1].plot(steps, [look['files'] for look in result['looks']])
    axes[2].plot([(i + 1) * result['settings']['every'] for i in range(len(result['block_ms']))], result['block_ms'])
    for ax, name in zip(axes, ('resident memory (MB)', 'open files', 'step (ms)'), strict=True):
        ax.set_ylabel(name)
        ax.set_ylim(bottom=0)
    axes[2].set_xlabel('step')
    figure.savefig(path, dpi=100)


if __name__ == '__main__':
    sys.exit(main())
