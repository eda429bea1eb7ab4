"""The contract of every distiller, for tests of forks: `test_mine = testing.contract(METHOD)`."""

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
from ddjax.distillers.setup import make_config, set_up
from ddjax.execution.distill import distill
from ddjax.execution.fleet import join_feeds
from ddjax.execution.guard import counter
from ddjax.execution.options import RunOptions
from ddjax.models import build
from ddjax.models.specification import equations
from ddjax.ranges import Count, Seed, checked
from ddjax.storage.checkpoints import Checkpoints
from ddjax.trees import Stacked, raw, take
from ddjax.types import Method, TrainSet

LARGEST_CONSTANT = 4096  # number of scalars; a larger array must be an argument


@checked
def toy_train(
    num_classes: Count = 3, per_class: Count = 8, side: Count = 8, channels: Count = 3, seed: Seed = 0
) -> TrainSet:
    """A small learnable training set: noisy stripes whose frequency depends on the class.

    Args:
      num_classes: k.
      per_class: images per class.
      side: height and width of the images.
      channels: of the images.
      seed: of the noise.

    Returns:
      A training set in a space named "toy".

    Example:
      >>> toy_train(num_classes=2, per_class=3).images.shape
      (6, 8, 8, 3)
    """
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
    """A method that is set up on the toy problem."""

    def __init__(self, method: Method, config: Any):
        """Prepare the data and build the distiller."""
        self.train: TrainSet = toy_train()
        small = build("convnet", self.train.images.shape[1:], self.train.num_classes, depth=2, width=4)
        self.set_up = lambda: set_up(method, config, self.train, jax.random.key(1), small)
        self.config, setup = config, self.set_up()
        self.steps = max(setup.steps, 1)
        self.start, self.feed, self.distiller = setup.start, setup.feed, setup.distiller
        self.traces = 0  # of `step`, which all checks share

        def counted(state: Any, batch: Any) -> tuple[Any, Any]:
            self.traces += 1
            return self.distiller.step(state, batch)

        self.step: Any = jax.jit(counted)
        self.init: Any = jax.jit(self.distiller.init)
        self.at: Any = jax.jit(self.feed.at)

    @checked
    def state(self, seed: Seed = 0) -> Any:
        """A fresh state."""
        return self.init(jax.random.key(seed), self.start)

    def batch(self, step: Any) -> Any:
        """The batch of a step."""
        return self.at(self.feed.data, jnp.int32(step))

    @checked
    def looped(self, seed: Seed = 0) -> Any:
        """The state after all steps, run one at a time."""
        state = self.state(seed)
        for number in range(self.steps):
            state, _ = self.step(state, self.batch(number))
        return state

    @functools.cached_property
    def program(self) -> Any:
        """The step as a jaxpr."""
        return self.step.trace(self.state(), self.batch(0)).jaxpr


def feed_is_one_function(case: Case) -> None:
    """Equal settings give one function `at`: the runs of a fleet share it, and its program is compiled once."""
    join_feeds(case.distiller, [case.feed, case.set_up().feed])


def step_keeps_structure(case: Case) -> None:
    """`step` keeps the structure, shapes and dtypes of the state, so that it can be scanned."""
    before = case.state()
    after = case.step.eval_shape(before, case.batch(0))[0]
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)


def step_is_counted(case: Case) -> None:
    """The state has a field `step`, int32 [], which is 0 at first and increases by one with each step."""
    state = case.state()
    counts = int(counter(state)), int(counter(case.step(state, case.batch(0))[0]))
    assert counts == (0, 1), f"step is {counts[0]} at first and {counts[1]} after one step; it must be 0 and 1"


def step_changes_one_member(case: Case) -> None:
    """A step changes one member of a `trees.Stacked`, by one `put`; the guard could not undo more."""
    state = case.state()
    after, _ = case.step(state, case.batch(0))
    pairs = [jax.tree.leaves(tree, is_leaf=lambda part: isinstance(part, Stacked)) for tree in (state, after)]
    for before, new in zip(*pairs, strict=True):
        if isinstance(new, Stacked):
            chex.assert_trees_all_equal(raw(new.before), raw(before.whole()))


