"""The licences of everything that the package depends on, read from what is installed, as docs/licences.md.

    python scripts/licences.py            # writes the page
    python scripts/licences.py --check    # only says whether a direct dependency is not permissive; exit code 1 if so
"""
from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'licences.md'
PROJECT = 'mcir-plugin'
# SPDX names, and the words by which older metadata mean them
PERMISSIVE = {
    'Apache-2.0': r'apache', 'MIT': r'\bmit\b|expat', 'BSD': r'\bbsd\b|bsd[- ]?[0-9]', 'ISC': r'\bisc\b',
    'PSF-2.0': r'psf|python software', 'Zlib': r'\bzlib\b', 'HPND': r'hpnd|historical permission',
    'Unlicense': r'unlicense|public domain', '0BSD': r'0bsd', 'OLDAP-2.8': r'openldap|oldap',
    'BSL-1.0': r'bsl-1\.0|boost software', 'CC0-1.0': r'cc0',
}
WEAK = {'MPL-2.0': r'mpl|mozilla', 'LGPL': r'lgpl|lesser general'}
CLOSED = {'proprietary': r'nvidia|proprietary'}
# direct ones that are not permissive, with the licence that was looked at: the MPL asks for the source of changed files
# of the package itself, which nobody changes here, and for nothing of what uses it
EXCEPTIONS = {'tqdm': 'MPL-2.0', 'hypothesis': 'MPL-2.0'}
STRONG = {'GPL': r'gpl|general public'}


@dataclass(frozen=True)
class Dependency:
    """An installed distribution.

    Attributes:
        name (str): Normalised.
        version (str): Installed.
        licence (str): As its metadata say it.
        direct (bool): Whether setup.py names it.
        via (str): Who asks for it.
    """

    name: str
    version: str
    licence: str
    direct: bool
    via: str

    @property
    def kind(self) -> str:
        """``permissive``, ``weak copyleft``, ``proprietary``, ``copyleft`` or ``unknown``."""
        kinds = (('weak copyleft', WEAK), ('copyleft', STRONG), ('proprietary', CLOSED), ('permissive', PERMISSIVE))
        if re.search(r'\bOR\b', self.licence) and _matches(PERMISSIVE, self.licence):
            return 'permissive'  # a choice
        return next((kind for kind, words in kinds if _matches(words, self.licence)), 'unknown')


def dependencies() -> list[Dependency]:
    """Return all direct and transitive dependencies that are installed, with every extra of the project."""
    found: dict[str, Dependency] = {}
    queue = [(requirement, PROJECT) for requirement in _requirements(distribution(PROJECT), every_extra=True)]
    while queue:
        requirement, via = queue.pop(0)
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        try:
            dist = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # for another system
        found[name] = Dependency(name, dist.version, licence_of(dist), via == PROJECT, via)
        queue += [(inner, name) for inner in _requirements(dist, extras=requirement.extras)]
    return sorted(found.values(), key=lambda one: (not one.direct, one.name))


def licence_of(dist: Distribution) -> str:
    """Return the licence that the metadata name: the SPDX expression, else the classifiers, else the free text."""
    metadata = dist.metadata
    if metadata.get('License-Expression'):
        return metadata['License-Expression']
    classifiers = [line.rsplit(' :: ', 1)[-1] for line in metadata.get_all('Classifier') or ()
                   if line.startswith('License ::') and not line.endswith('OSI Approved')]
    free = (metadata.get('License') or '').strip().splitlines()
    return '; '.join(classifiers) or (free[0][:80] if free else 'not stated')


def allowed(one: Dependency) -> bool:
    """Return whether a dependency may be a direct one: permissive, or an exception under the licence looked at."""
    excepted = one.name in EXCEPTIONS and one.kind == 'weak copyleft' and EXCEPTIONS[one.name][:3] in one.licence
    return one.kind == 'permissive' or excepted


def page(found: list[Dependency]) -> str:
    """Return the page."""
    rows = [f'| {one.name} | {one.version} | {one.licence} | {one.kind} | {"direct" if one.direct else one.via} |'
            for one in found]
    return '\n'.join([INTRODUCTION, '| package | version | licence, as its metadata say it | kind | asked for by |',
                      '| --- | --- | --- | --- | --- |', *rows]) + '\n'


INTRODUCTION = """# Licences of the dependencies

Written by `python scripts/licences.py` from the metadata of what `scripts/env.sh` installed, every extra included. The
project itself is under Apache-2.0. A test fails when a dependency that `setup.py` names is not permissive.
Two named exceptions are under the MPL-2.0, which concerns changes to their own files only: tqdm (progress bars) and
hypothesis (tests only). The packages of NVIDIA are proprietary; they come with torch for Linux, not with this project.
"""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing')
    args = parser.parse_args()
    found = dependencies()
    bad = [one for one in found if one.direct and not allowed(one)]
    for one in bad:
        print(f'{one.name} {one.version} is not permissive: {one.licence} ({one.kind})', file=sys.stderr)
    if not args.check:
        partial = PAGE.with_name(f'{PAGE.name}.part')
        partial.write_text(page(found))
        os.replace(partial, PAGE)
    return int(bool(bad))


def _requirements(dist: Distribution, extras: set[str] | frozenset[str] = frozenset(),
                  every_extra: bool = False) -> Iterator[Requirement]:
    names = {*extras, *(dist.metadata.get_all('Provides-Extra') or () if every_extra else ())}
    for text in dist.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({'extra': name}) for name in ('', *names)):
            yield requirement


def _matches(words: dict[str, str], text: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in words.values())


if __name__ == '__main__':
    sys.exit(main())
