"""Stage *names*: everything that is looked up by name, and the arguments that go with it."""
from __future__ import annotations

from basicsr.utils.registry import MODEL_REGISTRY

from mcir_plugin.hosts.basicsr.check.context import Context
from mcir_plugin.hosts.basicsr.check.findings import Section, quiet
from mcir_plugin.hosts.basicsr.lookup import lookup
from mcir_plugin.hosts.basicsr.model import with_history
from mcir_plugin.hosts.basicsr.names import name_problems


def check_names(context: Context, section: Section) -> None:
    """Report unknown names and arguments, and a model type that has no place for the contrastive term."""
    for text in name_problems(context.opt):
        section.problem(text)
    model = lookup(MODEL_REGISTRY, context.opt['model_type'])
    if model is not None and context.contrast:
        with section.guard(), quiet():
            with_history(model)