def step_traces_once(case: Case) -> None:
    """Neither the number of a step nor its values cause a new compilation."""
    state = case.state()
    for number in range(min(case.steps, 3)):
        state, _ = case.step(state, case.batch(number))
    assert case.traces == 1, f"the step was traced {case.traces} times; let no shape, dtype or Python number change"


def scan_is_loop(case: Case) -> None:
    """The compiled loop ends in the same state as single steps."""
    scanned, _ = distill(case.distiller, case.feed, case.state(), steps=case.steps, chunk=2)
    chex.assert_trees_all_close(raw(scanned), raw(case.looped()), rtol=1e-4, atol=1e-5)


def interrupted_is_whole(case: Case) -> None:
    """A run that stops and continues from a checkpoint has the same bits: randomness depends on (seed, step) only."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(pathlib.Path(folder) / "run", {"config": str(case.config)}, seconds=0.0)
        kept = RunOptions(checkpoints=checkpoints)
        distill(case.distiller, case.feed, case.state(), steps=case.steps // 2, chunk=2, options=kept)
        state, log = distill(case.distiller, case.feed, case.state(), steps=case.steps, chunk=2, options=kept)
    whole, seen = distill(case.distiller, case.feed, case.state(), steps=case.steps, chunk=2)
    chex.assert_trees_all_equal(raw(state), raw(whole))
    chex.assert_trees_all_equal(log, seen)


def vmap_is_map(case: Case) -> None:
    """Several vmapped seeds have the same results as single ones."""
    keys = jax.random.split(jax.random.key(7), 2)
    states = jax.jit(jax.vmap(case.distiller.init, (0, None)))(keys, case.start)
    together, _ = jax.jit(jax.vmap(case.distiller.step, (0, None)))(states, case.batch(0))
    for i, key in enumerate(keys):
        alone, _ = case.step(case.init(key, case.start), case.batch(0))
        chex.assert_trees_all_close(raw(take(together, i)), raw(alone), rtol=1e-4, atol=1e-5)


def same_seed_same_result(case: Case) -> None:
    """Two runs with the same seed are equal bit for bit."""
    chex.assert_trees_all_equal(raw(case.looped(3)), raw(case.looped(3)))


def extracts_a_distilled_set(case: Case) -> None:
    """The result is a valid distilled set with finite images and targets for every class."""
    distilled = check(case.distiller.extract(case.looped()))
    assert distilled.num_classes == case.train.num_classes
    assert set(np.argmax(targets(distilled), axis=1).tolist()) == set(range(case.train.num_classes))


def metrics_are_finite_scalars(case: Case) -> None:
    """Metrics are finite scalars from the first step on."""
    _, metrics = case.step(case.state(), case.batch(0))
    for name, value in metrics.items():
        assert jnp.shape(value) == () and bool(jnp.isfinite(value)), f"metric {name} is {value}"


def no_large_constants(case: Case) -> None:
    """No large array is compiled into the step; data are arguments."""
    large = [np.shape(c) for c in case.program.consts if np.size(c) > LARGEST_CONSTANT]
    assert not large, f"constants of shapes {large} are closed over; make them part of the state or the batch"


def no_call_of_the_host(case: Case) -> None:
    """The step does not call the host: no callback, no print, no feed."""
    primitives = {equation.primitive.name for equation in equations(case.program)}
    calls = {name for name in primitives if "callback" in name or name in ("infeed", "outfeed")}
    assert not calls, f"the step leaves the device by {sorted(calls)}; compute it on the device, or outside the loop"


CHECKS: list[Callable[[Case], None]] = [
    feed_is_one_function,
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
    """A pytest test that runs every check of the contract on a method.

    Args:
      method: the method.
      config: its configuration, which should run quickly.
      fields: fields of the configuration, which replace those of `config`.

    Returns:
      A parametrized test function, whose attribute `case` is a function that returns the shared `Case`.

    Raises:
      ValueError: a field is unknown, or its value is out of range.

    Example:
      >>> from ddjax.distillers import DISTILLERS
      >>> test_mine = contract(DISTILLERS["random"], ipc=1)
    """
    import pytest

    case = functools.cache(functools.partial(Case, method, make_config(method, config, **fields)))

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test(check: Callable[[Case], None]) -> None:
        check(case())

    test.case = case  # other tests of the same problem share its programs: `test_mine.case()`
    return test
