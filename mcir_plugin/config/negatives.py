"""Options of what negatives are made from, and of what else they are used for."""
from dataclasses import dataclass

from mcir_plugin.config.kinds import Choice, Flag, Maybe, Number
from mcir_plugin.config.schema import option
from mcir_plugin.config.variants import Range

_NAME = 'Name of the degradation.'
_WITH_INPUT = 'The first negative is made from the input itself; all others from degraded copies.'
_CLIP = 'Clip degraded images to [0, 1]. Switch it off where the data set normalises inputs (mean, std).'
_SIGMA = 'Range of the standard deviation of the noise, in units of 1/255; drawn for each image.'
_GRAY = 'Share of the images whose noise is equal in all channels.'
_BLUR = 'Range of the standard deviation of the Gaussian blur, in pixels; drawn for each image and axis.'
_SCALE = 'Range of the factor; the image is resized by it and back. Drawn for the batch.'
_PIXELS = Range(Number(above=0))


@dataclass(frozen=True)
class NoiseOptions:
    """Gaussian noise, as DCKD (AAAI 2025) uses it for super-resolution: sigma published, the rest from its release."""

    type: str = option('noise', _NAME, Choice(('noise', )))
    noise_sigma: tuple[float, float] = option((1., 30.), _SIGMA, Range(Number(0, 255)))
    gray_prob: float = option(0.5, _GRAY, Number(0, 1))
    with_input: bool = option(True, _WITH_INPUT, Flag())
    clip: bool = option(True, _CLIP, Flag())


@dataclass(frozen=True)
class BlurOptions:
    """Gaussian blur, with the range of DCKD's release."""

    type: str = option('blur', _NAME, Choice(('blur', )))
    blur_sigma: tuple[float, float] = option((0.1, 2.), _BLUR, _PIXELS)
    with_input: bool = option(True, _WITH_INPUT, Flag())
    clip: bool = option(True, _CLIP, Flag())


@dataclass(frozen=True)
class ResizeOptions:
    """Resizing and back, by area, bilinear or bicubic interpolation, with the range of DCKD's release."""

    type: str = option('resize', _NAME, Choice(('resize', )))
    scale: tuple[float, float] = option((0.5, 1.5), _SCALE, _PIXELS)
    with_input: bool = option(True, _WITH_INPUT, Flag())
    clip: bool = option(True, _CLIP, Flag())


@dataclass(frozen=True)
class MixOptions:
    """Blur, resizing, noise and resizing back, one after the other, in the order of DCKD's release."""

    type: str = option('mix', _NAME, Choice(('mix', )))
    noise_sigma: tuple[float, float] = option((1., 30.), _SIGMA, Range(Number(0, 255)))
    gray_prob: float = option(0.5, _GRAY, Number(0, 1))
    blur_sigma: tuple[float, float] = option((0.1, 2.), _BLUR, _PIXELS)
    scale: tuple[float, float] = option((0.5, 1.5), _SCALE, _PIXELS)
    with_input: bool = option(True, _WITH_INPUT, Flag())
    clip: bool = option(True, _CLIP, Flag())


DEGRADE_BLOCKS: dict[str, type] = {
    'noise': NoiseOptions,
    'blur': BlurOptions,
    'resize': ResizeOptions,
    'mix': MixOptions,
}


@dataclass(frozen=True)
class UncertaintyOptions:
    """The pixel criterion is weighted by the spread of the negatives. Announced by the authors; the formula is ours."""

    strength: float = option(0.5, 'Share of the weight that is moved to pixels on which the negatives differ.',
                             Number(above=0, maximum=1))
    limit: float = option(10., 'Largest spread of a pixel that counts, as a multiple of the mean of the image.',
                          Number(above=1))
    visualize_iter: int | None = option(None, 'A picture of the weight is written every so many iterations. ~ is '
                                        'val.val_freq.', Maybe(Number(1, integer=True)))
