"""Full training, its baselines, and the measures of a score."""

import dataclasses
import math

import numpy as np
import pytest

from ddjax import preprocess
from ddjax.data import prepare, synthetic, to_space
from ddjax.evaluation import BASELINES, PROTOCOLS, full, train_full
from ddjax.evaluation.baselines import Baseline
from ddjax.evaluation.holdout import holdout_accuracy
from ddjax.evaluation.measures import auc, confusion, denoising, recall, smoothed, thirds
from ddjax.evaluation.protocols import adapted
from ddjax.evaluation.ranking import augmentation_robust_score, label_robust_score, normalised, without_augmentation
from ddjax.execution.options import RunOptions
from ddjax.models import build
from ddjax.noise import NoiseSpec
from ddjax.robust import make_rule
from ddjax.training import Examples, Recipe, make_trainer
from ddjax.training.published import RECIPES

PER_IMAGE = ("images", "labels", "ids")


@pytest.fixture(scope="module")
def ready():
    return prepare(synthetic(3, 30, (8, 8, 1)), NoiseSpec("symmetric", 0.4))


def test_the_area_counts_pairs():
    above, below = np.array([0.3, 0.9, 0.5]), np.array([0.5, 0.1])
    assert auc(above, below) == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a in above for b in below]))


def test_full_training_memorises_and_the_hold_out_sees_it(ready):
    transform = preprocess.fit("standardize", ready.train.images)
    inside = to_space(ready, transform)
    baseline = Baseline("quick", Recipe(epochs=60, batch=16, rate=0.05, momentum=0.9), "standardize")
    wide = build("convnet", (8, 8, 1), 3, depth=1, width=32)
    scores = train_full(baseline, inside.train, inside.test, model=wide, audit=ready.audit, students=2)
    last, picked = scores.at["last"], scores.at["picked"]
    assert np.mean(last["given_acc"]) > np.mean(last["clean_acc"]) + 0.15
    assert np.mean(picked["clean_acc"]) > np.mean(last["clean_acc"])
    assert scores.at["best"]["test_acc"] >= last["test_acc"]
    assert scores.curves["test_acc"].shape == (2, 60)
    assert [scores.curves["test_acc"][s, e - 1] for s, e in enumerate(picked["epoch"])] == pytest.approx(
        picked["test_acc"]
    )


def test_networks_of_the_hold_out_are_trained_on_all_other_images(ready):
    class Asked(Exception):
        pass

    def trainers(rows):
        def fit(model, recipe, examples, keys, *, watch, **more):
            raise Asked(rows, examples, *watch["held"])

        return fit

    number = np.arange(len(ready.train.labels), dtype=np.int32)
    train = dataclasses.replace(ready.train, labels=number)
    more = {"students": 2, "holdout": 0.2, "seed": 0, "trainers": trainers, "options": RunOptions()}
    more["model"] = build("mlp", (8, 8, 1), 3, width=4)
    with pytest.raises(Asked) as asked:
        holdout_accuracy(BASELINES["B-PLAIN"], [train], [Examples(train.images, number)], **more)
    kept, seen, images, labels = asked.value.args
    held = labels["holdout_acc"]
    assert len(held) == 18
    np.testing.assert_array_equal(np.sort([*kept, *held]), number)
    for found, wanted in ((seen.targets, kept), (seen.images, train.images[kept]), (images, train.images[held])):
        np.testing.assert_array_equal(found, wanted)


def test_sets_that_do_not_fit_are_named(ready):
    inside = to_space(ready, preprocess.fit("standardize", ready.train.images))
    fewer = dataclasses.replace(inside.train, **{name: getattr(inside.train, name)[:9] for name in PER_IMAGE})
    baseline, model = BASELINES["B-PLAIN"], build("mlp", (8, 8, 1), 3, width=4)
    for trains, more, message in [
        ([inside.train, fewer], {}, r"one shape; got \[\(90, 8, 8, 1\), \(9, 8, 8, 1\)\]"),
        ([], {}, "train is an empty list"),
        (fewer, {"holdout": 0.99}, "holdout=0.99 of 9 images leaves none"),
    ]:
        with pytest.raises(ValueError, match=message):
            train_full(baseline, trains, inside.test, model=model, **more)
    with pytest.raises(ValueError, match="audit has an entry that is None"):
        full._check(baseline, [inside.train] * 2, inside.test, [ready.audit, None], 0.0)


def test_published_baselines():
    assert (BASELINES["B-DATM"].recipe, BASELINES["B-DANCE"].recipe) == (RECIPES["datm"], RECIPES["dance"])
    assert PROTOCOLS["datm"].use_step_size and PROTOCOLS["rcig"].students == 5
    assert adapted(PROTOCOLS["dance"].recipe(10), epochs=150).drop_epochs == (100, 125)
    assert adapted(PROTOCOLS["dance"].recipe(10), epochs=258).drop_epochs == (172, 215)  # in floats, 214.99...


def test_ranking_scores():
    assert normalised(-1.0) == 0 and normalised(1.0) == 1
    expected = (math.exp(0.5 * 0.3 - 0.5 * 0.2) - math.exp(-1)) / (math.e - math.exp(-1))
    assert label_robust_score(0.3, 0.2) == pytest.approx(expected)
    assert augmentation_robust_score(0.1, 0.1) == pytest.approx(normalised(0.1))
    published = PROTOCOLS["dance"].recipe(10)
    assert without_augmentation(PROTOCOLS["dance"]).recipe(10) == dataclasses.replace(
        published, augment="none", cutmix=0.0
    )


def test_measures():
    clean, given = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0])
    found = denoising(np.array([0, 0, 1, 0]), given, clean)
    assert found == {"relabel_acc": 0.75, "kept_clean": 1.0, "corrected": 0.5, "memorised": 0.5}
    assert math.isnan(denoising(clean, clean, clean)["corrected"])
    counts = confusion(np.array([0, 0, 1, 0]), clean, 3)
    assert counts.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(recall(counts), [1.0, 0.5, np.nan])
    assert thirds(np.arange(6.0)) == {"head": 0.5, "medium": 2.5, "tail": 4.5}
    assert math.isnan(thirds(np.arange(2.0))["tail"])
    assert confusion(np.array([99]), np.array([99], np.uint8), 100)[99, 99] == 1
    np.testing.assert_allclose(smoothed(np.array([[0.0, 3.0, 0.0, 0.0]]), 3), [[1.5, 1, 1, 0]])


def test_robust_rules_train_with_augmentation_by_a_baseline_that_keeps_their_loss():
    recipe = BASELINES["B-AUGMENTED"].recipe
    assert recipe.augment != "none"
    assert dataclasses.replace(recipe, augment="none") == BASELINES["B-COSINE"].recipe
    model = build("mlp", (2, 2, 1), 2, depth=1, width=4)
    assert make_trainer(model, recipe, make_rule("elr", 20)).rule.loss is not None
    with pytest.raises(ValueError, match=r"recipe.cutmix must be 0.0; got 0.5.*B-AUGMENTED"):
        make_trainer(model, BASELINES["B-DANCE"].recipe, make_rule("elr", 20))
