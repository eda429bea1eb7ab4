"""Work of each method in units of F, the operations of one image's forward pass.

Constants without a formula are fitted to measured steps, as noted at each.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ddjax.denoising.networks import plain_recipe
from ddjax.distillers.datm import memory
from ddjax.distillers.ncfm.matching import REPEATED
from ddjax.experts import size
from ddjax.experts.fleet import SIDE_BY_SIDE
from ddjax.experts.identity import parameters
from ddjax.training import Recipe
from ddjax.training.arithmetic import forward_flop
from ddjax.training.published import pool_recipe
from ddjax.types import Model
from experiments.running.config import Experiment
from experiments.sweeping.machines import Machine
from experiments.sweeping.work import FLOAT, GRADIENT, Common, Shape, Work, data_bytes, held, labels_of, training


def selected(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """Selection: at most the features of all images."""
    return Work(forward_flop(model, shape.image) * shape.train, 1, data_bytes(shape)), ()


def rcig_passes(config: Any, support: int, real: int, training_steps: float) -> float:
    """Forward passes of one image in an outer step of RCIG, without the draws of `repeats`.

    A product with J and one with its adjoint cost 4 F together. Each inner step and each step of the inverse Hessian
    needs both. A learned image and its flip cost 1 F each to linearise, 9 F and 15 F for the second derivatives, and a
    gradient per training step of the visited network. A real image costs 5 F: forward, tangent and backward.
    """
    products = 4 * (config.inner_steps + config.hinv_steps)
    return support * (1 + products + 9 + 15 + GRADIENT * training_steps) + 5 * real


def rcig(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """RCIG: tangents of real and learned images, then gradient descent on them.

    The visited network is trained for half of `pool_most_steps` on average.
    """
    support = config.ipc * shape.classes * (2 if config.flip else 1)
    real, trained = min(config.batch, shape.train), config.pool_most_steps / 2
    flop = config.repeats * forward_flop(model, shape.image) * rcig_passes(config, support, real, trained)
    passes = config.inner_steps + config.hinv_steps + trained + 4
    rows = real + 2 * support
    peak = data_bytes(shape) + 2 * held(model, shape, rows) + FLOAT * 4 * config.pool_size * parameters(model)
    return Work(config.steps * flop, config.steps * passes, peak), ()


def datm(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """DATM: experts, shared by cells with the same labels; then T inner steps per outer step, differentiated twice.

    An image costs 12 F per inner step: its gradient, the recomputed gradient, and the derivative of the gradient.
    """
    m, k = config.ipc * shape.classes, shape.classes
    b, segments = config.batch(m), config.segments
    held, platform = (segments, "gpu") if machine.together else (1, "cpu")
    shapes = memory.shapes_of(model, shape.image, m, k, config.inner_steps, b, held, platform)
    asked = memory.Way(config.hypergradient, config.remat, b // min(config.micro_batch or b, b))
    peak = data_bytes(shape) + memory.peak(shapes, memory.fitted(shapes, asked, config.memory))
    passes = config.steps * config.inner_steps * 4 * (1 if machine.together else segments)
    flop = config.steps * segments * config.inner_steps * b * 12 * forward_flop(model, shape.image)
    recipe = config.recipe(shape.train)
    kept = config.kept()
    seed = cell.seed if config.expert_seed < 0 else f"shared {config.expert_seed}"
    own = (recipe, model.spec, seed, config.experts, kept, config.storage)
    key = ("experts", *labels_of(cell), cell.precision, *own)
    experts = _fleet("experts", key, recipe, kept, config.experts, model, shape, machine, config.storage)
    return Work(flop, passes, peak), (experts._replace(disk=experts.disk if config.store else 0),)


def dance(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """DANCE: features of real images, gradients of learned images in two views, and a pool per labels and seed.

    Measured on two cores: 1.06 s and 2.21 s (width 128, IPC 1 and 10).
    """
    k, real = shape.classes, min(config.batch, shape.train // shape.classes)
    learned = min(config.cap, config.ipc * config.factor_for(shape.image) ** 2)
    flop = k * forward_flop(model, shape.image) * (real + GRADIENT * learned * (1 + config.calibrations))
    classes = k if machine.together else 1
    peak = data_bytes(shape) + held(model, shape, classes * max(real / 3, learned))
    work = Work(config.steps * flop, config.steps * (2 + config.calibrations) * (k / classes), peak)
    if config.encoder == "random":
        return work, ()
    recipe = pool_recipe(config.pool_epochs) if config.pool_epochs else pool_recipe()
    key = ("pool", *labels_of(cell), cell.precision, cell.seed, recipe, model.spec, config.members)
    return work, (_fleet("pool", key, recipe, "ends", config.members, model, shape, machine, "float32"),)


def ncfm(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """NCFM: DANCE with as many products of features and frequencies as images, which the learned ones differentiate."""
    work, common = dance(cell, config, model, shape, machine)
    real = min(config.batch, shape.train // shape.classes)
    learned = config.ipc * config.factor_for(shape.image) ** 2
    points = config.frequencies // (REPEATED if config.sampler == "learned" else 1)
    more = 2 * shape.classes * points * features(model, shape) * (real + GRADIENT * learned)
    return work._replace(flop=work.flop + config.steps * more), common


def features(model: Model, shape: Shape) -> int:
    """Number of features that the last layer of a network reads."""
    images = jnp.zeros((1, *shape.image))
    return jax.eval_shape(lambda: model.features(model.init(jax.random.key(0)), images)).shape[-1]


def frepo(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """FRePo: features of real images, a gradient in the learned ones, and training steps of the visited network.

    A learned image costs 2 F, forward and backward, because no gradient in the weights is taken.
    """
    m, real = config.ipc * shape.classes, min(config.batch, shape.train)
    trained = config.pool_steps * min(m, config.pool_rows)
    flop = forward_flop(model, shape.image) * (real + 2 * m + GRADIENT * trained)
    flop += 2 * GRADIENT * m * features(model, shape) * (real + m) + m**3 / 3  # of the kernel and its factor
    peak = data_bytes(shape) + held(model, shape, real / 3 + m) + FLOAT * 4 * config.pool_size * parameters(model)
    return Work(config.steps * flop, config.steps * (2 + config.pool_steps), peak), ()


def rdc(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """RDC: DANCE, a contrast of augmented copies and of their mixtures with images, and a short training before."""
    work, common = dance(cell, config, model, shape, machine)
    learned = shape.classes * config.copies * min(config.cap, config.ipc * config.factor_for(shape.image) ** 2)
    if not config.contrast:
        learned = 0
    flop = 2 * GRADIENT * learned * forward_flop(model, shape.image)
    warmup = training(plain_recipe(config.warmup, True), model, shape, shape.train, shape.train, 1, machine)
    peak = max(work.memory, data_bytes(shape) + 2 * held(model, shape, learned))
    own = Work(work.flop + config.steps * flop, work.passes + config.steps * 2, peak)
    return warmup.then(own), common


def _fleet(
    name: str,
    key: tuple,
    recipe: Recipe,
    keep: Any,
    members: int,
    model: Model,
    shape: Shape,
    machine: Machine,
    kind: str,
) -> Common:
    group = min(members, SIDE_BY_SIDE) if machine.together else 1
    one = training(recipe, model, shape, shape.train, 0, group, machine)
    work = Work(one.flop * members / group, one.passes * members / group, one.memory)
    return Common(name, key, work, size(model, recipe, members, keep=keep, storage=kind))


Formula = Callable[[Experiment, Any, Model, Shape, Machine], tuple[Work, tuple[Common, ...]]]
FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("random", "herding", "kcenter"), selected),
    "rcig": rcig,
    "frepo": frepo,
    **dict.fromkeys(("datm", "mtt"), datm),
    **dict.fromkeys(("dance", "dm"), dance),
    "ncfm": ncfm,
    "rdc_reconstructed": rdc,
}
