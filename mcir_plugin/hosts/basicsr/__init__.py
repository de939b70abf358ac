"""The BasicSR adapter: the only code that imports BasicSR.

    compat/      what is broken upstream, one narrow patch each
    check/       ``basicsr check``: what would fail later, found before training
    options.py   option files: inheritance, safe YAML, strict keys of our blocks
    settings.py, host_options.py, names.py, together.py   what BasicSR's own options may be
    explain.py, blame.py   what BasicSR raises before and in its first step, in one sentence
    watch/       data that cannot be used
    model.py     the mixin that gives any model type its history
    resume.py    checkpoints with negatives, random state and place in the data
    guard.py     stops at the first NaN, with a snapshot
    survival/    signals, damaged checkpoints, full disks, two runs of one name, ranks that fail
    hooks.py     which names of BasicSR are wrapped, and its registries
    entry.py     ``basicsr train`` and ``basicsr test``
"""


def prepare() -> None:
    """Mend what keeps BasicSR from being imported. Runs just before the import."""
    from mcir_plugin.hosts.basicsr.compat.imports import provide_functional_tensor
    provide_functional_tensor()


def attach() -> None:
    """Extend an imported BasicSR: patches, losses, option reader, model hook. Safe to call twice."""
    from mcir_plugin.hosts.basicsr import compat, hooks
    compat.apply_patches()
    hooks.install()


import basicsr  # noqa: E402, F401  (last: whoever imports a module of the adapter first finds BasicSR attached)
