"""FRePo: images and labels from which ridge regression on a network's features predicts the real labels.

The kernel is that of the last hidden features of a network drawn from a pool (the conjugate kernel). The networks of
the pool are trained on the distilled set, one step per visit. Source: Zhou et al., 2022 (arXiv:2206.00719).
"""

import dataclasses
import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax import ranges
from ddjax.distilled import DistilledSet
from ddjax.distillers.rcig.outer import margin
from ddjax.distillers.shared import pool as pools
from ddjax.distillers.shared.feeds import Batch, image_batches
from ddjax.distillers.shared.start import learned_fields, start_set
from ddjax.kernels import gram, relative, ridge_predict
from ddjax.models import build_sized
from ddjax.preprocess import centered
from ddjax.ranges import Count, Natural, NonNegative, Positive
from ddjax.trees import Stacked, record
from ddjax.types import Distiller, Feed, Images, Method, Metrics, Model, Params, PRNGKey, TrainSet


@ranges.settings()
class FrepoConfig:
    """Settings of FRePo; the defaults are the published ones.

    Attributes:
      ipc: images per class.
      steps: outer steps, over which the learning rate decays.
      width: channels of the first block of the ConvNet.
      depth: blocks of the ConvNet; 0 derives the number from the side of the images.
      norm: normalisation of the pool's networks. Published networks have batch norm before each convolution but the
        first; ours have it after each convolution.
      learn_labels: update the labels too.
      ridge: in units of the kernel's mean diagonal.
      batch: real images per step.
      rate: learning rate of LAMB, which decays to a tenth along a cosine.
      pool_size: networks in the pool.
      pool_rate: learning rate of Adam for the networks.
      pool_steps: training steps of a network per visit.
      pool_rows: distilled images per training step of a network, at most.
      max_online: training steps after which a network is replaced; initial networks start with staggered ages.
      start: real images, or noise.
      float64_solve: factor and solve the kernel matrix in double precision.
    """

    ipc: Count = 1
    steps: Count = 500_000
    width: Count = 128
    depth: Natural = 0
    norm: str = "batch"
    learn_labels: bool = True
    ridge: Positive = 1e-6
    batch: Count = 1024
    rate: NonNegative = 3e-4
    pool_size: Count = 10
    pool_rate: NonNegative = 3e-4
    pool_steps: Natural = 1
    pool_rows: Count = 1000
    max_online: Count = 100
    start: Annotated[str, ("real", "noise")] = "real"
    float64_solve: bool = False


@record()
class FrepoState:
    """Everything that changes between steps."""

    distilled: Any  # DistilledSet
    opt_state: Any
    pool: Any  # trees.Stacked of pools.Member
    key: Any  # constant: each step folds its own number in
    step: Any  # int32 []


def scaled_targets(labels: Int[Array, "n"], num_classes: int) -> Float[Array, "n k"]:
    """Centred one-hot rows, divided by sqrt(num_classes / 10)."""
    return centered(labels, num_classes) / math.sqrt(num_classes / 10)


def frepo_loss(
    config: FrepoConfig,
    model: Model,
    params: Params,
    distilled: DistilledSet,
    images: Images,
    targets: Float[Array, "b k"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The outer loss.

    Args:
      config: the settings.
      model: the network.
      params: parameters of a pool member.
      distilled: the support of the ridge regression.
      images: real images.
      targets: their scaled targets.

    Returns:
      The loss and the accuracy. The loss is half the squared error of the ridge prediction, minus the
      margin of the labels, which is capped at 1 / k.
    """
    phi, phi_b = model.features(params, distilled.images), model.features(params, images)
    kernel, labels = gram(phi, phi), distilled.labels
    dtype = jnp.float64 if config.float64_solve else None
    predicted = ridge_predict(gram(phi_b, phi), kernel, labels, relative(kernel, config.ridge), dtype)
    error = 0.5 * jnp.mean(jnp.sum((predicted - targets) ** 2, axis=1))
    hit = jnp.argmax(predicted, axis=1) == jnp.argmax(targets, axis=1)
    return error - margin(labels, 1 / labels.shape[1]), jnp.mean(hit.astype(jnp.float32))


def build(config: FrepoConfig, model: Model) -> Distiller:
    """The functions init, step and extract for a network."""
    optimiser = optax.lamb(optax.cosine_decay_schedule(config.rate, config.steps, 0.1))
    pool_optimiser = optax.adam(config.pool_rate)

    @jax.jit  # one program when called alone; inlined inside other programs. The same holds for `step`
    def init(key: PRNGKey, start: DistilledSet) -> FrepoState:
        pool_key, key = jax.random.split(key)
        pool = pools.fill(pool_key, model, pool_optimiser, config.pool_size).whole()
        ages = jnp.arange(config.pool_size, dtype=jnp.int32) * config.max_online // config.pool_size
        return FrepoState(
            distilled=jax.tree.map(jnp.copy, start),  # the loop donates the state, and the caller keeps the start
            opt_state=optimiser.init(learned_fields(start, config.learn_labels)),
            pool=Stacked.of(dataclasses.replace(pool, age=ages)),
            key=key,
            step=jnp.int32(0),
        )

    @jax.jit
    def step(state: FrepoState, batch: Batch) -> tuple[FrepoState, Metrics]:
        member_key, rows_key, new_key = jax.random.split(jax.random.fold_in(state.key, state.step), 3)
        index = jax.random.randint(member_key, (), 0, config.pool_size)
        member, distilled = state.pool.take(index), state.distilled
        targets = scaled_targets(batch.labels, distilled.num_classes)

        def objective(values: dict[str, Array]) -> tuple[Array, Array]:
            support = dataclasses.replace(distilled, **values)
            return frepo_loss(config, model, member.params, support, batch.images, targets)

        values = learned_fields(distilled, config.learn_labels)
        (loss, accuracy), gradient = jax.value_and_grad(objective, has_aux=True)(values)
        updates, opt_state = optimiser.update(gradient, state.opt_state, values)
        distilled = dataclasses.replace(distilled, **optax.apply_updates(values, updates))
        images, labels = distilled.images, distilled.labels
        member = pools.train(
            member, model, pool_optimiser, images, labels, config.pool_steps, rows_key, config.pool_rows
        )
        member = pools.renew(member, config.max_online, pools.fresh(new_key, model, pool_optimiser))
        after = dataclasses.replace(
            state,
            distilled=distilled,
            opt_state=opt_state,
            pool=state.pool.put(index, member),
            step=state.step + 1,
        )
        return after, {"loss": loss, "accuracy": accuracy, "age": member.age.astype(jnp.float32)}

    return Distiller(init, step, extract=lambda state: state.distilled)


def prepare(config: FrepoConfig, train: TrainSet, model: Model, key: PRNGKey) -> tuple[DistilledSet, Feed]:
    """The first distilled set, and a feed of real batches drawn without replacement."""
    start_key, feed_key = jax.random.split(key)
    start = start_set(start_key, train, config.ipc, config.start, targets=scaled_targets)
    return start, image_batches(train, config.batch, feed_key)


def network(config: FrepoConfig, image_shape: tuple[int, ...], num_classes: int) -> Model:
    """The ConvNet whose channels double from block to block."""
    sizes = {"width": config.width, "depth": config.depth or None}
    return build_sized("convnet_rcig", image_shape, num_classes, norm=config.norm, **sizes)


METHOD = Method(
    config=FrepoConfig, prepare=prepare, build=build, model=network, space="rcig", split=("images", "labels")
)
