"""Histories by name: ``train.history_opt.preset`` fills in what the options of the history do not give."""
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

PUBLISHED, OURS = 'published', 'ours'


@dataclass(frozen=True)
class Value:
    """One option of a preset.

    Attributes:
        value (Any): As it is after parsing.
        mark (str): ``published`` or ``ours``.
        source (str): Where it is from, or why it is so.
    """

    value: Any
    mark: str
    source: str


_PAPER = 'MCIR (AAAI 2024), configuration of FFA-Net on RESIDE'
_RELEASE = 'release of MCIR'
_DCKD = 'DCKD (AAAI 2025)'
_DCKD_RELEASE = 'release of DCKD'
_SEC = 'SEC-Depth (AAAI 2026)'
_AT_LESS_COST = 'no measurable difference from paper at a fraction of its cost, see docs/evidence'
_NOISE = {'type': 'noise', 'noise_sigma': (1., 30.), 'gray_prob': 0.5, 'with_input': True, 'clip': True}

PRESETS: dict[str, dict[str, Value]] = {
    'paper': {
        'update_iter': Value((100, 200, 500, 1000), PUBLISHED, _PAPER),
        'decay': Value(0.1, PUBLISHED, _PAPER),
        'init_noise': Value(0.1, PUBLISHED, _PAPER),
        'refresh': Value({'type': 'periodic'}, PUBLISHED, _PAPER),
        'negatives_per_iter': Value('all', PUBLISHED, _PAPER),
        'interval': Value(1, PUBLISHED, _PAPER),
        'start_iter': Value(0, PUBLISHED, _PAPER),
        'warmup_iter': Value(0, PUBLISHED, _PAPER),
    },
    'light': {
        'update_iter': Value((100, 200, 500, 1000), PUBLISHED, _PAPER),
        'decay': Value(0.1, PUBLISHED, _PAPER),
        'init_noise': Value(0.1, PUBLISHED, _PAPER),
        'negatives_per_iter': Value(1, OURS, _AT_LESS_COST),
        'interval': Value(10, OURS, _AT_LESS_COST),
    },
    'paper_adaptive': {
        'refresh': Value({'type': 'residual_std', 'threshold': 0.022}, PUBLISHED, _RELEASE),
        'decay': Value(0.001, PUBLISHED, _RELEASE),
        'num_negatives': Value(4, OURS, 'as with fixed intervals'),
        'init_noise': Value(0.1, OURS, 'as with fixed intervals'),
    },
    'dckd': {
        'degrade': Value(_NOISE, PUBLISHED, f'{_DCKD}; gray_prob, with_input and clip: its release'),
        'num_negatives': Value(5, PUBLISHED, f'{_DCKD}: the input and four noisy copies'),
        'decay': Value(0.1, PUBLISHED, _DCKD),
        'init_noise': Value(0., PUBLISHED, _DCKD_RELEASE),
        'refresh': Value({'type': 'staged', 'intervals': (1000, 2000, 3000), 'stage_iter': 100_000}, PUBLISHED,
                         f'{_DCKD}; stage_iter: its release'),
    },
    'sec': {
        'refresh': Value({'type': 'diversity', 'threshold': 0.3, 'window': 50, 'max_iter': 1000}, OURS,
                         f'{_SEC} names the rule, not its numbers'),
        'negatives_per_iter': Value(1, PUBLISHED, _SEC),
        'interval': Value(10, OURS, f'{_SEC} tries 1, 5, 10 and 20'),
        'num_negatives': Value(4, OURS, 'as in the paper of MCIR'),
        'warmup_iter': Value(1000, OURS, f'{_SEC} warms up; its length is not known to us'),
    },
}


def preset_values(name: str | None) -> dict[str, Any]:
    """Return the options of a preset, none for None."""
    return {key: deepcopy(entry.value) for key, entry in PRESETS[name].items()} if name else {}
