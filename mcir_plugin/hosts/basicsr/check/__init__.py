"""``basicsr check``: what would fail later is found now, in seconds and without training.

    entry.py      the stages in their order, the exit status
    context.py    what the stages hand on
    findings.py   what a stage found, and how it is printed; exceptions of the host become findings
    reading.py    options: file, overrides, our blocks, BasicSR's own parser
    names.py      registered names and their arguments
    files.py      folders, lists of images, state to resume, room for experiments
    networks.py   networks, and the pretrained files that must fit them
    sources.py    images in a folder or an LMDB, looked at without decoding
    data.py       what lies in the folders of every phase
    pairs.py      keys, pairs, sizes
    steps.py      one real batch, the model, a few training steps
    cost.py       seconds and bytes of these steps
    estimate.py   time and memory of a whole run
    plan.py       what a training run would do
"""
from mcir_plugin.hosts.basicsr.check.entry import check

__all__ = ['check']
