"""Which ground truth belongs to which input: the rules behind the option ``pair_by``.

A rule maps the name of an input to the name of its ground truth, both without suffix, so that many inputs may share one
ground truth and the suffixes may differ:

    same_name                   1400.png        -> 1400
    prefix(_)                   1400_3.png      -> 1400           the text before the first _
    '{}x2 -> {}'                norain-7x2.png  -> norain-7
    'rain-{} -> norain-{}'      rain-7.png      -> norain-7
    '{a}-{*}_{b} -> {a}_{b}'    005-31_0_9.png  -> 005_0_9
"""
from __future__ import annotations

import re
from dataclasses import dataclass, field

from mcir_plugin.config.errors import ConfigError, did_you_mean, show

SAME_NAME = 'same_name'
ARROW = '->'
ALLOWED = ("same_name, prefix(_) for the text before the first _, or a template of both names such as "
           "'{}x2 -> {}' or 'rain-{} -> norain-{}'")
_CALL = re.compile(r"prefix\(\s*(?:'([^']+)'|\"([^\"]+)\"|([^'\"()\s]+))\s*\)")
_FIELD = re.compile(r'\{([^{}]*)\}')


@dataclass(frozen=True)
class PairRule:
    """A rule from the name of an input to the name of its ground truth.

    Args:
        text (str): The rule as written in the option file.
        pattern (re.Pattern): What a whole name must match.
        template (str): The name of the ground truth, a format string with the groups of the pattern.
    """

    text: str
    pattern: re.Pattern[str] = field(repr=False, compare=False)
    template: str = field(repr=False, compare=False)

    def partner(self, name: str) -> str | None:
        """Return the name of the ground truth of an input, both without suffix; None if the rule does not fit."""
        found = self.pattern.fullmatch(name)
        return self.template.format(**found.groupdict()) if found else None


def read_rule(text: str, where: str = 'pair_by') -> PairRule:
    """Read a rule. Nothing of it is run: it is read by regular expressions.

    In a template, ``{}`` or ``{name}`` stands for a part that both names share, as few characters as possible and at
    least one; ``{*}`` stands for a part of the input's name that the ground truth's lacks (it may be empty). All other
    characters stand for themselves.

    Args:
        text (str): See the table at the top of this module.
        where (str): Option path, for the error. Default: ``pair_by``.

    Raises:
        ConfigError: If the text is no rule.
    """
    words = text.strip()
    call = _CALL.fullmatch(words)
    if words == SAME_NAME:
        return PairRule(text, re.compile('(?P<_0>.+)', re.DOTALL), '{_0}')
    if call:
        separator = next(filter(None, call.groups()))
        return PairRule(text, re.compile(f'(?P<_0>.+?){re.escape(separator)}.*', re.DOTALL), '{_0}')
    if ARROW in words:
        return _read_template(text, where)
    hint = did_you_mean(words, (SAME_NAME, 'prefix(_)'))
    raise ConfigError(f'{where}: received {show(text)}, must be {ALLOWED}{hint}')


def _read_template(text: str, where: str) -> PairRule:
    sides = [side.strip() for side in text.split(ARROW)]
    if len(sides) != 2 or not all(sides):
        raise _misread(text, where, 'it needs one name on each side of one ->')
    lq, gt = sides
    for side in sides:
        if any(mark in _FIELD.sub('', side) for mark in '{}'):
            raise _misread(text, where, f'a brace is open in {side!r}')
    names = _FIELD.findall(lq)
    wrong = [name for name in names if name != '*' and not (name.isidentifier() or name == '')]
    if wrong:
        raise _misread(text, where, f'{{{wrong[0]}}} is not {{}}, {{*}} or {{name}}')
    unknown = [name for name in _FIELD.findall(gt) if name == '*' or name not in names]
    if unknown or not _FIELD.search(gt):
        missing = f'{{{unknown[0]}}} stands on the right, but not on the left' if unknown else \
            'the right side holds no {}, so all inputs would share one ground truth'
        raise _misread(text, where, missing)
    return PairRule(text, re.compile(_pattern(lq), re.DOTALL), _FIELD.sub(lambda part: f'{{{_group(part[1])}}}', gt))


def _pattern(lq: str) -> str:
    """Return the regular expression of the left side; a field that comes again must be the same text."""
    pieces, seen, end = [], set(), 0
    for found in _FIELD.finditer(lq):
        name, group = found[1], _group(found[1])
        pieces.append(re.escape(lq[end:found.start()]))
        pieces.append('.*?' if name == '*' else f'(?P={group})' if group in seen else f'(?P<{group}>.+?)')
        seen.add(group)
        end = found.end()
    return ''.join([*pieces, re.escape(lq[end:])])


def _group(name: str) -> str:
    return f'_{name or 0}'


def _misread(text: str, where: str, reason: str) -> ConfigError:
    return ConfigError(f'{where}: received {show(text)}, which cannot be read as a template: {reason}. Write {ALLOWED}')
