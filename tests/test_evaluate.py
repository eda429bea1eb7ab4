"""Students, baselines and scores, on a set that is easy to learn and labels that are easy to memorise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import preprocess, training
from ddjax.data import prepare, synthetic
from ddjax.distilled import DistilledSet, expand
from ddjax.evaluation import PROTOCOLS, Protocol, dd_ranking, evaluate, predicted, students
from ddjax.evaluation.ranking import hardened, label_robust_score
from ddjax.evaluation.spaces import suited
from ddjax.execution.guard import Diverged
from ddjax.execution.options import RunOptions
from ddjax.models import build
from ddjax.noise import NoiseSpec
from ddjax.training import Recipe

MODEL = build("convnet", (8, 8, 1), 3, depth=1, width=8)
QUICK = Protocol("quick", lambda m: Recipe(epochs=30, batch=32, rate=0.05, momentum=0.9), students=2)


@pytest.fixture(scope="module")
def ready():
    return prepare(synthetic(3, 30, (8, 8, 1)), NoiseSpec("symmetric", 0.4))


@pytest.fixture(scope="module")
def distilled(ready):
    transform = preprocess.fit("standardize", ready.train.images)
    clean, images = ready.audit.labels, preprocess.apply(transform, ready.train.images)
    rows = np.concatenate([np.flatnonzero(clean == c)[:5] for c in range(3)])
    return DistilledSet(
        images=images[rows],
        labels=jnp.asarray(clean[rows]),
        num_classes=3,
        space=transform.fingerprint,
        preprocess=transform,
    )


def test_students_learn_and_are_measured(ready, distilled):
    scores = evaluate(distilled, ready.test, protocol=QUICK, model=MODEL, train=ready.train, audit=ready.audit)
    assert len(scores.last) == 2 and np.mean(scores.last) > 0.75
    assert scores.confusion.sum() == 2 * len(ready.test.labels)
    assert np.trace(scores.confusion) / scores.confusion.sum() == pytest.approx(np.mean(scores.last))
    assert scores.denoising["corrected"] > 0.7 > 0.2 > scores.denoising["memorised"]
    again = evaluate(distilled, ready.test, protocol=QUICK, model=MODEL)
    assert again.last == scores.last and again.denoising is None
    other = evaluate(distilled, ready.test, protocol=QUICK, model=MODEL, seed=1)
    assert other.last != scores.last


@pytest.mark.slow
def test_membership_shows_in_confidence(ready, distilled):
    members = dataclasses.replace(ready.test, images=ready.train.images, labels=ready.train.labels)
    longer = dataclasses.replace(QUICK, recipe=lambda m: Recipe(epochs=200, batch=32, rate=0.05, momentum=0.9))
    transform = distilled.preprocess
    everything = dataclasses.replace(
        distilled, images=preprocess.apply(transform, ready.train.images), labels=jnp.asarray(ready.train.labels)
    )
    scores = evaluate(everything, ready.test, protocol=longer, model=MODEL, train=ready.train)
    assert scores.membership_auc > 0.55 and scores.steps == 200 * 3
    same = evaluate(everything, members, protocol=QUICK, model=MODEL, train=ready.train)
    assert same.membership_auc == pytest.approx(0.5)
    assert evaluate(distilled, ready.test, protocol=QUICK, model=MODEL).membership_auc is None


def test_another_space_is_refused_with_both_named(ready, distilled):
    other = preprocess.fit("unit", ready.train.images)
    moved = dataclasses.replace(ready.test, images=preprocess.apply(other, ready.test.images), space=other.fingerprint)
    with pytest.raises(ValueError, match=f"{other.fingerprint}.*{distilled.space}"):
        evaluate(distilled, moved, protocol=QUICK, model=MODEL)
    given = dataclasses.replace(
        ready.train, images=preprocess.apply(other, ready.train.images), space=other.fingerprint
    )
    early = RunOptions(report=lambda *_: pytest.fail("it is refused after the training"))
    with pytest.raises(ValueError, match=f"{other.fingerprint}.*{distilled.space}"):
        evaluate(distilled, ready.test, protocol=QUICK, model=MODEL, train=given, options=early)
    given = dataclasses.replace(ready.train, images=ready.train.images[:, 1:])
    with pytest.raises(ValueError, match=r"train.images are \[7, 8, 1\] and test.images \[8, 8, 1\]"):
        evaluate(distilled, ready.test, protocol=QUICK, model=MODEL, train=given)
    same = dataclasses.replace(
        ready.test, images=preprocess.apply(distilled.preprocess, ready.test.images), space=distilled.space
    )
    there = evaluate(distilled, same, protocol=QUICK, model=MODEL, students=1)
    assert there.last == evaluate(distilled, ready.test, protocol=QUICK, model=MODEL, students=1).last


def test_a_set_without_its_transform_is_refused(ready, distilled):
    with pytest.raises(ValueError, match="carries no preprocess"):
        evaluate(dataclasses.replace(distilled, preprocess=None), ready.test, protocol=QUICK, model=MODEL)


def test_rates_are_chosen_on_given_labels(ready, distilled):
    choosing = dataclasses.replace(QUICK, rates=(1e-6, 0.05), space="standardize")
    with pytest.raises(ValueError, match="train="):
        evaluate(distilled, ready.test, protocol=choosing, model=MODEL)
    reports = []
    scores = evaluate(
        distilled,
        ready.test,
        protocol=choosing,
        model=MODEL,
        train=ready.train,
        options=RunOptions(lambda *one: reports.append(one)),
    )
    assert scores.rate == pytest.approx(0.05)
    done, totals, metrics = zip(*reports, strict=True)
    assert set(totals) == {60} and list(done) == sorted(done) and {30, 60} <= set(done)  # the search is half of it
    assert all((at <= 30) == ("search_loss" in found) for at, found in zip(done, metrics, strict=True))


def test_the_learned_rate_is_used_where_the_protocol_says_so(ready, distilled):
    learned = dataclasses.replace(distilled, step_size=jnp.float32(0.03))
    with_it = dataclasses.replace(QUICK, use_step_size=True)
    assert evaluate(learned, ready.test, protocol=with_it, model=MODEL).rate == pytest.approx(0.03)
    assert evaluate(learned, ready.test, protocol=QUICK, model=MODEL).rate == pytest.approx(0.05)
    assert evaluate(distilled, ready.test, protocol=with_it, model=MODEL).rate == pytest.approx(0.05)
    negative = dataclasses.replace(distilled, step_size=jnp.float32(-0.1))
    with pytest.raises(Diverged, match=r"positive_step_size=True"):
        evaluate(negative, ready.test, protocol=with_it, model=MODEL)
    lost, good = evaluate([negative, distilled], ready.test, protocol=with_it, model=MODEL)
    assert "learned step size is -0.1" in str(lost) and good.rate == pytest.approx(0.05)


@pytest.mark.slow
def test_soft_and_learned_labels_train_too(ready, distilled):
    logits = dataclasses.replace(
        distilled, labels=5.0 * jax.nn.one_hot(distilled.labels, 3), label_kind="logits", flip=True
    )
    assert np.mean(evaluate(logits, ready.test, protocol=QUICK, model=MODEL).last) > 0.8
    assert (hardened(logits).labels == distilled.labels).all()
    regression = dataclasses.replace(
        distilled, labels=preprocess.centered(distilled.labels, 3), label_kind="regression"
    )
    squared = dataclasses.replace(
        QUICK,
        recipe=lambda m: Recipe(
            epochs=10, draws=20, order="draws", batch=8, rate=1e-2, optimiser="adam", loss="squared_error"
        ),
    )
    assert np.mean(evaluate(regression, ready.test, protocol=squared, model=MODEL).last) > 0.8


@pytest.mark.slow
def test_an_external_rcig_support_is_scored_unchanged(ready):
    # arrays as a published checkpoint holds them: whitened images, labels whose rows do not sum to zero, mirrored
    transform = preprocess.fit("rcig", np.repeat(ready.train.images, 3, axis=3))
    colour = dataclasses.replace(ready.test, images=np.repeat(np.asarray(ready.test.images), 3, axis=3))
    whitened = preprocess.apply(transform, colour.images)
    means = np.stack([np.asarray(whitened)[ready.test.labels == c].mean(axis=0) for c in range(3)])
    labels = 2.5 * np.eye(3, dtype=np.float32) - 1.2
    support = DistilledSet(
        images=means,
        labels=labels,
        num_classes=3,
        label_kind="regression",
        flip=True,
        space=transform.fingerprint,
        preprocess=transform,
    )
    model = build("convnet_rcig", (8, 8, 3), 3, depth=1, width=8)
    published = PROTOCOLS["rcig"].recipe(3)
    quick = dataclasses.replace(published, rate=1e-2, warmup_steps=5, draws=20, epochs=5, augment="none")
    protocol = dataclasses.replace(PROTOCOLS["rcig"], recipe=lambda m: quick)
    assert np.mean(evaluate(support, colour, protocol=protocol, model=model, students=2).last) > 0.6
    recipe, examples = suited(published, expand(support))
    assert recipe.loss == "squared_error" and len(examples.images) == 6  # with mirror images
    np.testing.assert_array_equal(examples.targets, np.concatenate([labels, labels]))  # not centred again
    with pytest.raises(ValueError, match=r"another.*rcig"):
        evaluate(support, dataclasses.replace(colour, images=whitened, space="another"), protocol="rcig", model=model)


def test_losses_follow_the_kind_of_label(distilled):
    entropy, squared = QUICK.recipe(1), dataclasses.replace(QUICK.recipe(1), loss="squared_error")
    learned = dataclasses.replace(
        distilled, labels=2 * preprocess.centered(distilled.labels, 3), label_kind="regression"
    )
    recipe, examples = suited(entropy, learned)
    assert recipe.loss == "squared_error" and (examples.targets == learned.labels).all()
    recipe, examples = suited(squared, distilled)
    np.testing.assert_allclose(examples.targets, preprocess.centered(distilled.labels, 3), atol=1e-6)
    recipe, examples = suited(entropy, distilled)
    assert recipe == entropy and set(np.unique(examples.targets)) == {0.0, 1.0}


def test_dd_ranking(ready, distilled):
    quick = dataclasses.replace(QUICK, students=1)
    given = dataclasses.replace(distilled, labels=jnp.roll(distilled.labels, 1))
    found = dd_ranking(distilled, given, 0.5, ready.test, train=ready.train, protocol=quick, model=MODEL)
    accuracies = found.accuracies
    assert found.hlr == pytest.approx(0.5 - accuracies["synthetic_hard"])
    assert found.ior == pytest.approx(accuracies["synthetic"] - accuracies["random"])
    assert found.lrs == label_robust_score(found.ior, found.hlr) and 0 <= found.ars <= 1
    assert found.hlr < 0 < found.ior


def test_test_images_are_predicted_once(ready, distilled, monkeypatch):
    fits, predictions = [], []

    def fit(*arguments, **options):
        fits.append(options)
        return training.fit(*arguments, **options)

    def predict_all(model, params, images):
        predictions.append(images)
        return predicted.predict_all(model, params, images)

    monkeypatch.setattr(students, "fit", fit)
    monkeypatch.setattr(students, "predict_all", predict_all)
    scores = evaluate(distilled, ready.test, protocol=QUICK, model=MODEL, students=2)
    assert [options.get("watch") for options in fits] == [None] and len(predictions) == 1
    assert np.trace(scores.confusion) == round(sum(scores.last) * len(ready.test.labels))
    assert scores.best == scores.last
    watching = dataclasses.replace(QUICK, checks=3)
    watched = evaluate(distilled, ready.test, protocol=watching, model=MODEL, students=2)
    assert fits[1]["every"] == 10 and not fits[1]["final"] and len(predictions) == 2  # the last epoch is predicted once
    assert np.trace(watched.confusion) == round(sum(watched.last) * len(ready.test.labels))
    assert all(best >= last for best, last in zip(watched.best, watched.last, strict=True))
