"""Write the option reference into README.md, generated from the typed definitions.

    python scripts/option_reference.py           # rewrite what stands between the two markers
    python scripts/option_reference.py --check   # change nothing; exit status 1 if it is out of date
"""
import argparse
import os
import sys
import tempfile
from inspect import cleandoc
from pathlib import Path

from mcir_plugin.config import LOSS_BLOCKS, HistoryOptions, RetentionOptions, reference_table
from mcir_plugin.config.evaluation import MetricOptions, TileOptions
from mcir_plugin.config.extractors import EXTRACTOR_BLOCKS
from mcir_plugin.config.negatives import DEGRADE_BLOCKS, UncertaintyOptions
from mcir_plugin.config.recipe import ClipOptions, CosineOptions
from mcir_plugin.config.reference import preset_table, variants_table
from mcir_plugin.config.refresh import REFRESH_BLOCKS
from mcir_plugin.config.weight_schedule import WEIGHT_BLOCKS
from mcir_plugin.data.bad_images import BadImageOptions

BEGIN = '<!-- options:begin -->'
END = '<!-- options:end -->'
# beside the contrastive term: what recipes and evaluations need that BasicSR lacks
BESIDE = {'train.grad_clip': ClipOptions, 'train.scheduler: {type: CosineAnnealingLR}': CosineOptions,
          'val.tile': TileOptions, 'val.metrics.<name>': MetricOptions, 'datasets.*': BadImageOptions,
          'logger': RetentionOptions}
README = Path(__file__).resolve().parent.parent / 'README.md'


def reference() -> str:
    """Return the Markdown of all option blocks."""
    parts = [f'### `train.spn_opt: {{type: {name}}}`\n\n{block.__doc__.strip()}\n\n{reference_table(block)}'
             for name, block in LOSS_BLOCKS.items()]
    parts += [f'#### `extractor`\n\n{variants_table(EXTRACTOR_BLOCKS)}']
    parts += [f'### `train.history_opt`\n\n{reference_table(HistoryOptions)}']
    parts += [f'#### `refresh: {{type: {name}}}`\n\n{block.__doc__.strip()}\n\n{reference_table(block)}'
              for name, block in REFRESH_BLOCKS.items()]
    parts += [f'#### `degrade`\n\n{variants_table(DEGRADE_BLOCKS)}',
              f'#### `weight_schedule`\n\n{variants_table(WEIGHT_BLOCKS)}',
              f'#### `uncertainty`\n\n{UncertaintyOptions.__doc__}\n\n{reference_table(UncertaintyOptions)}',
              f'#### `preset`\n\n{preset_table()}']
    parts += [f'### `{name}`\n\n{cleandoc(block.__doc__)}\n\n{reference_table(block)}'
              for name, block in BESIDE.items()]
    return '\n'.join(parts)


def insert(text: str, content: str) -> str:
    """Return text with content between the two markers.

    Raises:
        ValueError: If the markers are not there exactly once, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f'it must hold the lines {BEGIN} and {END} exactly once, in this order')
    return f'{before}{BEGIN}\n\n{content}\n{END}{after}'


def write(path: Path, text: str) -> None:
    """Replace a file at once: a reader sees the old text or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, 'w', encoding='utf-8') as file:
        file.write(text)
    os.chmod(name, path.stat().st_mode)
    os.replace(name, path)


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='only say whether the file is up to date')
    parser.add_argument('--file', type=Path, default=README, help='file with the markers; default: README.md')
    args = parser.parse_args()
    try:
        old = args.file.read_text(encoding='utf-8')
        new = insert(old, reference())
    except (OSError, ValueError) as error:
        print(f'{args.file}: {error}', file=sys.stderr)
        return 1
    if args.check and new != old:
        print(f'{args.file}: the option reference is out of date. Run python scripts/option_reference.py',
              file=sys.stderr)
        return 1
    if new != old:
        write(args.file, new)
    return 0


if __name__ == '__main__':
    sys.exit(main())
