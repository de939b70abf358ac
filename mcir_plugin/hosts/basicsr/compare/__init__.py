"""``basicsr compare`` and ``basicsr report``: variants of the contrastive term under one recipe, judged by statistics.

    variants.py   names of variants -> blocks of options
    plan.py       one resolved option file per variant and seed
    checking.py   what is wrong with them, before any training
    order.py      names of the runs, in the order of the report
    worker.py     one run in its own process: training, then evaluation of its final weights
    schedule.py   several workers at a time, one per GPU; progress; nothing is left running
    evaluate.py   values of every image, saved images, what the numbers compare
    logs.py       curves and seconds per step from BasicSR's log
    samples.py    images of a validation set
    folders.py    experiment folders as a comparison reads them, and whether they can be compared
    remarks.py    what a report has to say beside its numbers
    pictures.py   images, errors and differences side by side
    entry.py      the two commands
"""
from mcir_plugin.hosts.basicsr.compare.entry import compare, report

__all__ = ['compare', 'report']
