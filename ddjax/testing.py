"""The contract that every distiller must keep, importable by forks: `test_mine = testing.contract(METHOD)`."""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from ddjax.distilled import check, targets
from ddjax.execution.guard import counter
from ddjax.execution.loop import distill
from ddjax.models import build
from ddjax.models.specification import equations
from ddjax.ranges import Count, Seed, checked
from ddjax.storage.checkpoints import Checkpoints
from ddjax.trees import Stacked, raw
from ddjax.types import Distiller, Feed, Method, Model, TrainSet

LARGEST_CONSTANT = 4096  # numbers; anything larger must be an argument


@checked
def toy_train(
    num_classes: Count = 3, per_class: Count = 8, side: Count = 8, channels: Count = 3, seed: Seed = 0
) -> TrainSet:
    """Noisy stripes of a class's own frequency, standardised: small, learnable, and made on the spot."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(num_classes, dtype=np.int32), per_class)
    wave = np.sin(np.arange(side) * (labels[:, None] + 1) * np.pi / side)
    images = wave[:, None, :, None] + 0.3 * rng.standard_normal((len(labels), side, side, channels))
    return TrainSet(
        images=jnp.asarray(images, jnp.float32),
        labels=jnp.asarray(labels),
        ids=jnp.arange(len(labels), dtype=jnp.int32),
        num_classes=num_classes,
        space="toy",
    )


class Case:
    """A method made ready on the toy problem."""

    def __init__(self, method: Method, config: Any):
        """Prepare the data and build the distiller."""
        self.train: TrainSet = toy_train()
        shape, k = self.train.images.shape[1:], self.train.num_classes
        model: Model = method.model(config, shape, k) if method.model else build("convnet", shape, k, depth=2, width=4)
        self.config = config
        self.steps: int = max(method.steps(config), 1)
        self.feed: Feed
        self.start, self.feed = method.prepare(config, self.train, model, jax.random.key(1))
        self.distiller: Distiller = method.build(config, model)
        self.traces = 0  # of `step`, which all checks share

        def counted(state: Any, batch: Any) -> tuple[Any, Any]:
            self.traces += 1
            return self.distiller.step(state, batch)

        self.step: Callable[[Any, Any], tuple[Any, Any]] = jax.jit(counted)

    @checked
    def state(self, seed: Seed = 0) -> Any:
        """A fresh state."""
        return self.distiller.init(jax.random.key(seed), self.start)

    def batch(self, step: Any) -> Any:
        """The batch of a step."""
        return self.feed.at(self.feed.data, jnp.int32(step))

    @checked
    def looped(self, seed: Seed = 0) -> Any:
        """The state after all steps, one at a time."""
        state = self.state(seed)
        for number in range(self.steps):
            state, _ = self.step(state, self.batch(number))
        return state

    @functools.cached_property
    def program(self) -> Any:
        """The step as a jaxpr."""
        return jax.make_jaxpr(self.distiller.step)(self.state(), self.batch(0))


def step_keeps_structure(case: Case) -> None:
    """`step` returns a state of the structure, shapes and dtypes it was given, so that it can be scanned."""
    before = jax.eval_shape(case.state)
    after = jax.eval_shape(case.distiller.step, before, jax.eval_shape(case.batch, 0))[0]
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)


def step_is_counted(case: Case) -> None:
    """The state has a field `step`, int32 [], which is 0 at first and which each step raises by one."""
    state = case.state()
    after, _ = case.step(state, case.batch(0))
    counts = int(counter(state)), int(counter(after))
    assert counts == (0, 1), f"step is {counts[0]} at first and {counts[1]} after one step; it must be 0 and 1"


def step_changes_one_member(case: Case) -> None:
    """Of a `trees.Stacked` a step changes one member, by one `put`: the guard could not undo another change."""
    state = case.state()
    after, _ = case.step(state, case.batch(0))
    pairs = [jax.tree.leaves(tree, is_leaf=lambda part: isinstance(part, Stacked)) for tree in (state, after)]
    for before, new in zip(*pairs, strict=True):
        if isinstance(new, Stacked):
            chex.assert_trees_all_equal(raw(new.before), raw(before.whole()))


def step_traces_once(case: Case) -> None:
    """Nothing about a step's number or values makes it compile again."""
    state = case.state()
    for number in range(min(case.steps, 3)):
        state, _ = case.step(state, case.batch(number))
    assert case.traces == 1, f"the step was traced {case.traces} times; let no shape, dtype or Python number change"


