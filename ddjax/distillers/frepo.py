"""FRePo: images and labels from which ridge regression on a network's features predicts the real ones.

The kernel is that of the last hidden features of a network drawn from a pool (the conjugate kernel); the pool's
networks are trained on the distilled set itself, one step at each visit. Source: Zhou et al., 2022
(arXiv:2206.00719).
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax import ranges
from ddjax.distilled import DistilledSet
from ddjax.distillers.rcig.outer import margin
from ddjax.distillers.shared import pool as pools
from ddjax.distillers.shared.feeds import Batch, image_batches
from ddjax.distillers.shared.prototypes import start_images
from ddjax.kernels import gram, relative, ridge_predict
from ddjax.models import build as build_model
from ddjax.preprocess import centered
from ddjax.ranges import Count, Natural, NonNegative, Positive
from ddjax.trees import Stacked, record
from ddjax.types import Distiller, Feed, Images, Method, Metrics, Model, Params, PRNGKey, TrainSet


@dataclasses.dataclass(frozen=True)
class FrepoConfig:
    """Everything that decides a run; the defaults are the published ones.

    Attributes:
      depth: of the ConvNet; 0 takes it from the images' side.
      norm: of the pool's networks. Theirs have batch norm before each convolution but the first, ours after each.
      ridge: in units of the kernel's mean diagonal.
      rate: LAMB's, which falls to a tenth along a cosine.
      pool_rows: of the support that a visited network is trained on, at most.
      max_online: steps after which a network is replaced; the first networks count from staggered ages.
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
    start: str = "real"
    float64_solve: bool = False

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        ranges.fields(self)


@record()
class Learned:
    """What is learned."""

    images: Any  # [m h w c]
    labels: Any  # [m k]


@record(static=("space",))
class Start:
    """The first distilled images, and the space they live in."""

    learned: Learned
    space: str


@record(static=("space",))
class FrepoState:
    """Everything that changes."""

    learned: Learned
    opt_state: Any
    pool: Any  # trees.Stacked of pools.Member
    key: Any  # never advanced
    step: Any  # int32 []
    space: str


def scaled_targets(labels: Int[Array, "n"], num_classes: int) -> Float[Array, "n k"]:
    """Centred one-hot rows, smaller where there are more than ten classes."""
    return centered(labels, num_classes) / math.sqrt(num_classes / 10)


def frepo_loss(
    config: FrepoConfig, model: Model, params: Params, learned: Learned, images: Images, targets: Float[Array, "b k"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Half the squared error of the ridge prediction, less the labels' margin up to 1 / k; and the accuracy."""
    labels = learned.labels if config.learn_labels else jax.lax.stop_gradient(learned.labels)
    phi, phi_b = model.features(params, learned.images), model.features(params, images)
    kernel = gram(phi, phi)
    dtype = jnp.float64 if config.float64_solve else None
    found = ridge_predict(gram(phi_b, phi), kernel, labels, relative(kernel, config.ridge), dtype)
    error = 0.5 * jnp.mean(jnp.sum((found - targets) ** 2, axis=1))
    hit = jnp.argmax(found, axis=1) == jnp.argmax(targets, axis=1)
    return error - margin(labels, 1 / labels.shape[1]), jnp.mean(hit.astype(jnp.float32))


def build(config: FrepoConfig, model: Model) -> Distiller:
    """The distiller at a network."""
    optimiser = optax.lamb(optax.cosine_decay_schedule(config.rate, config.steps, 0.1))
    pool_optimiser = optax.adam(config.pool_rate)

    @jax.jit  # one program where it is called on its own, and inlined elsewhere; so is the step
    def init(key: PRNGKey, start: Start) -> FrepoState:
        pool_key, key = jax.random.split(key)
        pool = pools.fill(pool_key, model, pool_optimiser, config.pool_size).whole()
        ages = jnp.arange(config.pool_size, dtype=jnp.int32) * config.max_online // config.pool_size
        return FrepoState(
            learned=jax.tree.map(jnp.copy, start.learned),
            opt_state=optimiser.init(start.learned),
            pool=Stacked.of(dataclasses.replace(pool, age=ages)),
            key=key,
            step=jnp.int32(0),
            space=start.space,
        )

    @jax.jit
    def step(state: FrepoState, batch: Batch) -> tuple[FrepoState, Metrics]:
        member_key, rows_key, new_key = jax.random.split(jax.random.fold_in(state.key, state.step), 3)
        index = jax.random.randint(member_key, (), 0, config.pool_size)
        member, learned = state.pool.take(index), state.learned
        targets = scaled_targets(batch.labels, learned.labels.shape[1])

        def objective(learned: Learned) -> tuple[Array, Array]:
            return frepo_loss(config, model, member.params, learned, batch.images, targets)

        (loss, accuracy), gradient = jax.value_and_grad(objective, has_aux=True)(learned)
        updates, opt_state = optimiser.update(gradient, state.opt_state, learned)
        learned = optax.apply_updates(learned, updates)
        member = pools.train(
            member, model, pool_optimiser, learned.images, learned.labels, config.pool_steps, rows_key, config.pool_rows
        )
        member = pools.renew(member, config.max_online, pools.fresh(new_key, model, pool_optimiser))
        new = dataclasses.replace(
            state,
            learned=learned,
            opt_state=opt_state,
            pool=state.pool.put(index, member),
            step=state.step + 1,
        )
        return new, {"loss": loss, "accuracy": accuracy, "age": member.age.astype(jnp.float32)}

    def extract(state: FrepoState) -> DistilledSet:
        return DistilledSet(
            images=state.learned.images,
            labels=state.learned.labels,
            num_classes=state.learned.labels.shape[1],
            label_kind="regression",
            space=state.space,
        )

    return Distiller(init, step, extract)


def prepare(config: FrepoConfig, train: TrainSet, model: Model, key: PRNGKey) -> tuple[Start, Feed]:
    """Prototypes of each given class, and a feed of real batches drawn without replacement."""
    prototype_key, feed_key = jax.random.split(key)
    images = start_images(prototype_key, train, config.ipc, config.start)
    labels = scaled_targets(jnp.repeat(jnp.arange(train.num_classes), config.ipc), train.num_classes)
    return (
        Start(learned=Learned(images=images, labels=labels), space=train.space),
        image_batches(train, config.batch, feed_key),
    )


def network(config: FrepoConfig, image_shape: tuple[int, ...], num_classes: int) -> Model:
    """The ConvNet with doubling channels."""
    depth = {"depth": config.depth} if config.depth else {}
    return build_model("convnet_rcig", tuple(image_shape), num_classes, width=config.width, norm=config.norm, **depth)


METHOD = Method(
    config=FrepoConfig,
    prepare=prepare,
    build=build,
    steps=lambda config: config.steps,
    model=network,
    space="rcig",
    split=("images", "labels"),
)
