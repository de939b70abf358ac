"""What this package adds to ``logger``: how many checkpoints are kept."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from mcir_plugin.config.kinds import Maybe, Number
from mcir_plugin.config.schema import option, parse_block

_COUNT = Maybe(Number(1, integer=True))


@dataclass(frozen=True)
class RetentionOptions:
    """``logger.keep_last`` and ``logger.keep_every``, beside ``save_checkpoint_freq``: which checkpoints stay.

    A checkpoint is a training state and the network files of its iteration. The newest one that is complete and
    undamaged always stays; ``*_latest.pth`` is not touched.
    """

    keep_last: int | None = option(None, 'Newest checkpoints that are kept; older ones are deleted after every save. '
                                   '~ keeps all.', _COUNT)
    keep_every: int | None = option(None, 'Those whose iteration is a multiple of this are kept as well.', _COUNT)

    @staticmethod
    def check(given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        if given.get('keep_every') is not None and given.get('keep_last') is None:
            yield (f'{where}.keep_every: received {given["keep_every"]}, but without keep_last every checkpoint is '
                   'kept anyway. Add keep_last, or remove keep_every')


def read_retention(opt: Mapping[str, Any]) -> RetentionOptions:
    """Read ``logger.keep_last`` and ``logger.keep_every``. The options are not modified.

    Args:
        opt (Mapping): The options of the whole run.

    Raises:
        ConfigError: If one of the two is wrong.
    """
    logger = opt.get('logger')
    names = {definition.name for definition in fields(RetentionOptions)}
    given = {name: value for name, value in logger.items() if name in names} if isinstance(logger, Mapping) else {}
    return parse_block(RetentionOptions, given, 'logger')


def retention_notes(opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield a note if checkpoints that keep_every asks for are not written at all."""
    every, freq = read_retention(opt).keep_every, opt['logger'].get('save_checkpoint_freq')
    if every and isinstance(freq, int | float) and freq >= 1 and every % freq:
        yield (f'logger.keep_every is {every}, but checkpoints are written every {freq:g} iterations: only those that '
               'are multiples of both are kept by it')