def scan_is_loop(case: Case) -> None:
    """The compiled loop ends in the state that single steps end in."""
    scanned, _ = distill(case.distiller, case.feed, case.state(), steps=case.steps, chunk=2)
    chex.assert_trees_all_close(raw(scanned), raw(case.looped()), rtol=1e-4, atol=1e-5)


def interrupted_is_whole(case: Case) -> None:
    """Stopping half-way and going on from a checkpoint changes no bit: randomness is a function of (seed, step)."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Checkpoints(pathlib.Path(folder) / "run", {"config": str(case.config)}, seconds=0.0)
        distill(case.distiller, case.feed, case.state(), steps=case.steps // 2, chunk=2, checkpoints=kept)
        state, log = distill(case.distiller, case.feed, case.state(), steps=case.steps, chunk=2, checkpoints=kept)
    whole, seen = distill(case.distiller, case.feed, case.state(), steps=case.steps, chunk=2)
    chex.assert_trees_all_equal(raw(state), raw(whole))
    chex.assert_trees_all_equal(log, seen)


def vmap_is_map(case: Case) -> None:
    """Several seeds side by side give what each gives alone."""
    keys = jax.random.split(jax.random.key(7), 2)
    states = jax.vmap(case.distiller.init, (0, None))(keys, case.start)
    together, _ = jax.jit(jax.vmap(case.distiller.step, (0, None)))(states, case.batch(0))
    for i, key in enumerate(keys):
        alone, _ = case.step(case.distiller.init(key, case.start), case.batch(0))
        member = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        chex.assert_trees_all_close(raw(member), raw(alone), rtol=1e-4, atol=1e-5)


def same_seed_same_result(case: Case) -> None:
    """Two runs of one seed agree bit for bit."""
    chex.assert_trees_all_equal(raw(case.looped(3)), raw(case.looped(3)))


def extracts_a_distilled_set(case: Case) -> None:
    """The result is a valid set of finite images with targets for every class."""
    distilled = check(case.distiller.extract(case.looped()))
    assert distilled.num_classes == case.train.num_classes
    assert set(np.argmax(targets(distilled), axis=1).tolist()) == set(range(case.train.num_classes))


def metrics_are_finite_scalars(case: Case) -> None:
    """Metrics are scalars by name, finite from the first step."""
    _, metrics = case.step(case.state(), case.batch(0))
    for name, value in metrics.items():
        assert jnp.shape(value) == () and bool(jnp.isfinite(value)), f"metric {name} is {value}"


def no_large_constants(case: Case) -> None:
    """No array of the data's size is compiled into the step: data ride along as arguments."""
    large = [np.shape(c) for c in case.program.consts if np.size(c) > LARGEST_CONSTANT]
    assert not large, f"constants of shapes {large} are closed over; make them part of the state or the batch"


def no_call_of_the_host(case: Case) -> None:
    """The step never waits for Python: no callback, no print, no feed."""
    primitives = {equation.primitive.name for equation in equations(case.program)}
    calls = {name for name in primitives if "callback" in name or name in ("infeed", "outfeed")}
    assert not calls, f"the step leaves the device by {sorted(calls)}; compute it there, or beside the loop"


CHECKS: list[Callable[[Case], None]] = [
    step_keeps_structure,
    step_is_counted,
    step_changes_one_member,
    step_traces_once,
    scan_is_loop,
    interrupted_is_whole,
    vmap_is_map,
    same_seed_same_result,
    extracts_a_distilled_set,
    metrics_are_finite_scalars,
    no_large_constants,
    no_call_of_the_host,
]


def contract(method: Method, config: Any = None, **fields: Any) -> Callable[..., None]:
    """A pytest test that holds `method` to every check; `config` (or its fields) should make it quick."""
    import pytest

    config = config or dataclasses.replace(method.config(), **fields)
    case = functools.cache(lambda: Case(method, config))

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test(check: Callable[[Case], None]) -> None:
        check(case())

    return test
