"""How far apart the protocols of docs/protocols.md are on the same images, as two Markdown tables.

    python scripts/protocol_table.py        # photographs in the scikit-image wheel, with made-up errors
    python scripts/protocol_table.py --result results/x/visualization/Set5 --gt datasets/Set5/HR --suffix _x

Nothing is downloaded. Images of folders have been rounded to 8 bits when
they were saved, so on them the protocols of float images cannot differ from those of rounded ones.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
from tqdm import tqdm

import mcir_plugin  # noqa: F401  (first: it repairs the import of basicsr)

# isort: split
from basicsr.metrics import calculate_psnr, calculate_ssim

from mcir_plugin.data import IMAGE_SUFFIXES
from mcir_plugin.errors import McirError
from mcir_plugin.metrics import PROTOCOLS

sys.path.insert(0, str(Path(__file__).with_name('data_preparation')))
from new_folder import PreparationError  # noqa: E402
from skimage_photos import wheel_folder  # noqa: E402

Image = np.ndarray
Pair = tuple[Image, Image]  # output and ground truth: float, RGB, the output not rounded
PHOTOGRAPHS = ('astronaut.png', 'chelsea.png', 'coffee.png', 'motorcycle_left.png')
BORDER = 4
HOST = {  # what BasicSR brings: calculate_psnr and calculate_ssim on 8-bit BGR images
    'BasicSR psnr, RGB': lambda *pair: calculate_psnr(*pair, crop_border=0),
    'BasicSR psnr, Y': lambda *pair: calculate_psnr(*pair, crop_border=0, test_y_channel=True),
    f'BasicSR psnr, Y, border {BORDER}': lambda *pair: calculate_psnr(*pair, crop_border=BORDER, test_y_channel=True),
    'BasicSR ssim, RGB': lambda *pair: calculate_ssim(*pair, crop_border=0),
    'BasicSR ssim, Y': lambda *pair: calculate_ssim(*pair, crop_border=0, test_y_channel=True),
    f'BasicSR ssim, Y, border {BORDER}': lambda *pair: calculate_ssim(*pair, crop_border=BORDER, test_y_channel=True),
}
ALTERNATIVES = (  # a published protocol, and what is often computed instead
    ('psnr_rgb_float', 'BasicSR psnr, RGB'),
    ('psnr_y_rounded', 'BasicSR psnr, Y'),
    ('psnr_y_rounded', 'psnr_rgb_rounded'),
    ('psnr_luma_rounded', 'psnr_y_rounded'),
    (f'BasicSR psnr, Y, border {BORDER}', 'BasicSR psnr, Y'),
    (f'BasicSR psnr, Y, border {BORDER}', 'psnr_rgb_rounded'),
    ('ssim_rgb_zero_padded', 'BasicSR ssim, RGB'),
    ('ssim_rgb_pooled', 'ssim_rgb_zero_padded'),
    ('ssim_rgb_pooled', 'BasicSR ssim, RGB'),
    ('ssim_rgb_3d', 'BasicSR ssim, RGB'),
    ('ssim_y_rounded', 'BasicSR ssim, Y'),
    ('ssim_y_rounded', 'BasicSR ssim, RGB'),
    ('ssim_luma_uniform', 'ssim_y_rounded'),
    (f'BasicSR ssim, Y, border {BORDER}', 'BasicSR ssim, Y'),
)


class TableError(McirError):
    """Folders that cannot be compared."""


def noise(sigma: float) -> Callable[[Image, np.random.Generator], Image]:
    """Independent errors with this standard deviation in grey levels."""
    return lambda image, rng: image + rng.normal(0, sigma / 255, image.shape)


def streaks(image: Image, rng: np.random.Generator) -> Image:
    """Bright diagonal lines of 15 pixels, as of rain that was left over, on about 1 pixel in 20."""
    seeds = (rng.random(image.shape[:2]) < 1 / 300).astype(np.float64)
    lines = cv2.filter2D(seeds, -1, np.eye(15)).clip(0, 1)[..., None]
    return image + 0.08 * lines * (1 - image)


def veil(image: Image, rng: np.random.Generator) -> Image:
    """A smooth error in brightness, as of haze that was left over."""
    coarse = rng.normal(0, 0.02, (4, 5, 1))
    return image + cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]


def blur(image: Image, rng: np.random.Generator) -> Image:
    """A Gaussian of 0.8 pixels: details that were not restored."""
    return cv2.GaussianBlur(image, (0, 0), 0.8)


ERRORS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    'noise 1': noise(1), 'noise 4': noise(4), 'streaks': streaks, 'veil': veil, 'blur': blur}


def read(path: Path) -> Image:
    """Read an image: RGB in [0, 1].

    Raises:
        TableError: If it cannot be read.
    """
    image = cv2.imread(str(path))
    if image is None:
        raise TableError(f'{path} cannot be read as an image.')
    return image[..., ::-1] / 255


def made_up() -> dict[str, list[Pair]]:
    """Return the photographs with every error, by its name."""
    images = [read(wheel_folder() / name) for name in PHOTOGRAPHS]
    return {name: [(damage(image, np.random.default_rng(i)), image) for i, image in enumerate(images)]
            for name, damage in ERRORS.items()}


def from_folders(result: Path, gt: Path, suffix: str) -> dict[str, list[Pair]]:
    """Return the images of two folders, paired by name.

    Raises:
        TableError: If a folder has no images, or an output no ground truth.
    """
    outputs, truths = ({path.stem: path for path in sorted(folder.glob('*')) if path.suffix.lower() in IMAGE_SUFFIXES}
                       for folder in (result, gt))
    if not outputs:
        raise TableError(f'--result {result} has no images.')
    names = {name: name.removesuffix(suffix) for name in outputs}
    lost = [name for name, partner in names.items() if partner not in truths]
    if lost:
        raise TableError(f'--gt {gt} has no image for {len(lost)} of {len(outputs)} outputs, such as {lost[0]}. '
                         'BasicSR adds the name of the run to those of its images: --suffix _NAME takes it off.')
    return {f'{len(names)} images': [(read(outputs[name]), read(truths[partner])) for name, partner in names.items()]}


def values(output: Image, gt: Image) -> Iterator[tuple[str, float]]:
    """Yield every protocol and its value for one pair."""
    floats = output, gt
    rounded = tuple(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8) for image in floats)
    for name, protocol in PROTOCOLS.items():
        yield name, protocol(*(floats if protocol.takes_float else rounded))
    for name, metric in HOST.items():
        yield name, float(metric(*(image[..., ::-1] for image in rounded)))


def means(cases: Mapping[str, list[Pair]]) -> dict[str, dict[str, float]]:
    """Return the mean of every protocol over the images of every case."""
    found: dict[str, dict[str, float]] = {}
    with tqdm(total=sum(map(len, cases.values())), unit='image', disable=None) as bar:
        for case, pairs in cases.items():
            rows = []
            for pair in pairs:
                rows.append(dict(values(*pair)))
                bar.update()
            found[case] = {name: fmean(row[name] for row in rows) for name in rows[0]}
    return found


def tables(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the two Markdown tables: values, and alternatives minus protocols."""
    names = [*PROTOCOLS, *HOST]
    head = '| ' + ' | '.join(found) + ' |\n' + '|---' * (len(found) + 1) + '|\n'
    value = ''.join(_row(name, [_text(name, case[name]) for case in found.values()]) for name in names)
    gap = ''.join(_row(f'{other} for {name}', [_text(name, case[other] - case[name], '+') for case in found.values()])
                  for name, other in ALTERNATIVES)
    return f'| value {head}{value}\n| difference {head}{gap}'


def _row(title: str, cells: list[str]) -> str:
    return f'| {title} | ' + ' | '.join(cells) + ' |\n'


def _text(name: str, value: float, sign: str = '') -> str:
    return format(value, f'{sign}.2f' if 'psnr' in name else f'{sign}.4f')


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 2 if the images cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--result', type=Path, help='folder of outputs; without it, photographs with made-up errors')
    parser.add_argument('--gt', type=Path, help='folder of ground truths')
    parser.add_argument('--suffix', default='', help='what the names of the outputs have at their end, such as _NAME')
    args = parser.parse_args(arguments)
    if (args.result is None) != (args.gt is None):
        parser.error('--result and --gt go together')
    try:
        found = means(from_folders(args.result, args.gt, args.suffix) if args.result else made_up())
    except (McirError, PreparationError) as error:
        print(f'protocol_table: {error}', file=sys.stderr)
        return 2
    sys.stdout.write(tables(found))
    return 0


if __name__ == '__main__':
    sys.exit(main())
