"""An update that is not finite is not taken; a run that keeps making them ends without a score."""

import contextlib
import dataclasses
import functools
from typing import NamedTuple
from unittest import mock

import adder
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing, trees
from ddjax.distillers import DISTILLERS
from ddjax.execution.distill import distill
from ddjax.execution.fleet import init_members
from ddjax.execution.guard import SKIPPED, Diverged, finite, guarded, intact, watch
from ddjax.execution.options import RunOptions
from ddjax.storage.checkpoints import Checkpoints
from ddjax.types import Distiller

STEPS = 12


def run(bad=(), chunk=0, **options):
    return distill(adder.ADDER, adder.feed(bad), adder.state(), steps=STEPS, chunk=chunk, options=RunOptions(**options))


@pytest.mark.faults(6, "one update with NaN", "skipped and counted; the run ends finite, with the draws of later steps")
@pytest.mark.parametrize("chunk", [1, 5])
def test_one_bad_update_is_skipped_and_counted(chunk):
    state, log = run(bad=(4,), chunk=chunk)
    assert log[SKIPPED].tolist() == [0.0] * 4 + [1.0] + [0.0] * 7
    assert int(state.step) == STEPS and np.isfinite(np.asarray(state.total)).all()
    drawn = [jax.random.normal(jax.random.fold_in(jax.random.key(0), i), (3,)) * 1e-2 for i in range(STEPS) if i != 4]
    np.testing.assert_allclose(state.total, sum(drawn) + sum(1 + i for i in range(STEPS) if i != 4), rtol=1e-6)


class Named(NamedTuple):
    total: object
    half: object
    key: object
    step: object


@flax.struct.dataclass
class Struct:
    total: object
    half: object
    key: object
    step: object


@pytest.mark.parametrize("carrier", [Named, Struct])
def test_the_step_after_a_rejected_update_draws_other_numbers_whatever_class_the_state_is(carrier):
    # a program of its own: jaxlib takes the structures of two dataclasses for equal if their numbers of leaves are
    own = adder.ADDER._replace(step=lambda state, batch: adder.step(state, batch))
    state, _ = distill(own, adder.feed((2,)), carrier(**vars(adder.state())), steps=4)
    same, _ = distill(adder.ADDER, adder.feed((2,)), adder.state(), steps=4)
    assert type(state) is carrier and int(state.step) == 4
    np.testing.assert_array_equal(state.total, same.total)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"total": jnp.zeros(3)}, "dict has no such field"),
        ({"inner": {"step": jnp.int32(0)}}, "dict has no such field"),
        ({"step": 0}, "dict has 0"),
        ({"step": jnp.float32(0)}, r"dict has float32\[\]"),
        ({"step": jnp.zeros(2, jnp.int32)}, r"dict has int32\[2\]"),
    ],
)
def test_a_state_without_a_counter_is_refused_before_any_step(state, words):
    with pytest.raises(ValueError, match=rf"a field step, int32 \[\], and {words}: start it as jnp.int32\(0\)"):
        distill(adder.ADDER._replace(step=None), adder.feed(), state, steps=1)


def test_a_step_that_is_not_counted_is_named_after_the_first():
    distiller, states = Distiller(None, lambda state, batch: (state, {}), None), {"step": jnp.zeros(2, jnp.int32)}
    with pytest.raises(ValueError, match=r"step rose by 0 in 1 steps of the distiller: return step \+ 1"):
        distill(distiller, [adder.feed(), adder.feed()], states, steps=STEPS)


@pytest.mark.parametrize(
    ("feed", "first", "words"),
    [([], 0, "feed is an empty list"), (adder.feed(), 3, "first=3 steps are done, more than steps=2 in total")],
)
def test_no_feed_and_too_many_done_steps_are_refused(feed, first, words):
    with pytest.raises(ValueError, match=words):
        distill(adder.ADDER, feed, adder.state(), steps=2, first=first)


