"""The published sets in miniature: files as they are distributed, and the pairs that they hold, written by hand."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from preparation_oracles import photo

Pixels = np.ndarray


@dataclass
class Miniature:
    """One layout.

    Args:
        script (str): name of the script without suffix, and of its module.
        part (str): the part that it is.
        files (dict[str, ndarray]): relative path -> RGB pixels.
        pairs (list[tuple[str, str]]): paths of every input and of its ground truth.
        texts (dict[str, str]): other files.
        flags (list[str]): more arguments.
    """

    script: str
    part: str
    pairs: list[tuple[str, str]]
    files: dict[str, Pixels] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> Path:
        """Saves everything below a folder and remembers the pixels as they are read back (JPEG changes them)."""
        for name in dict.fromkeys(name for pair in self.pairs for name in pair):
            self.files.setdefault(name, photo(24, 40, seed=len(self.files)))
        for name, pixels in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, **({'quality': 90} if path.suffix == '.jpg' else {}))
            self.files[name] = np.asarray(Image.open(path).convert('RGB'))
        for name, text in self.texts.items():
            (folder / name).write_text(text)
        return folder


def spa_pairs() -> list[tuple[str, str]]:
    return [(f'real_world/{n:03d}/{n:03d}-{f}/{n:03d}-{f}_{x}_0.png', f'real_world_gt/{n:03d}/{n:03d}_{x}_0.png')
            for n in (0, 1) for f in (1, 2) for x in (0, 256)]


def sots_indoor() -> Miniature:
    """Clear images that are larger by 10 pixels at each side."""
    pairs = [(f'indoor/hazy/{n}_{i}.png', f'indoor/clear/{n}.png') for n in (1400, 1401) for i in (1, 2, 10)]
    clear = {gt: photo(44, 60, seed=n) for n, gt in enumerate(sorted({gt for _, gt in pairs}))}
    return Miniature('prepare_sots', 'indoor', pairs, clear)


def miniatures() -> dict[str, Miniature]:
    """Name of the test -> layout."""
    return {
        'ITS': Miniature('prepare_its', 'train', [(f'hazy/{n}_{i}_0.9{i}.png', f'clear/{n}.png')
                                                  for n in (1, 2, 12) for i in (1, 2)]),
        'OTS': Miniature('prepare_ots', 'train', [(f'OTS/hazy/{n:04d}_0.{a}_0.04.jpg', f'OTS/clear/{n:04d}.jpg')
                                                  for n in (25, 250) for a in (8, 85)]),
        'SOTS indoor': sots_indoor(),
        'SOTS outdoor': Miniature('prepare_sots', 'outdoor', [
            (f'SOTS/outdoor/hazy/{n:04d}_0.8_0.{b}.jpg', f'SOTS/outdoor/gt/{n:04d}.png') for n in (1, 2)
            for b in (12, 2)]),
        'DehazeFormer': Miniature('prepare_dehazeformer', 'train', [
            (f'train/hazy/{name}', f'train/GT/{name}') for name in ('1_1_0.9.png', '0025_0.8_0.04.jpg')]),
        'DDN': Miniature('prepare_ddn', 'train', [
            (f'training/rainy_image/{n}_{j}.jpg', f'training/ground_truth/{n}.jpg') for n in (1, 11)
            for j in (1, 2, 14)]),
        'DDN of IDT': Miniature('prepare_ddn', 'test', [
            (f'test/input/{n}_{j}.jpg', f'test/groundtruth/{n}.jpg') for n in (901, 902) for j in (1, 14)]),
        'DID of IDT': Miniature('prepare_did', 'train', [(f'train/input/{n}.jpg', f'train/groundtruth/{n}.jpg')
                                                         for n in (1, 2, 10)]),
        'Rain200 raw': Miniature('prepare_rain200', 'train', [
            (f'rain_data_train_Heavy/rain/X2/norain-{n}x2.png', f'rain_data_train_Heavy/norain/norain-{n}.png')
            for n in (1, 2, 10)]),
        'Rain200 flat': Miniature('prepare_rain200', 'test', [
            (f'test/rain/norain-{n}x2.png', f'test/norain/norain-{n}.png') for n in (1, 2)]),
        'Rain200 with equal names': Miniature('prepare_rain200', 'test', [
            (f'rain_data_test_Light/rain/norain-{n}.png', f'rain_data_test_Light/norain/norain-{n}.png')
            for n in (1, 2)]),
        'Rain200 of IDT': Miniature('prepare_rain200', 'train', [
            (f'train/input/rain-{n}.png', f'train/groundtruth/norain-{n}.png') for n in (1, 2, 10)]),
        'Rain200 of DRSformer': Miniature('prepare_rain200', 'test', [
            (f'test/input/{n}.png', f'test/target/{n}.png') for n in (1, 2)]),
        'SPA-Data': Miniature('prepare_spa', 'train', spa_pairs(), texts={
            'real_world.txt': ''.join(f'/{lq} /{gt}\n' for lq, gt in spa_pairs())}),
        'SPA-Data test': Miniature('prepare_spa', 'test', [
            (f'real_test_1000/rain/{n:03d}.png', f'real_test_1000/gt/{n:03d}gt.png') for n in (0, 1)], texts={
                'real_test_1000.txt': '/rain/000.png /gt/000gt.png\n/real_test_1000/rain/001.png gt/001gt.png\n'}),
        'SPA-Data of IDT': Miniature('prepare_spa', 'train', [(f'train/input/{n}.png', f'train/groundtruth/{n}.png')
                                                              for n in (1, 2, 10)]),
        'AGAN': Miniature('prepare_agan', 'train', [(f'train/data/{n}_rain.png', f'train/gt/{n}_clean.png')
                                                    for n in (0, 1, 10)]),
        'AGAN test': Miniature('prepare_agan', 'test_b', [(f'test_b/data/{n}_rain.jpg', f'test_b/gt/{n}_clean.jpg')
                                                          for n in (0, 1)]),
        'GoPro test raw': Miniature('prepare_gopro', 'test', [
            (f'test/{scene}/blur/{n:06d}.png', f'test/{scene}/sharp/{n:06d}.png') for scene in ('GOPR0384_11_00', 'G_2')
            for n in (1, 47)], files={'test/G_2/blur_gamma/000001.png': photo(24, 40, 99)}),
        'GoPro test of NAFNet': Miniature('prepare_gopro', 'test', [
            (f'test/input/G1-{n:06d}.png', f'test/target/G1-{n:06d}.png') for n in (1, 2)]),
    }
