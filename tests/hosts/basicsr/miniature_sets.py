"""The data sets of the option files in miniature: laid out as they are distributed, then prepared by the scripts."""
from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np

SIDE, CLEAR_SIDE = (44, 60), (64, 80)  # clear images of RESIDE indoors are larger by 10 pixels at each side
PREPARATION = Path(__file__).parents[3] / 'scripts' / 'data_preparation'
Pairs = list[tuple[str, str]]

ITS = [('hazy/1_1_0.9.png', 'clear/1.png'), ('hazy/1_2_0.8.png', 'clear/1.png')]
INDOOR = [('indoor/hazy/1400_1.png', 'indoor/clear/1400.png'), ('indoor/hazy/1400_2.png', 'indoor/clear/1400.png')]
OUTDOOR = [(f'outdoor/hazy/000{n}_0.8_0.2.jpg', f'outdoor/clear/000{n}.png') for n in (1, 2)]
DEHAZEFORMER = [(f'{part}/hazy/{name}', f'{part}/GT/{name}') for part in ('train', 'test')
                for name in ('1_1_0.9.png', '25_0.8_0.04.jpg')]
RAIN200 = [(f'rain_data_{part}_{{}}/rain/X2/norain-{n}x2.png', f'rain_data_{part}_{{}}/norain/norain-{n}.png')
           for part in ('train', 'test') for n in (1, 2)]
DID = [(f'test/input/{n}.jpg', f'test/groundtruth/{n}.jpg') for n in (1, 2)]
DDN = [(f'{part}/rainy_image/1_{n}.jpg', f'{part}/ground_truth/1.jpg') for part in ('training', 'testing')
       for n in (1, 14)]
SPA = [(f'real_world/000/000-{n}/000-{n}_0_0.png', 'real_world_gt/000/000_0_0.png') for n in (1, 2)]
SPA_TEST = [(f'real_test_1000/rain/{n:03d}.png', f'real_test_1000/gt/{n:03d}gt.png') for n in (0, 1)]
EVIDENCE = [(f'evidence/{name}_x{scale}', scale, flags) for scale in (2, 4)
            for name, flags in (('T91', ['--size', '64', '--step', '32']), ('Set5', ['--full']), ('BSDS', ['--full']))]
GOPRO = [('train/GOPR0372_07_00/blur/000047.png', 'train/GOPR0372_07_00/sharp/000047.png')]
GOPRO_TEST = [(f'test/GOPR0384_11_00/blur/00000{n}.png', f'test/GOPR0384_11_00/sharp/00000{n}.png') for n in (1, 2)]


def make_all(raw: Path) -> None:
    """Make every set below ``raw``, and what the option files read below ``./datasets``; scripts are on the path."""
    write(raw / 'ITS', ITS, clear=CLEAR_SIDE)
    prepare('its', raw / 'ITS', 'ITS')
    write(raw / 'SOTS', INDOOR, clear=CLEAR_SIDE)
    write(raw / 'SOTS', OUTDOOR)
    prepare('sots', raw / 'SOTS', 'SOTS')
    for name in ('RESIDE-IN', 'RESIDE-OUT', 'RESIDE-6K'):
        write(raw / name, DEHAZEFORMER)
        prepare('dehazeformer', raw / name, name)
    for name, word in (('Rain200L', 'Light'), ('Rain200H', 'Heavy')):
        write(raw / name, [(lq.format(word), gt.format(word)) for lq, gt in RAIN200])
        prepare('rain200', raw / name, name)
    write(raw / 'DID', DID)
    write_halves(raw / 'DID' / 'Rain_Heavy' / 'train2018new')
    prepare('did', raw / 'DID', 'DID')
    write(raw / 'DDN', DDN)
    prepare('ddn', raw / 'DDN', 'DDN')
    write(raw / 'SPA', SPA + SPA_TEST)
    (raw / 'SPA' / 'real_world.txt').write_text(''.join(f'/{lq} /{gt}\n' for lq, gt in SPA))
    (raw / 'SPA' / 'real_test_1000.txt').write_text(''.join(f'/{lq} /{gt}\n' for lq, gt in SPA_TEST))
    prepare('spa', raw / 'SPA', 'SPA')
    write(raw / 'GoPro', GOPRO, (512, 768))
    write(raw / 'GoPro', GOPRO_TEST)
    prepare('gopro', raw / 'GoPro', 'GoPro')
    make_super_resolution(raw / 'HR')
    make_evidence(raw / 'evidence')


def make_super_resolution(raw: Path) -> None:
    """Make the sub-images of DIV2K and of the quick start, and the five test sets."""
    write(raw, [('1.png', '2.png')], (96, 96))
    small = ['--size', '64', '--step', '32']
    for output, scale, flags in (('DIV2K_x2', 2, small), ('DIV2K_x4', 4, small), ('quickstart/train', 2, small),
                                 ('quickstart/val', 2, ['--full']), *EVIDENCE):
        arguments = ['--input', str(raw), '--output', f'datasets/{output}', '--scale', str(scale), '--workers', '1']
        assert import_module('prepare_sr').main([*arguments, *flags]) == 0
    benchmark = raw.with_name('SR benchmark')
    write(benchmark, [('1.png', '2.png')], (48, 60))
    for name in ('Set5', 'Set14', 'B100', 'Urban100', 'Manga109'):
        arguments = ['--input', str(benchmark), '--output', f'datasets/{name}', '--allow-partial', '--workers', '1']
        assert import_module('prepare_sr_benchmarks').main(arguments) == 0


def make_evidence(raw: Path) -> None:
    """Make the pairs of docs/evidence, apart by scene."""
    write(raw, [(f'lq/{scene}_{n}.png', f'gt/{scene}.png') for scene in (1, 2) for n in (1, 2)], (96, 96))
    for name in ('Rain100L', 'SOTS'):
        assert import_module('split_pairs').main([
            '--lq', str(raw / 'lq'), '--gt', str(raw / 'gt'), '--pair-by', 'prefix(_)', '--val', '2', '--size', '48',
            '--output', f'datasets/evidence/{name}']) == 0


@contextmanager
def in_this_process(workers: int, with_torch: bool = False) -> Iterator[ThreadPoolExecutor]:
    """A pool for the scripts without processes, whose start takes longer than all these pictures."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def prepare(script: str, raw: Path, name: str) -> None:
    """Run the script of a published set as its command does; the numbers of images are those of a miniature."""
    module = import_module(f'prepare_{script}')
    published = next(value for value in vars(module).values() if type(value).__name__ == 'PublishedSet')
    arguments = ['--input', str(raw), '--output', f'datasets/{name}', '--allow-partial', '--workers', '1']
    assert module.main(published, '', arguments) == 0


def write(folder: Path, pairs: Pairs, side: tuple[int, int] = SIDE, clear: tuple[int, int] | None = None) -> None:
    """Write pictures under the names of the pairs, inputs of one size and ground truths of another."""
    for seed, pair in enumerate(pairs):
        for name, size in zip(pair, (side, clear or side), strict=True):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture(seed, size))


def write_halves(folder: Path) -> None:
    """Write files with both images side by side."""
    folder.mkdir(parents=True)
    for seed in (0, 1):
        cv2.imwrite(str(folder / f'{seed + 1}.jpg'), picture(seed, (SIDE[0], 2 * SIDE[1])))


def picture(seed: int, size: tuple[int, int]) -> np.ndarray:
    """A smooth picture in colour with some noise, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.uniform(0, 255, (5, 6, 3)), size[::-1], interpolation=cv2.INTER_CUBIC)
    return (smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)