def test_a_state_may_hold_an_array_or_a_number_twice_and_the_key_of_its_caller():
    def step(state, batch):
        return {**state, "now": state["now"] + batch["add"], "step": state["step"] + 1}, {}

    start, key, rate = jnp.zeros(3), jax.random.key(0), 0.5
    state = {"first": start, "now": start, "keys": [key, key], "rates": [rate, rate], "step": jnp.int32(0)}
    state, _ = distill(Distiller(None, step, None), adder.feed(), state, steps=2)
    assert [float(rate) for rate in state["rates"]] == [0.5, 0.5]
    assert state["first"].tolist() == [0, 0, 0] and state["now"].tolist() == [3, 3, 3]
    assert jnp.array_equal(jax.random.key_data(key), jax.random.key_data(state["keys"][1]))  # it was not donated


def in_a_stack(spoiled_too):
    """A distiller that adds to member `step % 3` of a stack, and to its neighbour where that is asked for."""

    def step(state, batch):
        index = state["step"] % 3
        put = state["pool"].put(index, state["pool"].take(index) + batch["add"])
        if spoiled_too:
            put = put.put((index + 1) % 3, jnp.nan * batch["add"])
        return {"pool": put, "step": state["step"] + 1}, {}

    return Distiller(None, step, None)


def test_the_changed_member_of_a_stack_is_checked_and_restored():
    def start():
        return {"pool": trees.Stacked.of(jnp.zeros(3)), "step": jnp.int32(0)}

    state, log = distill(in_a_stack(False), adder.feed((1, 5)), start(), steps=7)
    assert log[SKIPPED].tolist() == [0, 1, 0, 0, 0, 1, 0]
    np.testing.assert_array_equal(state["pool"].whole(), [1 + 4 + 7, 0 + 5 + 0, 3 + 0 + 0])
    for twice in (True, False):
        case = mock.Mock(
            testing.Case, state=start, step=in_a_stack(twice).step, batch=lambda number: {"add": jnp.float32(1)}
        )
        with pytest.raises(AssertionError) if twice else contextlib.nullcontext():
            testing.step_changes_one_member(case)


def test_a_rejected_step_that_changes_no_member_keeps_the_change_before_it():
    def step(state, batch):
        pool = jax.lax.cond(state["step"] == 0, lambda old: old.put(1, jnp.float32(5)), lambda old: old, state["pool"])
        return {"pool": pool, "sum": state["sum"] + batch["add"], "step": state["step"] + 1}, {}

    start = {"pool": trees.Stacked.of(jnp.zeros(3)), "sum": jnp.float32(0), "step": jnp.int32(0)}
    state, log = distill(Distiller(None, step, None), adder.feed((1,)), start, steps=3)
    assert log[SKIPPED].tolist() == [0, 1, 0]
    np.testing.assert_array_equal(state["pool"].whole(), [0, 5, 0])


@pytest.mark.faults(6, "NaN in every update", "stopped after ten in a row, the last finite state kept, no result")
def test_too_many_skipped_updates_end_the_run_with_the_last_finite_state(tmp_path):
    before = distill(adder.ADDER, adder.feed(), adder.state(), steps=3)[0]
    kept = Checkpoints(tmp_path / "run", {})
    with pytest.raises(Diverged, match=r"stopped after step 8 of 12: 5 updates in a row.*A smaller rate") as ended:
        run(bad=range(3, 99), patience=5, checkpoints=kept)
    assert ended.value.step == 8
    np.testing.assert_array_equal(ended.value.state.total, before.total)
    saved = kept.newest(watch(adder.state()))
    np.testing.assert_array_equal(saved.state.state.total, before.total)
    assert saved.step == 8 and int(saved.state.skipped) == 5
    with pytest.raises(Diverged, match="stopped after step 8"):  # started again it ends there again, at once
        run(bad=range(3, 99), patience=5, checkpoints=kept)


def test_an_accepted_update_resets_the_count():
    _, log = run(bad=(1, 2, 4, 5, 7, 8), patience=3)
    assert log[SKIPPED].sum() == 6


def test_a_bound_that_began_infinite_may_stay_so():
    old = {"bound": jnp.array([jnp.inf, 1.0]), "count": jnp.int32(0)}
    assert finite({"bound": jnp.array([jnp.inf, 2.0]), "count": jnp.int32(1)}, old)
    assert not finite({"bound": jnp.array([jnp.inf, jnp.inf]), "count": jnp.int32(1)}, old)


