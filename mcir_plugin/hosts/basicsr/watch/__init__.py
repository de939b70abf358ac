"""Data that cannot be used: reported with key and data set, out of any data set and any data worker.

    errors.py    the error, which stays one sentence on its way out of a worker
    reads.py     what a sample reads, looked at before it is decoded
    ledger.py    bad images of a run, counted over all of its processes
    dataset.py   the data set around BasicSR's
    loaders.py   building data sets and loaders, and what BasicSR would notice late or never
"""
