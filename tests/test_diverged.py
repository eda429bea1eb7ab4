"""Networks that diverge have no score, and cost the other sets and cells nothing."""

import dataclasses
from unittest import mock

import jax
import jax.numpy as jnp
import pytest

from ddjax import preprocess, testing
from ddjax.data import prepare, synthetic
from ddjax.distilled import DistilledSet
from ddjax.evaluation import PROTOCOLS, evaluate, train_full
from ddjax.evaluation.baselines import BASELINES
from ddjax.execution.guard import Diverged
from ddjax.experts import trajectories
from ddjax.models import build
from ddjax.noise import NoiseSpec
from ddjax.training import Examples, Recipe
from experiments.running import full
from experiments.running.nested import nested_trainer


@pytest.fixture(scope="module")
def ready():
    dataset = synthetic(2, 8, (8, 8, 1))
    return prepare(dataset, NoiseSpec())


EXPLODING = Recipe(epochs=3, batch=4, rate=1e30, momentum=0.9)


def toy(ready):
    train = testing.toy_train(num_classes=2)
    test = dataclasses.replace(ready.test, images=train.images, labels=train.labels, space=train.space)
    return train, test, build("mlp", train.images.shape[1:], 2, width=4)


@pytest.mark.slow
@pytest.mark.faults(6, "students, networks or experts that diverge", "no score: the error names them")
def test_networks_that_diverge_have_no_score(ready, tmp_path):
    train, test, model = toy(ready)
    baseline = dataclasses.replace(BASELINES["B-PLAIN"], recipe=EXPLODING)
    with pytest.raises(Diverged, match=r"2 of 2 networks trained on the whole set diverged \(numbers 0, 1\)"):
        train_full(baseline, train, test, model=model, students=2, holdout=0.0)
    with pytest.raises(Diverged, match=r"expert 0 diverged: its loss is .*Use a smaller rate"):
        trajectories(model, EXPLODING, train, experts=1, folder=tmp_path)
    images = jnp.asarray(ready.train.images[:2], jnp.float32) / 255
    distilled = DistilledSet(images=images, labels=jnp.arange(2), num_classes=2, space=train.space)
    protocol = dataclasses.replace(PROTOCOLS["common"], recipe=lambda m: EXPLODING, rates=())
    transform = preprocess.fit("standardize", ready.train.images)
    distilled = dataclasses.replace(distilled, preprocess=transform, space=transform.fingerprint)
    small = build("mlp", (8, 8, 1), 2, width=4)
    with pytest.raises(Diverged, match=r"3 of 3 students diverged \(numbers 0, 1, 2\)"):
        evaluate(distilled, ready.test, protocol=protocol, students=3, model=small, train=ready.train)


@pytest.mark.faults(6, "one of several training sets makes its networks diverge", "the other sets keep their scores")
def test_a_training_set_whose_networks_diverge_leaves_the_others_unchanged(ready):
    train, test, model = toy(ready)
    wild = dataclasses.replace(train, images=train.images * 1e30)
    recipe = Recipe(epochs=2, batch=8, rate=0.1, augment="none")
    baseline = dataclasses.replace(BASELINES["B-PLAIN"], recipe=recipe)

    def scores(trains):
        return train_full(baseline, trains, test, model=model, holdout=0.25, students=2)

    good, lost, same = scores([train, wild, train])
    assert isinstance(lost, Diverged) and str(lost).startswith("2 of 2 networks trained on the whole set diverged")
    alone, *_ = scores([train] * 3)  # as many sets, so that the program is the same
    assert good.at == same.at == alone.at


@pytest.mark.slow
def test_a_second_stage_is_not_trained_from_networks_that_diverged(ready):
    train, _, model = toy(ready)
    examples = Examples(train.images * 1e30, jax.nn.one_hot(train.labels, 2))
    fit = nested_trainer(10.0, 0.2)(None)
    with pytest.raises(Diverged, match="networks of the first stage diverged"):
        fit(model, Recipe(epochs=2, batch=8, rate=0.1), examples, jax.random.split(jax.random.key(0), 1))


def test_a_cell_of_a_rule_that_diverges_fails_alone(monkeypatch):
    def by_rule(cell, shared, view):
        if cell.number == 1:
            raise Diverged("lost")
        return cell.number, {}

    monkeypatch.setattr(full, "_by_rule", by_rule)
    parsed = mock.Mock(relabel=None, rule="elr")
    first, second, third = full.train_on_all([mock.Mock(parsed=parsed, number=i) for i in range(3)], None, None)
    assert (first, third) == ((0, {}), (2, {})) and isinstance(second, Diverged)


@pytest.mark.slow
@pytest.mark.faults(6, "one of several distilled sets makes its students diverge", "the other sets keep their scores")
def test_a_distilled_set_whose_students_diverge_leaves_the_others_unchanged(ready):
    train, test, _ = toy(ready)
    made = DistilledSet(images=train.images[:2], labels=train.labels[:2], num_classes=2, space="own")
    transform = preprocess.fit("standardize", ready.train.images)
    made = dataclasses.replace(made, preprocess=transform, space=transform.fingerprint)
    test = dataclasses.replace(test, space=transform.fingerprint)
    recipe = Recipe(epochs=2, batch=2, rate=0.01)
    protocol = dataclasses.replace(PROTOCOLS["common"], recipe=lambda m: recipe, rates=(), space="own")
    model = build("mlp", train.images.shape[1:], 2, width=4)

    def scores(sets):
        return evaluate(sets, test, protocol=protocol, students=2, model=model)

    lost, good = scores([dataclasses.replace(made, images=made.images * 1e30), made])
    assert isinstance(lost, Diverged) and str(lost).startswith("2 of 2 students diverged (numbers 0, 1)")
    assert good.last == scores([made, made])[1].last


@pytest.mark.slow
def test_a_rate_whose_student_diverges_is_not_chosen(ready):
    transform = preprocess.fit("standardize", ready.train.images)
    images = preprocess.apply(transform, ready.train.images[:8])
    distilled = DistilledSet(
        images=images,
        labels=jnp.asarray(ready.train.labels[:8]),
        num_classes=2,
        space=transform.fingerprint,
        preprocess=transform,
    )
    protocol = dataclasses.replace(
        PROTOCOLS["common"], recipe=lambda m: dataclasses.replace(EXPLODING, rate=0.01), rates=(1e30, 0.01)
    )
    small = build("mlp", (8, 8, 1), 2, width=4)
    scores = evaluate(distilled, ready.test, protocol=protocol, students=1, model=small, train=ready.train)
    assert scores.rate == pytest.approx(0.01)
