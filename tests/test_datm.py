"""DATM keeps the contract, and what its outer step does: gate, momenta, segments, pieces, step sizes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing
from ddjax.distillers import datm
from ddjax.distillers.datm import feed as datm_feed
from ddjax.distillers.datm.match import Learned, mean_of_accepted
from ddjax.execution.distill import distill
from ddjax.trees import raw
from ddjax.types import Distiller

TINY = {
    "ipc": 2,
    "steps": 4,
    "width": 4,
    "depth": 1,
    "experts": 3,
    "expert_epochs": 6,
    "expert_batch": 4,
    "expert_rate": 0.05,
    "last_start": 4,
    "growth_steps": 0,
    "match_epochs": 2,
    "inner_steps": 4,
    "step_size": 0.05,
    "threshold": 5.0,
    "image_rate": 1.0,
    "flip": False,
    "step_size_rate": 1e-3,
}
test_contract = testing.contract(datm.METHOD, **TINY)


@pytest.fixture(scope="module", autouse=True)
def experts_once(tmp_path_factory):
    """Experts are trained by the first test that asks for them, and read by the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def case():
    return test_contract.case()


@functools.cache  # a step takes seconds to compile
def built(**fields):
    config = datm.DatmConfig(**TINY | fields)
    return datm.build(config, datm.network(config, (8, 8, 3), 3))


def stepped(case, **fields):
    """The state before and after one step, and its metrics."""
    if not fields:
        return case.state(), *case.step(case.state(), case.batch(0))
    distiller = built(**fields)
    state = distiller.init(jax.random.key(0), case.start)
    return state, *distiller.step(state, case.batch(0))


def test_first_labels_are_of_their_slots_class(case):
    np.testing.assert_array_equal(np.argmax(case.start.labels, axis=1), np.repeat(np.arange(3), 2))


def test_a_loss_at_the_threshold_is_accepted_and_a_larger_or_nan_loss_changes_nothing_but_the_count(case):
    _, _, metrics = stepped(case)
    threshold = float(metrics["loss"])
    fields = {"threshold": threshold, "average_decay": 0.5}
    _, state, _ = stepped(case, **fields)
    assert int(state.accepted) == 1 and not np.allclose(state.average, state.learned.images)
    for rate in (5.0, 1e30):
        before = dataclasses.replace(state, learned=dataclasses.replace(state.learned, rate=jnp.float32(rate)))
        alone = dataclasses.replace(before, average=None)
        assert not float(case.step(alone, case.batch(0))[1]["loss"]) <= threshold
        after, metrics = built(**fields).step(before, case.batch(0))
        jax.tree.map(np.testing.assert_array_equal, raw(dataclasses.replace(before, step=jnp.int32(2))), raw(after))
        assert float(metrics["accepted"]) == 0.5


def test_momentum_is_that_of_pytorch():
    config = datm.DatmConfig(image_rate=1.0, label_rate=1.0)
    sgd = datm.optimiser(config)
    at = Learned(images=jnp.zeros(()), labels=jnp.zeros(()), rate=jnp.zeros(()))
    ones, state, seen = jax.tree.map(jnp.ones_like, at), sgd.init(at), []
    for _ in range(3):
        updates, state = sgd.update(ones, state, at)
        at = jax.tree.map(jnp.add, at, updates)
        seen.append((float(at.images), float(at.labels)))
    np.testing.assert_allclose(seen, [(-1, -1), (-2.5, -2.9), (-4.25, -5.61)], rtol=1e-6)


def test_sums_of_label_logits_are_conserved(case):
    before, after, _ = stepped(case)
    assert not np.allclose(before.learned.labels, after.learned.labels)
    np.testing.assert_allclose(after.learned.labels.sum(1), before.learned.labels.sum(1), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"micro_batch": 2}, {"hypergradient": "adjoint"}, {"remat": "dots"}], ids=str)
def test_how_a_step_is_computed_changes_nothing(case, fields):
    _, plain, _ = stepped(case)
    _, other, _ = stepped(case, **fields)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), plain.learned, other.learned)


@pytest.mark.slow
def test_tesla_has_the_same_loss_and_another_gradient(case):
    _, plain, metrics = stepped(case)
    _, other, teslas = stepped(case, hypergradient="tesla_replay")
    np.testing.assert_allclose(metrics["loss"], teslas["loss"], rtol=1e-5)
    assert not np.allclose(plain.learned.images, other.learned.images, rtol=1e-4)


