"""Stage *first steps*: one real batch, the model, and a few training steps without and with the contrastive term."""
from __future__ import annotations

import copy
import gc
import math
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.metrics import calculate_metric
from basicsr.models import build_model
from basicsr.utils import set_random_seed

from mcir_plugin.config import ContrastConfig
from mcir_plugin.config.errors import listed, raise_if_any
from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr import summary
from mcir_plugin.hosts.basicsr.check.context import Context
from mcir_plugin.hosts.basicsr.check.cost import Measured, PeakMemory, Stopwatch, parts
from mcir_plugin.hosts.basicsr.check.estimate import say_cost
from mcir_plugin.hosts.basicsr.check.findings import Section, quiet
from mcir_plugin.hosts.basicsr.check.reading import without_term
from mcir_plugin.hosts.basicsr.evaluation.float_images import with_unrounded
from mcir_plugin.hosts.basicsr.evaluation.metrics import OWN_METRICS
from mcir_plugin.hosts.basicsr.guard import TrainingDivergedError
from mcir_plugin.hosts.basicsr.survival.workers import first_batch
from mcir_plugin.hosts.basicsr.watch.loaders import epoch_problems
from mcir_plugin.hosts.criterion import CompositeCriterion

STEPS = 4  # the first one warms up
IMAGE = 256  # pixels a side, to try a metric on
BUDGET = 20.  # seconds after which no further step is begun


class StepError(McirError, RuntimeError):
    """A training step ran, but went wrong."""


def check_steps(context: Context, section: Section) -> None:
    """Read a batch, build the model, train a few steps; report their cost."""
    with quiet() as said:
        for phase, block in context.opt['datasets'].items():
            with section.guard(f'datasets.{phase}'):
                _read(context, phase, block)
        _try_metrics(context.opt, section)
        if not section.problems:
            _measure(context, section)
    for text in said.own:
        section.warn(text)
    if said.host:
        section.say(f'BasicSR will warn: {listed(dict.fromkeys(said.host), 2)}')
    if not section.problems:
        say_cost(context, section)


def _read(context: Context, phase: str, block: dict[str, Any]) -> None:
    """Take one batch from the training set, one sample from a validation set."""
    dataset = build_dataset(block)
    context.images[phase] = len(dataset)
    if block['phase'] != 'train':
        first_batch(build_dataloader(dataset, block))
        return
    opt = context.opt
    sampler = EnlargedSampler(dataset, context.processes, 0, block.get('dataset_enlarge_ratio', 1))
    loader = build_dataloader(dataset, {**block, 'prefetch_mode': None}, num_gpu=opt['num_gpu'], sampler=sampler,
                              seed=opt['manual_seed'])
    raise_if_any(epoch_problems(loader, sampler))
    context.batch = first_batch(loader)


def _try_metrics(opt: Mapping[str, Any], section: Section) -> None:
    """Compute every metric of the validation, which BasicSR does for the first time when a validation is due."""
    for name, block in ((opt.get('val') or {}).get('metrics') or {}).items():
        with section.guard(f'val.metrics.{name}'):
            side = max(IMAGE, block.get('center_crop') or 0) if block['type'] in OWN_METRICS else IMAGE
            images = np.random.default_rng(0).random((2, side, side, 3), np.float32)
            img, img2 = (with_unrounded(np.rint(255 * image).astype(np.uint8), image) for image in images)
            calculate_metric({'img': img, 'img2': img2}, block)


def _measure(context: Context, section: Section) -> None:
    memory = PeakMemory(context.opt['num_gpu'] != 0)
    plain = without_term(context.opt)
    own_state = None if context.contrast else context.resume_state
    with tempfile.TemporaryDirectory(prefix='mcir_check_') as folder:
        with section.guard():
            context.plain = train_briefly(_elsewhere(plain, folder), context, own_state, memory)
        gc.collect()
        if context.contrast and not section.problems:
            with section.guard():
                context.spn = train_briefly(_elsewhere(context.opt, folder), context, context.resume_state, memory)


def train_briefly(opt: dict[str, Any], context: Context, resume_state: dict[str, Any] | None,
                  memory: PeakMemory) -> Measured:
    """Build a model as BasicSR does and train a few steps on the batch at hand.

    Args:
        opt (dict): Options of this model.
        context (Context): Its batch is trained on.
        resume_state (dict | None): Training state to continue from.
        memory (PeakMemory): Measures the peak.

    Raises:
        StepError: If a loss is not finite, or the contrastive term is missing.
    """
    memory.restart()
    model = build_model(opt)
    if resume_state:
        model.resume_training(copy.deepcopy(resume_state))
    set_random_seed(opt['manual_seed'])  # degradations drawn on the fly are the same with and without the term
    seconds, watch = [], Stopwatch(memory.on_gpu)
    for step in acting_steps(opt, context.contrast):
        model.update_learning_rate(1, warmup_iter=opt['train'].get('warmup_iter', -1))
        model.feed_data(context.batch)
        _optimize(model, step)
        seconds.append(watch.lap())
        if sum(seconds) > BUDGET:
            break
    has_term = hasattr(model, 'contrast')
    if has_term and 'l_spn' not in model.get_current_log():
        raise StepError(f'the model logs {listed(model.get_current_log())}, but no l_spn: the contrastive term did not '
                        'take part in the step')
    return Measured(seconds, memory.peak(), parts(model), dict(model.get_current_log()),
                    _attachment(model, context.contrast) if has_term else [])


def acting_steps(opt: Mapping[str, Any], contrast: ContrastConfig | None) -> list[int]:
    """Return iterations in which everything acts: the contrastive term, and the generator of an adversarial model.

    They begin after iteration 1, in which some video models freeze parts for a while.
    """
    train = opt['train']
    history = contrast.history if contrast else None
    stride = math.lcm(history.interval if history else 1, int(train.get('net_d_iters', 1)))
    rest = max(1, history.start_iter if history else 0, int(train.get('net_d_init_iters', 0)))
    first = rest // stride + 1
    return [stride * (first + i) for i in range(STEPS)]


def _optimize(model: Any, step: int) -> None:
    try:
        model.optimize_parameters(step)
    except TrainingDivergedError as error:  # it names a snapshot that a check does not keep
        raise StepError(str(error).partition(' Remedies:')[0]) from error
    bad = [f'{name} {value}' for name, value in model.get_current_log().items() if not math.isfinite(value)]
    if bad:
        raise StepError(f'not finite in the first steps: {listed(bad)}. Look at the learning rate and the data')


def _attachment(model: Any, contrast: ContrastConfig) -> list[str]:
    joined = next(name for name, value in vars(model).items() if isinstance(value, CompositeCriterion))
    return summary.describe(model, joined, contrast)


def _elsewhere(opt: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return the options with everything that a model may write inside ``folder``."""
    root = opt['path']['experiments_root']
    moved = {name: value.replace(root, folder, 1) if name in ('models', 'training_states', 'log', 'visualization') and
             isinstance(value, str) else value for name, value in opt['path'].items()}
    return {**opt, 'path': {**moved, 'experiments_root': folder}}
