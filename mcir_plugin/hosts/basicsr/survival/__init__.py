"""What keeps a run alive, or ends it in good order. docs/promises.md says what is promised.

    run.py          the training pipeline, and where the rest is hooked into it
    signals.py      SIGTERM, SIGINT, SIGUSR1: the first one asks, the second one ends
    stopping.py     all ranks agree on a last step, save, and exit with a status of their own
    workers.py      processes that load data leave these signals to the run
    checksums.py    SHA-256 of every file of a checkpoint, in a file beside it
    checkpoints.py  which checkpoint a run continues from: the newest that is complete
    retention.py    ``logger.keep_last`` and ``keep_every``
    lock.py         one run per folder
    results.py      the test pipeline and its results folder
    lifeline.py     a rank that ends brings the others down
    ranks.py        what one rank decides for all
"""