@pytest.mark.slow
def test_a_softplus_step_size_starts_equal_and_follows_the_chain_rule(case):
    before, after, metrics = stepped(case, positive_step_size=True)
    plain, moved, _ = stepped(case)
    np.testing.assert_allclose(metrics["step_size"], 0.05, rtol=1e-5)
    slope = jax.nn.sigmoid(before.learned.rate)
    change = after.learned.rate - before.learned.rate
    np.testing.assert_allclose(change, slope * (moved.learned.rate - plain.learned.rate), rtol=1e-2)


def test_segments_are_averaged_over_those_accepted():
    gradients = Learned(images=jnp.array([1.0, jnp.nan, 3.0]), labels=jnp.arange(3.0), rate=jnp.arange(3.0))
    mean = mean_of_accepted(gradients, jnp.array([True, False, True]))
    np.testing.assert_allclose((mean.images, mean.labels, mean.rate), (2, 1, 1))
    none = mean_of_accepted(gradients, jnp.zeros(3, bool))
    np.testing.assert_array_equal((none.images, none.labels), 0)


@pytest.mark.slow
def test_several_segments_and_chunks_of_the_set_learn():
    fields = {**TINY, "steps": 30, "segments": 2, "inner_batch": 3, "early_last_start": 2, "growth_steps": 10}
    case = testing.Case(datm.METHOD, datm.DatmConfig(**fields))
    state, log = distill(case.distiller, case.feed, case.state(), steps=30)
    assert int(state.accepted) > 25
    assert np.mean(log["loss"][-8:]) < np.mean(log["loss"][:8])


@pytest.mark.slow
def test_reading_ahead_gives_what_the_device_would(case, monkeypatch):
    def step(state, batch):
        added = batch.starts[0, :3] + 2 * batch.targets[0, :3] + jax.random.uniform(batch.op_key)
        return {"total": state["total"] + added, "step": state["step"] + 1}, {"start": batch.epochs[0]}

    def zero():
        return {"total": jnp.zeros(3), "step": jnp.int32(0)}

    adder = Distiller(init=None, step=step, extract=None)
    total, log = distill(adder, case.feed, zero(), steps=11, chunk=4)
    monkeypatch.setattr(datm_feed, "RESIDENT_BYTES", 0)
    feed = testing.Case(datm.METHOD, case.config).feed
    one = feed.fetch(0, 1)
    assert feed.most == 2**25 // (one.starts.nbytes + one.targets.nbytes)  # 32 MiB
    same, seen = distill(adder, feed, zero(), steps=11, chunk=4)
    np.testing.assert_array_equal(total["total"], same["total"])
    np.testing.assert_array_equal(log["start"], seen["start"])
    half, _ = distill(adder, feed, zero(), steps=5, chunk=2)
    whole, _ = distill(adder, feed, half, steps=11, first=5, chunk=4)
    np.testing.assert_allclose(whole["total"], total["total"], rtol=1e-6)
    assert len(set(log["start"].tolist())) > 1


@pytest.mark.slow
def test_a_run_has_its_own_experts_unless_a_seed_is_shared(case, monkeypatch):
    """The same for all sizes with one key, others with another key; a given seed is everyone's."""
    asked = []
    found = datm.trajectories

    def trajectories(*args, **options):
        asked.append(options["seed"])
        return found(*args, **{**options, "seed": 0})

    monkeypatch.setattr(datm, "trajectories", trajectories)
    model = datm.network(case.config, (8, 8, 3), 3)
    for fields, key in (({}, 1), ({"ipc": 1}, 1), ({}, 2), ({"expert_seed": 7}, 1), ({"expert_seed": 7}, 2)):
        datm.prepare(datm.DatmConfig(**TINY | fields), case.train, model, jax.random.key(key))
    assert asked[0] == asked[1] != asked[2] and min(asked) >= 0 and asked[3:] == [7, 7]


def test_a_network_with_running_statistics_is_refused(case):
    from ddjax.models import build

    model = build("convnet", (8, 8, 3), 3, width=4, depth=1, norm="batch")
    with pytest.raises(ValueError, match="without batch norm"):
        datm.prepare(case.config, case.train, model, jax.random.key(0))
