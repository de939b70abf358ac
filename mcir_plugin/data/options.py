"""The typed option block of ``PairedRestorationDataset``."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from mcir_plugin.config.errors import ConfigError, did_you_mean, raise_if_any, show
from mcir_plugin.config.kinds import Choice, Flag, Many, Maybe, Number, Text, refuse
from mcir_plugin.config.schema import default_of, option, parse_block
from mcir_plugin.data.bad_images import NAMES as BAD_IMAGES
from mcir_plugin.data.rules import ALLOWED, SAME_NAME, read_rule

# what BasicSR's loop, its loaders and its samplers, and the watch around every data set, read from the same block
HOST_OPTIONS = ('name', 'type', 'phase', 'num_worker_per_gpu', 'batch_size_per_gpu', 'dataset_enlarge_ratio',
                'use_shuffle', 'prefetch_mode', 'num_prefetch_queue', 'pin_memory', 'persistent_workers', *BAD_IMAGES)
TRAINING_ONLY = ('use_hflip', 'use_rot', 'use_rot90', 'use_quarter_flip', 'edge_decay', 'sampling', 'crops_per_image')
_COLOR_CHANNELS = {'rgb': 3, 'y': 1}


@dataclass(frozen=True)
class PairBy:
    """Kind of an option: a rule of `mcir_plugin.data.rules`."""

    def describe(self) -> str:
        """Return the allowed values in words."""
        return ALLOWED

    def parse(self, value: Any, where: str) -> str:
        """Return the rule's text."""
        if not isinstance(value, str):
            raise refuse(value, where, self)
        return read_rule(value, where).text


@dataclass(frozen=True)
class FileTemplate:
    """Kind of an option: BasicSR's ``filename_tmpl``, the name of the input from that of the ground truth."""

    def describe(self) -> str:
        """Return the allowed values in words."""
        return "BasicSR's template of the input's name with one {} for that of the ground truth, such as '{}x2'"

    def parse(self, value: Any, where: str) -> str:
        """Return the template."""
        if not isinstance(value, str) or value.count('{}') != 1 or any(c in value.replace('{}', '') for c in '{}'):
            raise refuse(value, where, self)
        return value


@dataclass(frozen=True)
class Backend:
    """Kind of an option: ``io_backend``."""

    def describe(self) -> str:
        """Return the allowed values in words."""
        return '{type: disk} for folders of images or {type: lmdb}'

    def parse(self, value: Any, where: str) -> str:
        """Return the type."""
        if not isinstance(value, Mapping) or 'type' not in value:
            raise refuse(value, where, self)
        unknown = [name for name in value if name != 'type']
        if unknown:
            raise ConfigError(f'{where}.{unknown[0]}: received {show(value[unknown[0]])}, but there is no such option'
                              f'{did_you_mean(unknown[0], ("type", ))}. Options here: type')
        return Choice(('disk', 'lmdb')).parse(value['type'], f'{where}.type')


_PIXELS = Number(1, integer=True)


