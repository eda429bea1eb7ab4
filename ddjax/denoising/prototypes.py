"""Distillation in feature space: a few prototypes per class with learned labels, which judge the other folds.

For each fold, prototypes and their labels are learned from the examples of all other folds, by gradient descent on the
error of kernel regression from the prototypes: KIP (arXiv:2011.00050) with features in place of images. A linear kernel
is the conjugate kernel of FRePo (arXiv:2206.00719), whose last layer reads the features. The head is the ridge
regression of these methods with their squared error; a temperature is learned beside it. A prototype stands for many
examples, so a few wrong labels hardly move it.

The features may be memory-mapped. They are read in blocks; at most `BLOCK` bytes are in memory.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from ddjax import ranges
from ddjax.denoising.costs import GRADIENT, Cost
from ddjax.denoising.feature_blocks import BLOCK, Block, Scale, block_of, drawn, measured
from ddjax.denoising.feature_kernels import KERNELS, Kernel
from ddjax.denoising.predictor import FEATURES, FeatureSet, Plan, Predictions, Predictor, Request
from ddjax.denoising.progress import Report, begun
from ddjax.denoising.training import enough_for_folds
from ddjax.execution.options import Report as Progress
from ddjax.kernels import factor, matmul_highest, relative, solve
from ddjax.names import check_known, choose, few
from ddjax.preprocess import centered
from ddjax.ranges import Count, Natural, NonNegative, Positive
from ddjax.robust.held_out import stratified_folds
from ddjax.types import PRNGKey

MOST = 1000  # prototypes in total, unless there are more classes
PATIENCE = 25  # steps between two reports
_STEEPNESS = 1.0  # logarithm of the inverse temperature at the start


@ranges.settings()
class PrototypesConfig:
    """Settings of the distillation in feature space.

    Attributes:
      ipc: prototypes per class; with many classes fewer, so that there are at most `MOST` in total.
      kernels: names of KERNELS, separated by +; the mean of their predictions is judged.
      steps: of Adam.
      batch: examples per step, at most.
      rate: learning rate of Adam, which decays along a cosine.
      ridge: in units of the kernel's mean diagonal.
    """

    ipc: Count = 10
    kernels: str = "linear"
    steps: Natural = 300
    batch: Count = 1024
    rate: NonNegative = 0.01
    ridge: Positive = 1e-3

    def __post_init__(self) -> None:
        """Raise a ValueError for an unknown kernel."""
        for name in self.kernels.split("+"):
            choose(KERNELS, name, "kernel")


class Prototypes(NamedTuple):
    """What is learned, with a leading axis of folds."""

    points: Float[Array, "f m d"]
    labels: Float[Array, "f m k"]
    log_temperature: Float[Array, "f"]


class State(NamedTuple):
    """Everything that changes between steps."""

    learned: Prototypes
    opt_state: Any
    loss: Float[Array, "f"]
    step: Int[Array, ""]


def scores(learned: Prototypes, x: Float[Array, "b d"], kernel: Kernel, ridge: float) -> Float[Array, "b k"]:
    """The kernel regression from the prototypes of one fold."""
    k_mm = kernel(learned.points, learned.points)
    weights = solve(factor(k_mm, relative(k_mm, ridge)), learned.labels)
    return matmul_highest(kernel(x, learned.points), weights)


@functools.partial(jax.jit, static_argnames=("config", "kernel"))
def advance(
    state: State, block: Block, key: PRNGKey, last: Int[Array, ""], *, config: PrototypesConfig, kernel: str
) -> State:
    """Take steps on random batches of the block up to the step `last`. A fold learns nothing from its own examples."""
    compute, k = KERNELS[kernel](), state.learned.labels.shape[2]
    optimiser, count = optimiser_of(config), min(config.batch, len(block.labels))

    def loss(learned: Prototypes, fold: Array, rows: Array) -> Float[Array, ""]:
        labels, steepness = block.labels[rows], jnp.exp(learned.log_temperature)
        found = scores(learned, block.features[rows], compute, config.ridge)
        cooled = steepness * jax.lax.stop_gradient(found)  # the cross-entropy learns the temperature alone
        each = optax.softmax_cross_entropy_with_integer_labels(cooled, labels)
        each += jnp.sum((found - centered(labels, k)) ** 2, axis=1)
        weights = (block.fold[rows] != fold).astype(each.dtype)
        return jnp.sum(weights * each) / jnp.maximum(jnp.sum(weights), 1)

    def body(_: Array, state: State) -> State:
        rows = jax.random.randint(jax.random.fold_in(key, state.step), (count,), 0, len(block.labels))
        folds = jnp.arange(len(state.loss))
        values, gradient = jax.vmap(jax.value_and_grad(loss), in_axes=(0, 0, None))(state.learned, folds, rows)
        updates, opt_state = optimiser.update(gradient, state.opt_state, state.learned)
        return State(optax.apply_updates(state.learned, updates), opt_state, values, state.step + 1)

    return jax.lax.fori_loop(state.step, last, body, state)


def optimiser_of(config: PrototypesConfig) -> optax.GradientTransformation:
    """Adam with a cosine decay."""
    return optax.adam(optax.cosine_decay_schedule(config.rate, max(config.steps, 1)))


@functools.partial(jax.jit, static_argnames=("ridge", "kernel"))
def held_out(learned: Prototypes, block: Block, *, ridge: float, kernel: str) -> Float[Array, "r k"]:
    """Log-probabilities of each example by the prototypes of its fold, which did not learn from it."""
    compute = KERNELS[kernel]()
    found = jax.vmap(lambda one: jnp.exp(one.log_temperature) * scores(one, block.features, compute, ridge))(learned)
    return jax.nn.log_softmax(jnp.take_along_axis(found, block.fold[None, :, None], axis=0)[0])


def first_prototypes(
    data: FeatureSet, fold: np.ndarray, config: PrototypesConfig, scale: Scale, seed: int
) -> Prototypes:
    """Random examples of each given class from the other folds, with centred labels."""
    rng, k = np.random.default_rng(seed), data.num_classes
    ipc = max(1, min(config.ipc, MOST // k))
    chosen = []
    for each in range(fold.max() + 1):
        for c in range(k):
            rows = np.flatnonzero((data.labels == c) & (fold != each))
            chosen.append(rng.choice(rows, ipc, replace=len(rows) < ipc))
    points = scale(np.asarray(data.features[np.concatenate(chosen)])).reshape(fold.max() + 1, k * ipc, -1)
    labels = jnp.broadcast_to(centered(jnp.repeat(jnp.arange(k), ipc), k), (len(points), k * ipc, k))
    return Prototypes(jnp.asarray(points), labels, jnp.full(len(points), _STEEPNESS))


def predict(
    data: FeatureSet, config: PrototypesConfig, kernel: str, *, folds: int, seed: int, report: Report | None
) -> Float[np.ndarray, "n k"]:
    """Out-of-fold log-probabilities of every example; the stages "distil" and "predict".

    Args:
      data: features with given labels.
      config: the settings.
      kernel: a name of KERNELS.
      folds: number of folds.
      seed: of the folds, the first prototypes and the batches.
      report: receives the progress.
    """
    fold = stratified_folds(data.labels, folds, seed)
    scale = measured(data.features)
    first = first_prototypes(data, fold, config, scale, seed)
    source = drawn(data, fold, config.batch, scale, seed)
    tell = begun(report, "distil", config.steps)
    learned = trained(first, source, config, kernel, seed=seed, tell=tell)
    begun(report, "predict")
    return _predicted(learned, data, fold, scale, config, kernel)


def trained(
    first: Prototypes,
    source: Iterator[Block],
    config: PrototypesConfig,
    kernel: str,
    *,
    seed: int,
    tell: Progress | None = None,
) -> Prototypes:
    """The prototypes after all steps.

    Args:
      first: where they start.
      source: blocks of examples, a new one every `PATIENCE` steps.
      config: the settings.
      kernel: a name of KERNELS.
      seed: of the batches.
      tell: receives the progress.
    """
    zero = jnp.zeros(len(first.points))
    state, key = State(first, optimiser_of(config).init(first), zero, jnp.int32(0)), jax.random.key(seed)
    for done in range(PATIENCE, config.steps + PATIENCE, PATIENCE):
        last = min(done, config.steps)
        state = advance(state, next(source), key, jnp.int32(last), config=config, kernel=kernel)
        if tell:
            tell(last, config.steps, {"loss": float(state.loss.mean())})
    return state.learned


def _predicted(
    learned: Prototypes, data: FeatureSet, fold: np.ndarray, scale: Scale, config: PrototypesConfig, kernel: str
) -> Float[np.ndarray, "n k"]:
    n, d = data.features.shape
    rows = min(n, max(1, BLOCK // (4 * max(d, learned.points.shape[0] * learned.points.shape[1]))))
    found = np.empty((n, data.num_classes), np.float32)
    for first in range(0, n, rows):
        first = min(first, n - rows)  # the last block overlaps the one before, so that all have one shape
        block = block_of(data, fold, scale, slice(first, first + rows))
        found[first : first + rows] = held_out(learned, block, ridge=config.ridge, kernel=kernel)
    return found


def config_of(plan: Plan) -> PrototypesConfig:
    """The settings from the arguments of `ddjax.denoise`."""
    fields = {field.name for field in dataclasses.fields(PrototypesConfig)} - {"ipc"}
    for option in plan.options:
        check_known(f"option of method {plan.method!r}", option, sorted(fields))
    return PrototypesConfig(ipc=plan.ipc, **plan.options)


def _check(data: FeatureSet, plan: Plan, class_names: tuple[str, ...]) -> None:
    config_of(plan)
    enough_for_folds(data, plan, class_names)
    counts = np.bincount(data.labels, minlength=data.num_classes)
    if alone := [class_names[c] for c in np.flatnonzero(counts < 2)]:
        raise ValueError(
            f"cross-validation needs two examples of each class; {few(alone)} have one: leave these classes out"
        )


def _predictions(request: Request) -> Predictions:
    plan, config = request.plan, config_of(request.plan)
    how = {"folds": plan.folds, "seed": plan.seed, "report": request.report}
    members = [predict(request.data, config, kernel, **how) for kernel in config.kernels.split("+")]
    return Predictions(np.stack(members))


def _cost(data: FeatureSet, plan: Plan) -> Cost:
    config, (n, d), k = config_of(plan), np.shape(data.features), data.num_classes
    m = k * max(1, min(config.ipc, MOST // k))
    rows = GRADIENT * config.steps * (min(config.batch, n) + m) + n  # each is compared with all prototypes
    flop = plan.folds * (2.0 * m * rows * (d + k) + GRADIENT * config.steps * m**3)
    return Cost(flop, 2).times(len(config.kernels.split("+")))


PREDICTOR = Predictor(
    _predictions, (FEATURES,), ("ipc", "options", "folds", "seed"), _check, config=PrototypesConfig, cost=_cost
)
