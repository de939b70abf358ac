"""What training recipes need beyond BasicSR: ``train.grad_clip`` and a plain cosine as ``train.scheduler``."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcir_plugin.config.errors import ConfigError, raise_if_any
from mcir_plugin.config.kinds import Choice, Many, Number, Text
from mcir_plugin.config.schema import option, parse_block

CLIP_KEY = 'grad_clip'
COSINE_NAMES = ('CosineAnnealingLR', 'TrueCosineAnnealingLR')  # torch's name, and that of NAFNet's and MCIR's files


@dataclass(frozen=True)
class ClipOptions:
    """The norm of the gradient is bounded before every optimizer step; it is logged as grad_norm."""

    max_norm: float = option(0.01, 'Largest norm of the gradient over all parameters of an optimizer. Required; '
                             'NAFNet: 0.01.', Number(above=0), 'none')
    norm_type: float = option(2., 'Order of the norm.', Number(above=0))
    networks: tuple[str, ...] = option(('net_g', ), 'Networks whose gradients are clipped, each on its own.',
                                       Many(Text('the name of a network that is trained, such as net_g')))

    @staticmethod
    def check(given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        if 'max_norm' not in given:
            yield f'{where}.max_norm: the option file must give it. NAFNet was trained with 0.01'

    @staticmethod
    def complete(given: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor arguments, ``networks`` always a tuple."""
        networks = given.get('networks')
        return {**given, 'networks': (networks, )} if isinstance(networks, str) else given


@dataclass(frozen=True)
class CosineOptions:
    """The cosine of torch, without restarts, also after a warm-up and in a resumed run."""

    type: str = option(COSINE_NAMES[0], 'Name of the scheduler.', Choice(COSINE_NAMES))
    T_max: int = option(1, 'Changes of the learning rate from its initial value to eta_min; beyond them it rises '
                        'again. Required.', Number(1, integer=True), 'none')
    eta_min: float = option(0., 'Lowest learning rate.', Number(minimum=0))
    interval: int = option(1, 'Iterations between two changes; those of an epoch for a cosine per epoch.',
                           Number(1, integer=True))

    @staticmethod
    def check(given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        if 'T_max' not in given:
            yield f'{where}.T_max: the option file must give it, usually as train.total_iter'


@dataclass(frozen=True)
class RecipeConfig:
    """What an option file asks for.

    Attributes:
        clip (ClipOptions | None): Bound of the gradient.
        cosine (CosineOptions | None): The scheduler, if it is one of this package.
        notes (tuple[str, ...]): What the user should know, to be logged once.
    """

    clip: ClipOptions | None
    cosine: CosineOptions | None
    notes: tuple[str, ...] = ()


def read_recipe(opt: Mapping[str, Any]) -> RecipeConfig:
    """Read ``train.grad_clip`` and ``train.scheduler``. The options are not modified.

    Args:
        opt (Mapping): The options of the whole run.

    Raises:
        ConfigError: If something in the two blocks is wrong. All problems are reported at once.
    """
    train = opt.get('train')
    train = train if isinstance(train, Mapping) else {}
    problems: list[str] = []
    clip = _parsed(ClipOptions, train, CLIP_KEY, problems)
    cosine = _parsed(CosineOptions, train, 'scheduler', problems) if _is_cosine(train.get('scheduler')) else None
    raise_if_any(problems)
    return RecipeConfig(clip, cosine, tuple(_rises(cosine, train.get('total_iter'))))


def _parsed(cls: type, train: Mapping[str, Any], key: str, problems: list[str]) -> Any:
    if train.get(key) is None:
        return None
    try:
        return parse_block(cls, train[key], f'train.{key}')
    except ConfigError as error:
        problems += error.problems
    return None


def _is_cosine(block: Any) -> bool:
    return isinstance(block, Mapping) and block.get('type') in COSINE_NAMES


def _rises(cosine: CosineOptions | None, total_iter: Any) -> Iterator[str]:
    """Yield a note if the learning rate would rise again within the run, as it does in some published settings."""
    if cosine is None or not isinstance(total_iter, int):
        return
    lowest = cosine.T_max * cosine.interval
    if lowest + cosine.interval < total_iter:
        yield (f'train.scheduler.T_max is {cosine.T_max}: the learning rate is lowest at iteration {lowest + 1} and '
               f'then rises again, reaching its initial value at {2 * lowest + 1} (total_iter is {total_iter}). '
               'That is how torch defines it')
