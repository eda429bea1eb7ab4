"""RCIG: reparameterised convexified implicit gradients.

A few images with regression labels are learned so that a network, linearised at the weights of a pool member and with
its last layer solved in closed form, predicts real data well after a fit to them. One outer step draws a member, fits
its tangent model to the support, differentiates the loss on a real batch through that fit, updates the support, and
then trains the member a little on it. Source: Loo et al., 2023 (arXiv:2302.06755).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ddjax.distilled import DistilledSet
from ddjax.distillers.rcig import gradient as gradients
from ddjax.distillers.rcig import outer, rates
from ddjax.distillers.rcig.config import RcigConfig
from ddjax.distillers.rcig.gradient import RealBatch
from ddjax.distillers.rcig.inner import hessian
from ddjax.distillers.rcig.outer import Support
from ddjax.distillers.rcig.rates import HINV_START, INNER_START, Rate, curve_class
from ddjax.distillers.rcig.tangent import freeze
from ddjax.distillers.shared import pool as pools
from ddjax.distillers.shared.feeds import Batch, image_batches
from ddjax.distillers.shared.start import start_set
from ddjax.models import build_sized
from ddjax.preprocess import centered
from ddjax.trees import record
from ddjax.types import Distiller, Feed, Method, Metrics, Model, PRNGKey, TrainSet


@record(static=("space",))
class Start:
    """The first support, and a real batch for the search of learning rates."""

    support: Support
    batch: Batch
    space: str


@record(static=("space",))
class RcigState:
    """Everything that changes between steps."""

    support: Support
    opt_state: Any
    average: Any  # of the support, a state of optax.ema; the result
    pool: Any  # trees.Stacked of pools.Member
    inner_rate: Rate
    hinv_rate: Rate
    key: Any  # constant: each step folds its own number in
    step: Any  # int32 []
    space: str


def support_optimiser(config: RcigConfig) -> optax.GradientTransformation:
    """AdaBelief, with a separate rate for the temperature."""
    slow, fast = optax.adabelief(config.image_rate), optax.adabelief(config.temperature_rate)
    labels = Support(images="slow", labels="slow", log_temperature="fast")
    return optax.partition({"slow": slow, "fast": fast}, labels)


def with_targets(batch: Batch, num_classes: int) -> RealBatch:
    """The batch with centred one-hot targets."""
    return RealBatch(batch.images, centered(batch.labels, num_classes))


def find_rates(config: RcigConfig, model: Model, start: Start, key: PRNGKey) -> tuple[Array, Array]:
    """Both inner rates: those given, or the largest at which the curve of a new network falls at every step."""
    network_key, step_key = jax.random.split(key)
    keys = gradients.keys_of(step_key, jnp.int32(0))
    frozen, support = freeze(model, model.init(network_key)), start.support
    problem, n = gradients.the_problem(config, frozen, support), jnp.int32(0)

    def minimise(rate: Array) -> Any:
        return gradients.minimise(config, frozen, problem, rate, keys.inner, n)

    inner = jnp.asarray(config.inner_rate, jnp.result_type(float))
    if not config.inner_rate:
        inner = rates.search(lambda rate: curve_class(minimise(rate).curve), INNER_START)
    hinv = jnp.asarray(config.hinv_rate, jnp.result_type(float))
    if not config.hinv_rate and config.hypergradient == "implicit" and config.solver == "adam":
        batch = with_targets(start.batch, support.labels.shape[1])
        t = minimise(inner).point
        _, in_t, _ = gradients.direct_gradient(config, frozen, problem, batch, t, support, keys.direct)
        curvature = hessian(problem)

        def trial(rate: Array) -> Array:
            return curve_class(gradients.solver(config, rate, keys.hinv, len(problem.labels))(curvature, in_t).curve)

        hinv = rates.search(trial, HINV_START)
    return inner, hinv


def build(config: RcigConfig, model: Model) -> Distiller:
    """The functions init, step and extract for a network."""
    optimiser, pool_optimiser = support_optimiser(config), optax.adam(config.pool_rate)
    average = optax.ema(config.average_decay)

    @jax.jit  # one program when called alone; inlined inside other programs. The same holds for `step`
    def init(key: PRNGKey, start: Start) -> RcigState:
        pool_key, rate_key, key = jax.random.split(key, 3)
        inner, hinv = find_rates(config, model, start, rate_key)
        return RcigState(
            support=jax.tree.map(jnp.copy, start.support),
            opt_state=optimiser.init(start.support),
            average=average.init(start.support),
            pool=pools.fill(pool_key, model, pool_optimiser, config.pool_size),
            inner_rate=rates.rate_init(inner),
            hinv_rate=rates.rate_init(hinv),
            key=key,
            step=jnp.int32(0),
            space=start.space,
        )

    def train(member: pools.Member, support: Support, keys: gradients.Keys) -> pools.Member:
        images, labels = outer.expand(support, config.flip)
        steps = jax.random.randint(keys.length, (), 1, config.pool_most_steps + 1)
        trained = pools.train(
            member, model, pool_optimiser, images, labels, steps, keys.training, rows=config.pool_rows
        )
        return pools.renew(trained, config.max_online, pools.fresh(keys.renewal, model, pool_optimiser))

    @jax.jit
    def step(state: RcigState, batch: Batch) -> tuple[RcigState, Metrics]:
        keys = gradients.keys_of(state.key, state.step)
        index = jax.random.randint(keys.member, (), 0, config.pool_size)
        member, support = state.pool.take(index), state.support
        parts = gradients.gradient(
            config,
            freeze(model, member.params),
            support,
            with_targets(batch, support.labels.shape[1]),
            (state.inner_rate.value, state.hinv_rate.value),
            keys,
            member.age,
        )
        clipped = outer.clip_to(parts.direct, parts.indirect)
        total = jax.tree.map(jnp.add, parts.direct, clipped)
        updates, opt_state = optimiser.update(total, state.opt_state, support)
        support = optax.apply_updates(support, updates)

        inner_class = curve_class(parts.inner_curve)
        adaptable = config.adapt_hinv and parts.hinv_curve.size > 1
        hinv_class = curve_class(parts.hinv_curve) if parts.hinv_curve.size > 1 else 0
        new = dataclasses.replace(
            state,
            support=support,
            opt_state=opt_state,
            average=average.update(support, state.average)[1],
            pool=state.pool.put(index, train(member, support, keys)),
            inner_rate=rates.adapt(state.inner_rate, inner_class, state.step),
            hinv_rate=rates.adapt(state.hinv_rate, hinv_class, state.step) if adaptable else state.hinv_rate,
            step=state.step + 1,
        )
        return new, {
            "loss": parts.scored.loss,
            "accuracy": parts.scored.accuracy,
            "inner_class": inner_class.astype(jnp.float32),
            "hinv_class": jnp.asarray(hinv_class, jnp.float32),
            "inner_rate": state.inner_rate.value,
            "direct_norm": optax.tree.norm(parts.direct.images),
            "indirect_norm": optax.tree.norm(parts.indirect.images),
            "age": member.age.astype(jnp.float32),
        }

    def extract(state: RcigState) -> DistilledSet:
        count, decay = state.average.count, config.average_decay
        mean = optax.tree.bias_correction(state.average.ema, decay, jnp.maximum(count, 1))
        result = optax.tree.where(count > 0, mean, state.support)
        return DistilledSet(
            images=result.images,
            labels=result.labels,
            num_classes=result.labels.shape[1],
            label_kind="regression",
            flip=config.flip,
            space=state.space,
        )

    return Distiller(init, step, extract)


def prepare(config: RcigConfig, train: TrainSet, model: Model, key: PRNGKey) -> tuple[Start, Feed]:
    """Real images of each given class as the first support, and a feed of real batches drawn without replacement."""
    start_key, feed_key = jax.random.split(key)
    start = start_set(start_key, train, config.ipc, config.start, config.first_rows, centered)
    zero = jnp.zeros((), start.images.dtype)
    support = Support(images=start.images, labels=start.labels, log_temperature=zero)
    feed = image_batches(train, config.batch, feed_key)
    return Start(support=support, batch=feed.at(feed.data, jnp.int32(0)), space=train.space), feed


def network(config: RcigConfig, image_shape: tuple[int, ...], num_classes: int) -> Model:
    """The ConvNet of the published runs."""
    smooth = {"activation": "softplus", "beta": config.softplus_beta} if config.softplus_beta else {}
    sizes = {"width": config.width, "depth": config.depth or None}
    return build_sized("convnet_rcig", image_shape, num_classes, norm=config.norm, **sizes, **smooth)


METHOD = Method(
    config=RcigConfig,
    prepare=prepare,
    build=build,
    model=network,
    space="rcig",
    split=("images", "labels"),
)
