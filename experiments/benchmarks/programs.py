"""Every kind of program at its published sizes on CIFAR-10, as functions with abstract arguments."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddjax.backend import target
from ddjax.distilled import DistilledSet
from ddjax.distillers import DISTILLERS, dance, datm, frepo, rcig
from ddjax.distillers.dance.feed import ClassBatch
from ddjax.distillers.datm.config import published
from ddjax.distillers.datm.feed import Segments
from ddjax.distillers.shared.feeds import Batch, image_batches
from ddjax.evaluation import PROTOCOLS
from ddjax.experts import RECIPES, fleet
from ddjax.experts.identity import parameters
from ddjax.models import build
from ddjax.robust import make_rule
from ddjax.training import Examples, Recipe, make_trainer
from ddjax.training.members import settled
from ddjax.training.programs import alone, programs
from ddjax.training.rule import PLAIN, Rule
from ddjax.types import Distiller, TrainSet

SHAPE, CLASSES, TRAIN, TEST = (32, 32, 3), 10, 50_000, 10_000


class Program(NamedTuple):
    """A program to compile: `step` and `train` receive their state as the first argument, which is donated."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    donated: bool = False
    split: tuple[str, ...] = ()  # fields of a step's batch that are divided among devices
    steps: int = 10_000  # of the whole run, which decide the compiler's effort


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    """An abstract array of floats."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def ints(*shape: int) -> jax.ShapeDtypeStruct:
    """An abstract array of integers."""
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def a_key(*shape: int) -> Any:
    """An abstract key, or an array of keys."""
    return jax.eval_shape(lambda: jax.random.split(jax.random.key(0), shape) if shape else jax.random.key(0))


def _of_distiller(name: str, distiller: Distiller, start: Any, batch: Any) -> dict[str, Program]:
    state = jax.eval_shape(distiller.init, a_key(), start)
    return {
        "init": Program(distiller.init, (a_key(), start), steps=1),
        "step": Program(distiller.step, (state, batch), True, DISTILLERS[name].split),
    }


def _batches(images: Any, labels: Any, key: Any, step: Any) -> Batch:
    # what the step of a distiller reads: RCIG, FRePo and KIP
    train = TrainSet(images=images, labels=labels, ids=labels, num_classes=CLASSES)
    feed = image_batches(train, rcig.RcigConfig().batch, key)
    return feed.at(feed.data, step)


def _rcig(**fields: Any) -> dict[str, Program]:
    config = rcig.RcigConfig(**fields)
    m, batch = CLASSES * config.ipc, Batch(floats(config.batch, *SHAPE), ints(config.batch))
    support = rcig.Support(images=floats(m, *SHAPE), labels=floats(m, CLASSES), log_temperature=floats())
    start = rcig.Start(support=support, batch=batch, space="rcig")
    return _of_distiller("rcig", rcig.build(config, rcig.network(config, SHAPE, CLASSES)), start, batch)


def _regression(name: str, **fields: Any) -> dict[str, Program]:
    method = DISTILLERS[name]
    config = method.config(**fields)
    m, batch = CLASSES * config.ipc, Batch(floats(config.batch, *SHAPE), ints(config.batch))
    start = DistilledSet(
        images=floats(m, *SHAPE), labels=floats(m, CLASSES), num_classes=CLASSES, label_kind="regression", space="rcig"
    )
    model = frepo.network(frepo.FrepoConfig(), SHAPE, CLASSES)
    return _of_distiller(name, method.build(config, model), start, batch)


def _datm(name: str, config: datm.DatmConfig) -> dict[str, Program]:
    model, m, r = datm.network(config, SHAPE, CLASSES), CLASSES * config.ipc, config.segments
    start = datm.Start(images=floats(m, *SHAPE), labels=floats(m, CLASSES), space="datm")
    weights = floats(r, parameters(model))
    batch = Segments(weights, weights, ints(r), a_key())
    return _of_distiller(name, DISTILLERS[name].build(config, model), start, batch)


def _dance(name: str, **fields: Any) -> dict[str, Program]:
    config = DISTILLERS[name].config(**fields)
    model = dance.network(config, SHAPE, CLASSES)
    box = dance.Box(low=floats(SHAPE[2]), high=floats(SHAPE[2]))
    start = dance.Start(images=floats(CLASSES, config.ipc, *SHAPE), box=box, space="dance")
    params = jax.eval_shape(model.init, a_key())
    batch = ClassBatch(floats(CLASSES, config.batch, *SHAPE), floats(CLASSES, config.batch), params, params)
    return _of_distiller(name, DISTILLERS[name].build(config, model), start, batch)


METHODS: Mapping[str, Callable[[], dict[str, Program]]] = {
    "rcig": _rcig,
    "frepo": lambda: _regression("frepo", ipc=10),
    "kip": lambda: _regression("kip", ipc=10),
    "kip conjugate": lambda: _regression("kip", ipc=10, kernel="conjugate"),
    "datm": lambda: _datm("datm", published("cifar10", 10)),
    "mtt": lambda: _datm("mtt", DISTILLERS["mtt"].config(ipc=10)),
    "dance": lambda: _dance("dance", ipc=10),
    "dm": lambda: _dance("dm", ipc=10),
    "ncfm": lambda: _dance("ncfm", ipc=10),
}


def _experts() -> dict[str, Program]:
    # a group of a device, trained for a block of epochs
    how, count = ("map", 1) if target() == "cpu" else ("vmap", fleet.SIDE_BY_SIDE)
    model, recipe = build("convnet", SHAPE, CLASSES), RECIPES["datm"]
    made = fleet.programs(model, recipe, how, 1, jnp.float32)
    start = made.start if how == "vmap" else jax.vmap(make_trainer(model, recipe).init)
    states = jax.eval_shape(start, a_key(count), floats(count))
    examples = Examples(floats(TRAIN, *SHAPE), floats(TRAIN, CLASSES))
    return {
        "start": Program(start, (a_key(count), floats(count)), steps=1),
        "train": Program(made.advance, (states, examples, ints(), ints(), a_key()), True),
        "judge": Program(made.judge, (states, examples), steps=1),
    }


def _trained(recipe: Recipe, members: int, images: int, rule: Rule = PLAIN) -> dict[str, Program]:
    # a block of epochs, with the test accuracy at its end
    trainer, data = make_trainer(build("convnet", SHAPE, CLASSES), recipe, rule), None
    examples = Examples(floats(images, *SHAPE), floats(images, CLASSES))
    watch = {"test": (floats(TEST, *SHAPE), {"test": ints(TEST)})}
    if settled("auto") == "map":
        run, keys, rates = alone(trainer, recipe.epochs, True).train, a_key(), floats()

        def start(key: Any, rate: Any, data: Any, params: Any, examples: Any) -> Any:
            return trainer.init(key, rate, examples, data, params)

    else:
        start, run, _ = programs(trainer, recipe.epochs, True, "vmap", 1)
        keys, rates = a_key(members), floats(members)
    states = jax.eval_shape(start, keys, rates, data, None, examples)
    return {
        "start": Program(start, (keys, rates, data, None, examples), steps=1),
        "train": Program(run, (states, examples, watch, ints(2), a_key()), True),
    }


def _students(protocol: str) -> dict[str, Program]:
    known = PROTOCOLS[protocol]
    return _trained(known.recipe(10 * CLASSES), known.students, 10 * CLASSES)


def _rule(name: str) -> dict[str, Program]:
    recipe = Recipe(epochs=100, batch=128, rate=0.05, momentum=0.9, weight_decay=5e-4, augment="crop_flip")
    return _trained(recipe, 1, TRAIN, make_rule(name, recipe.epochs))


TRAININGS: Mapping[str, Callable[[], dict[str, Program]]] = {
    "experts": _experts,
    **{f"students {name}": (lambda name=name: _students(name)) for name in ("datm", "dance", "rcig")},
    # one network; tables that are updated; two networks; several views and a mixture; extra parameters
    **{f"rule {name}": (lambda name=name: _rule(name)) for name in ("ce", "elr", "coteaching", "dividemix", "storm")},
}


def every() -> Iterator[tuple[str, Callable[[], Program]]]:
    """(name, program) of all programs; a program is built when it is called for, under the current platform."""
    for group, make in {**METHODS, **TRAININGS}.items():
        for kind in ("init", "step") if group in METHODS else ("start", "train"):
            yield f"{group} {kind}", lambda make=make, kind=kind: make()[kind]
    yield "image batches", lambda: Program(_batches, (floats(TRAIN, *SHAPE), ints(TRAIN), a_key(), ints()))
    yield "experts judge", lambda: _experts()["judge"]
