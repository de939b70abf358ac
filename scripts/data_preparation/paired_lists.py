"""The pairs of a part whose authors give them as a list."""
from __future__ import annotations

from pathlib import Path

from new_folder import PreparationError
from paired_sets import Layout

from mcir_plugin.data import Pair
from mcir_plugin.data.listing import Listing
from mcir_plugin.data.pairs import listed_name

PARTIAL = '--allow-partial'
SHOWN = 5  # so many offenders are named


def listed_pairs(place: Path, layout: Layout, lq: Listing, gt: Listing, what: str, allow_partial: bool) -> list[Pair]:
    """The pairs of a list, each once, in its order.

    Args:
        place (Path): folder of the part.
        layout (Layout): says which list, and where the images lie.
        lq (Listing): the inputs.
        gt (Listing): the ground truths.
        what (str): set and part, for the error.
        allow_partial (bool): leave out lines that name images which are not there.

    Raises:
        PreparationError: for such lines together; for a list that names no pair at all, or is no text.
    """
    path = place / layout.pair_list
    lines = {number: line for number, line in enumerate(_text_lines(path), 1) if line.strip()}
    pairs = {number: _pair(line, layout, lq, gt) for number, line in lines.items()}
    wrong = [f'line {number}: {lines[number].strip()}' for number, pair in pairs.items() if pair is None]
    if wrong and (len(wrong) == len(pairs) or not allow_partial):
        more = f' and {len(wrong) - SHOWN} more' if len(wrong) > SHOWN else ''
        raise PreparationError(f'{what}: {len(wrong)} of {len(lines)} lines of {path} name no pair of images that is '
                               f'there: {"; ".join(wrong[:SHOWN])}{more}. Correct or complete them, or leave them out '
                               f'with {PARTIAL}.')
    return [pair for pair in dict.fromkeys(pairs.values()) if pair]


def _text_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise PreparationError(f'{path} is no text file ({error}).') from error


def _pair(line: str, layout: Layout, lq: Listing, gt: Listing) -> Pair | None:
    names = line.split()
    if len(names) != 2:
        return None
    found = (_in_folder(names[0], layout.lq, lq), _in_folder(names[1], layout.gt, gt))
    return None if None in found else Pair(*found)


def _in_folder(text: str, folder: str, listing: Listing) -> str | None:
    """The name of a listed image, whether the list starts at its folder or at the folder of the part."""
    name = listed_name(text)
    return next((found for found in (name, name.removeprefix(f'{folder}/')) if found in listing.places), None)
