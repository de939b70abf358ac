"""Options about images that cannot be used as they are, read from the block of any data set."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mcir_plugin.config.errors import raise_if_any
from mcir_plugin.config.kinds import Flag, Maybe, Number
from mcir_plugin.config.schema import option, parse_block


@dataclass(frozen=True)
class BadImageOptions:
    """Read by every data set, those of BasicSR and of other packages included."""

    max_bad_images: int = option(0, 'So many different images may be unusable (missing, damaged, of a wrong size) '
                                 'before training fails; until then each is reported and another one takes its place. '
                                 'Training only.', Number(0, integer=True))
    allow_grey: bool | None = option(None, 'Grey images are taken, with three equal channels, as BasicSR does it. ~ is '
                                     'false in training and true in a validation, since published test sets hold '
                                     'some.', Maybe(Flag()))
    allow_16bit: bool = option(False, 'Images with more than 8 bits per channel are taken; BasicSR keeps the upper 8.',
                               Flag())


NAMES = tuple(definition.name for definition in fields(BadImageOptions))


def read_bad_image_options(block: Mapping[str, Any], where: str, is_train: bool) -> BadImageOptions:
    """Read these options from the block of a data set; all others are left alone.

    Args:
        block (Mapping): The block.
        where (str): Its option path.
        is_train (bool): Whether it is a training set.

    Raises:
        ConfigError: For everything that is wrong, at once.
    """
    options = parse_block(BadImageOptions, {name: block[name] for name in NAMES if name in block}, where)
    raise_if_any([f'{where}.max_bad_images: received {options.max_bad_images}, but a mean over other images than the '
                  'given ones would be wrong. Remove it; it is for training sets'] *
                 bool(options.max_bad_images and not is_train))
    grey = options.allow_grey if options.allow_grey is not None else not is_train
    return BadImageOptions(options.max_bad_images, grey, options.allow_16bit)