def test_each_member_of_a_fleet_is_guarded_separately():
    feeds = [adder.feed(), adder.feed((2, 5)), adder.feed()]

    def together(**more):
        keys, starts = [jax.random.key(i) for i in range(3)], [jnp.zeros(3) + i for i in range(3)]
        return distill(adder.ADDER, feeds, init_members(adder.ADDER, keys, starts), steps=STEPS, **more)

    states, logs = zip(*together(), strict=True)
    assert [log[SKIPPED].sum() for log in logs] == [0, 2, 0]
    for i, feed in enumerate(feeds):
        alone, _ = distill(adder.ADDER, feed, adder.init(jax.random.key(i), jnp.zeros(3) + i), steps=STEPS)
        np.testing.assert_allclose(states[i].total, alone.total, rtol=1e-6)


@pytest.mark.faults(6, "one member of a fleet gone NaN", "the others finish with their numbers; it alone is an error")
def test_members_of_a_fleet_outlive_one_that_diverges():
    feeds = [adder.feed(), adder.feed(tuple(range(3, 9))), adder.feed((5,))]
    keys, starts = [jax.random.key(i) for i in range(3)], [np.zeros(3, np.float32) + i for i in range(3)]
    members, options = init_members(adder.ADDER, keys, starts), RunOptions(patience=4)
    ended = distill(adder.ADDER, feeds, members, steps=STEPS, options=options)
    for i in (0, 2):
        alone, log = distill(adder.ADDER, feeds[i], adder.init(jax.random.key(i), jnp.array(starts[i])), steps=STEPS)
        np.testing.assert_allclose(ended[i][0].total, alone.total, rtol=1e-6)
        np.testing.assert_array_equal(ended[i][1][SKIPPED], log[SKIPPED])
    with pytest.raises(Diverged, match=r"member 1 of 3 stopped after step 7 of 12: 4 updates in a row") as error:
        intact(ended[1])
    before, _ = distill(adder.ADDER, adder.feed(), adder.init(jax.random.key(1), jnp.array(starts[1])), steps=3)
    np.testing.assert_allclose(error.value.state.total, before.total, rtol=1e-6)
    alone = init_members(adder.ADDER, [jax.random.key(1)], [jnp.ones(3)])
    [one] = distill(adder.ADDER, feeds[1:2], alone, steps=STEPS, options=options)
    assert isinstance(one, Diverged) and one.step == 7


@pytest.mark.faults(6, "one step of a distiller on a batch of NaN", "skipped; the result is finite and valid")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["dm", "frepo"])
def test_distillers_go_on_after_a_bad_step(name):
    config = {"dm": {"steps": 4, "width": 4, "batch": 6, "ipc": 1}}.get(
        name, {"steps": 4, "width": 4, "depth": 1, "ipc": 1, "batch": 12, "pool_size": 2, "max_online": 6}
    )
    method = DISTILLERS[name]
    case = testing.Case(method, dataclasses.replace(method.config(), **config))

    @functools.wraps(case.distiller.step)
    def step(state, batch):
        spoil = state.step == 1
        batch = jax.tree.map(
            lambda x: jnp.where(spoil, jnp.nan, x) if jnp.issubdtype(x.dtype, jnp.floating) else x, batch
        )
        return case.distiller.step(state, batch)

    state, log = distill(case.distiller._replace(step=step), case.feed, case.state(), steps=4)
    assert log[SKIPPED].tolist() == [0, 1, 0, 0]
    assert np.isfinite(np.asarray(case.distiller.extract(state).images)).all()


def test_a_guarded_step_traces_once_and_keeps_its_structure():
    distiller = guarded(adder.ADDER)
    held = distiller.init(jax.random.key(0), jnp.zeros(3))
    before = jax.eval_shape(lambda: held)
    after = jax.eval_shape(distiller.step, before, {"add": jax.ShapeDtypeStruct((), jnp.float32)})[0]
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert guarded(adder.ADDER) is distiller
