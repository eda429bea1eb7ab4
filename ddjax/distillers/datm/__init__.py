"""DATM: difficulty-aligned trajectory matching; MTT and FTD are other settings of it.

Images, soft labels and a student's step size are learned so that a student trained on them, starting from an expert's
weights, ends where that expert was a few epochs later. The range of start epochs decides the difficulty of the
patterns that the set learns: small sets can hold early epochs only. Sources: Guo et al., 2024 (arXiv:2310.05773);
Cazenavette et al., 2022 (arXiv:2203.11932).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ddjax.distilled import DistilledSet
from ddjax.distillers.datm.config import DatmConfig, MttConfig
from ddjax.distillers.datm.feed import Segments, segment_feed
from ddjax.distillers.datm.match import Learned, match, mean_of_accepted, step_size, way
from ddjax.distillers.datm.start import Start, begin
from ddjax.distillers.shared.start import check_class_sizes
from ddjax.experts import trajectories
from ddjax.models import build_sized, split_stats
from ddjax.trees import record
from ddjax.types import Distiller, Feed, Method, Metrics, Model, PRNGKey, TrainSet

_EXPERTS = 3  # the stream of the experts' seed in a run's key


@record(static=("space",))
class DatmState:
    """Everything that changes between steps."""

    learned: Learned
    opt_state: Any
    average: Any  # [m h w c], moving average of the images; None without one
    key: Any  # constant: each step folds its own number in
    step: Any  # int32 []
    accepted: Any  # int32 [], number of outer steps that changed anything
    space: str


def optimiser(config: DatmConfig) -> optax.GradientTransformation:
    """SGD with momentum, with separate rates for images, labels and step size."""
    optimisers = {
        "images": optax.sgd(config.image_rate, config.image_momentum),
        "labels": optax.sgd(config.label_rate, config.label_momentum) if config.learn_labels else optax.set_to_zero(),
        "rate": optax.sgd(config.step_size_rate, config.step_size_momentum),
    }
    return optax.partition(optimisers, Learned(images="images", labels="labels", rate="rate"))


def build(config: DatmConfig, model: Model) -> Distiller:
    """The functions init, step and extract for a network."""
    sgd = optimiser(config)

    @jax.jit  # one program when called alone; inlined inside other programs. The same holds for `step`
    def init(key: PRNGKey, start: Start) -> DatmState:
        rate = jnp.float32(config.step_size)
        rate = jnp.log(jnp.expm1(rate)) if config.positive_step_size else rate
        learned = Learned(images=jnp.copy(start.images), labels=jnp.copy(start.labels), rate=rate)
        return DatmState(
            learned=learned,
            opt_state=sgd.init(learned),
            average=jnp.copy(start.images) if config.average_decay else None,
            key=key,
            step=jnp.int32(0),
            accepted=jnp.int32(0),
            space=start.space,
        )

    @jax.jit
    def step(state: DatmState, batch: Segments) -> tuple[DatmState, Metrics]:
        learned = state.learned
        matched = match(config, model, learned, jax.random.fold_in(state.key, state.step), batch)
        finite = jax.vmap(lambda g: jnp.isfinite(optax.tree.norm(g)))(matched.learned)
        accepted = (matched.value <= config.threshold) & finite  # false for NaN
        gradient = mean_of_accepted(matched.learned, accepted)
        updates, opt_state = sgd.update(gradient, state.opt_state, learned)
        moved, any_accepted = optax.apply_updates(learned, updates), accepted.any()
        average, decay = state.average, config.average_decay
        new = moved, opt_state, None if average is None else decay * average + (1 - decay) * moved.images
        moved, opt_state, average = optax.tree.where(any_accepted, new, (learned, state.opt_state, average))
        after = dataclasses.replace(
            state,
            learned=moved,
            opt_state=opt_state,
            average=average,
            step=state.step + 1,
            accepted=state.accepted + any_accepted,
        )
        return after, {
            "loss": jnp.mean(matched.value),
            "accepted": after.accepted / after.step,
            "step_size": step_size(config, learned.rate),
            "start": jnp.mean(batch.epochs.astype(jnp.float32)),
            "image_gradient": optax.tree.norm(gradient.images),
            "label_gradient": optax.tree.norm(gradient.labels),
        }

    def extract(state: DatmState) -> DistilledSet:
        learned = state.learned
        hard = jnp.argmax(learned.labels, axis=1).astype(jnp.int32)
        return DistilledSet(
            images=learned.images if state.average is None else state.average,
            labels=learned.labels if config.learn_labels else hard,
            step_size=step_size(config, learned.rate),
            num_classes=learned.labels.shape[1],
            label_kind="logits" if config.learn_labels else "hard",
            space=state.space,
        )

    return Distiller(init, step, extract)


def prepare(config: DatmConfig, train: TrainSet, model: Model, key: PRNGKey) -> tuple[Start, Feed]:
    """Train the experts on the given labels, choose the first images and labels, and feed the experts' trajectories.

    Args:
      config: the settings.
      train: the training set.
      model: the network of experts and students.
      key: decides the first images and the order of the trajectories.

    Returns:
      The start, and the feed of segments.

    Raises:
      ValueError: a class has too few images, the step does not fit into `config.memory`, or the network has batch norm.
    """
    start_key, feed_key = jax.random.split(key)
    shape, k = tuple(train.images.shape[1:]), train.num_classes
    if config.start != "noise":
        check_class_sizes(train.labels, k, config.ipc)  # before the experts are trained
    way(config, model, shape, config.ipc * k, k)  # logs the memory of an outer step, or raises if it does not fit
    params = jax.eval_shape(model.init, jax.random.key(0))
    if split_stats(params)[1]:
        raise ValueError("trajectory matching needs a network without batch norm: running statistics have no gradient")
    experts = trajectories(
        model,
        config.recipe(len(train.labels)),
        train,
        experts=config.experts,
        keep=config.kept(),
        seed=own_seed(key) if config.expert_seed < 0 else config.expert_seed,
        storage=config.storage,
        store=config.store,
    )
    start = begin(config, start_key, train, model, experts)
    return start, segment_feed(experts, config.schedule(), config.match_epochs, feed_key)


def own_seed(key: PRNGKey) -> int:
    """The seed of a run's own experts, the same for all sizes of distilled sets with this key."""
    return int(jax.random.bits(jax.random.fold_in(key, _EXPERTS), dtype=jnp.uint32) >> 1)


def network(config: DatmConfig, image_shape: tuple[int, ...], num_classes: int) -> Model:
    """The ConvNet with instance norm, for experts and students."""
    return build_sized("convnet", image_shape, num_classes, width=config.width or None, depth=config.depth or None)


METHOD = Method(
    config=DatmConfig,
    prepare=prepare,
    build=build,
    model=network,
    space="datm",
    split=("starts", "targets", "epochs"),  # by segment: the second axis of the first two is no batch
)
MTT = METHOD._replace(config=MttConfig)