@dataclass(frozen=True)
class PairedRestorationOptions:
    """Which images, how they pair, how they are cropped and augmented."""

    dataroot_gt: str = option('', 'Folder or .lmdb folder of the ground truths. Required.', Text('a folder'), 'none')
    dataroot_lq: str = option('', 'Folder or .lmdb folder of the inputs. Required.', Text('a folder'), 'none')
    io_backend: str = option('disk', 'disk for folders, with sub-folders; lmdb for LMDBs in the layout of BasicSR.',
                             Backend(), '{type: disk}')
    pair_by: str = option(SAME_NAME, 'Which ground truth belongs to which input, by their names without suffix. Many '
                          'inputs may share one.', PairBy())
    pair_list: str | None = option(None, 'Text file with one pair per line, input first, instead of pair_by.',
                                   Maybe(Text('a text file')))
    filename_tmpl: str | None = option(None, "BasicSR's template of the input's name, instead of pair_by.",
                                       Maybe(FileTemplate()))
    allow_unused_gt: bool = option(False, 'Ground truths without an input are no error.', Flag())
    max_center_crop: int = option(0, 'Pixels that may be cut off at each side of a ground truth which is larger than '
                                  'its input (RESIDE: 10).', Number(0, integer=True))
    scale: int = option(1, 'Factor between gt and lq. BasicSR takes it from the top of the file.', _PIXELS)
    gt_size: int | None = option(None, 'Side of the crops in pixels of the ground truth: random in training, the '
                                 'centre in validation. ~ leaves images whole.', Maybe(_PIXELS))
    edge_decay: float = option(0., 'Crops are pushed to a border with probability edge_decay * crop / side, on each '
                               'axis (DehazeFormer).', Number(0, 1))
    use_hflip: bool = option(False, 'Flip left and right, with probability 1/2.', Flag())
    use_rot: bool = option(False, 'Flip up and down and transpose, each with probability 1/2, as in BasicSR.', Flag())
    use_rot90: bool = option(False, 'Rotate by 0, 90, 180 or 270 degrees, each with probability 1/4. With use_hflip '
                             'the recipe of FFA-Net, which draws the same eight views as use_hflip with use_rot.',
                             Flag())
    use_quarter_flip: bool = option(False, 'Flip up and down with probability 1/4, or else left and right with 1/4 '
                                    '(IDT).', Flag())
    sampling: str = option('epochs', 'epochs: every image once per epoch. iid: every sample drawn anew from all '
                           'images, as in FFA-Net.', Choice(('epochs', 'iid')))
    crops_per_image: int = option(1, 'So many samples in a row are crops of one image, which is decoded once. A '
                                  'batch then holds that many times fewer images.', _PIXELS)
    color: str = option('rgb', 'rgb, or y for the luma (ITU-R BT.601) alone.', Choice(tuple(_COLOR_CHANNELS)))
    mean: tuple[float, ...] | None = option(None, 'Subtracted from both images, per channel. Needs std.',
                                            Maybe(Many(Number())))
    std: tuple[float, ...] | None = option(None, 'Divides both images afterwards, per channel. Needs mean.',
                                           Maybe(Many(Number(above=0))))

    @staticmethod
    def check(given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        full = {**{definition.name: default_of(definition) for definition in fields(PairedRestorationOptions)}, **given}
        for name in ('dataroot_gt', 'dataroot_lq'):
            if not full[name]:
                yield f'{where}.{name}: the option file must give it'
        rules = [name for name in ('pair_by', 'pair_list', 'filename_tmpl') if given.get(name) is not None]
        if len(rules) > 1:
            yield f'{where}.{rules[1]}: {rules[0]} says already which images belong together. Remove one of the two'
        yield from _augmentation_problems(full, where)
        yield from _size_problems(full, where)
        for text in _normalisation_problems(full):
            yield f'{where}.{text}'


def read_dataset_options(opt: Mapping[str, Any]) -> PairedRestorationOptions:
    """Read the block of a data set; what BasicSR's loop reads from it is left alone.

    Args:
        opt (Mapping): The block, with ``phase`` as BasicSR sets it.

    Raises:
        ConfigError: For everything that is wrong, at once.
    """
    where = block_name(opt)
    block = {name: value for name, value in opt.items() if name not in HOST_OPTIONS}
    options = parse_block(PairedRestorationOptions, block, where)
    if opt['phase'] != 'train':
        idle = [definition.name for definition in fields(PairedRestorationOptions)
                if definition.name in TRAINING_ONLY and getattr(options, definition.name) != default_of(definition)]
        raise_if_any(f'{where}.{name}: has no effect in validation. Remove it' for name in idle)
    raise_if_any(_batch_problems(options, opt.get('batch_size_per_gpu'), where))
    return options


def block_name(opt: Mapping[str, Any]) -> str:
    """Return how errors name a data set: its phase, and its name if it has one."""
    name = opt.get('name')
    return f'datasets.{opt["phase"]}' + (f' ({name})' if name else '')


def _augmentation_problems(full: dict[str, Any], where: str) -> Iterator[str]:
    if full['use_quarter_flip']:
        for name in ('use_hflip', 'use_rot', 'use_rot90'):
            if full[name]:
                yield f'{where}.{name}: use_quarter_flip is a complete recipe. Remove one of the two'
    if full['use_rot'] and full['use_rot90']:
        yield f'{where}.use_rot90: use_rot rotates already. Remove one of the two'
    for name in ('edge_decay', 'crops_per_image'):
        if full[name] != getattr(PairedRestorationOptions, name) and full['gt_size'] is None:
            yield f'{where}.{name}: has no effect without gt_size, since whole images are used. Remove it'


def _batch_problems(options: PairedRestorationOptions, batch: Any, where: str) -> Iterator[str]:
    crops = options.crops_per_image
    if isinstance(batch, int) and batch % crops:
        yield (f'{where}.crops_per_image: received {crops}, must divide batch_size_per_gpu ({batch}): all crops of an '
               'image come into one batch')


def _size_problems(full: dict[str, Any], where: str) -> Iterator[str]:
    size, scale = full['gt_size'], full['scale']
    if size is not None and size % scale:
        yield (f'{where}.gt_size: received {size}, must be a multiple of scale ({scale}). '
               f'Use {size // scale * scale or scale}')


def _normalisation_problems(full: dict[str, Any]) -> Iterator[str]:
    if (full['mean'] is None) != (full['std'] is None):
        given, other = ('mean', 'std') if full['std'] is None else ('std', 'mean')
        yield f'{other}: must be given with {given}'
        return
    for name in ('mean', 'std'):
        numbers = full[name]
        channels = _COLOR_CHANNELS[full['color']]
        count = len(numbers) if isinstance(numbers, tuple) else 1
        if numbers is not None and count not in (1, channels):
            yield f'{name}: received {count} numbers for {channels} channel(s). Give one, or one per channel'
