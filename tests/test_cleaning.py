"""Wrappers of a distiller: what they keep, and what they reduce to when every label is trusted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddjax
from ddjax.denoising import cleaning, diversion
from ddjax.denoising import networks as networks_of
from ddjax.denoising.cleaning import WRAPPERS, Cleaned, apply
from ddjax.denoising.networks import Networks
from ddjax.models import build
from ddjax.testing import toy_train
from experiments.running import wrapping
from experiments.running.config import Experiment
from experiments.running.run import run
from experiments.running.shared import Shared, make_ready

K, N = 3, 90
TRUTH = np.arange(N) % K
WRONG = np.arange(N) % 5 == 0
GIVEN = np.where(WRONG, (TRUTH + 1) % K, TRUTH).astype(np.int32)
RNG = np.random.default_rng(0)
SURE = 6.0 * np.eye(K)[TRUTH] + 0.3 * RNG.standard_normal((N, K))  # logits of a network that knows the truth
FEATURES = jnp.asarray(
    3.0 * np.eye(K)[TRUTH] @ RNG.standard_normal((K, 5)) + 0.2 * RNG.standard_normal((N, 5)), jnp.float32
)


def noisy(labels=GIVEN):
    train = toy_train(num_classes=K, per_class=N // K)
    return ddjax.TrainSet(images=train.images, labels=jnp.asarray(labels), ids=train.ids, num_classes=K, space="toy")


@pytest.mark.slow
def test_small_losses_are_those_of_right_labels():
    np.testing.assert_array_equal(cleaning.small_losses(SURE[None], GIVEN), ~WRONG)


def test_a_drawn_label_follows_its_probabilities():
    truth = np.tile([0.5, 0.3, 0.2], (20_000, 1))
    counts = np.bincount(cleaning.drawn(truth, 1), minlength=3) / len(truth)
    np.testing.assert_allclose(counts, truth[0], atol=0.015)  # four standard deviations
    np.testing.assert_array_equal(cleaning.drawn(np.eye(K)[GIVEN], 0), GIVEN)  # certain labels stay


def test_untrusted_images_are_recalled_with_their_class():
    trust = jax.jit(diversion.trusted, static_argnums=2)(jnp.asarray(SURE, jnp.float32), jnp.asarray(GIVEN), K)
    np.testing.assert_array_equal(trust, ~WRONG)
    recall = jax.jit(diversion.recalled)
    sure, labels = recall(FEATURES, jnp.asarray(SURE, jnp.float32), jnp.asarray(GIVEN), trust)
    np.testing.assert_array_equal(sure, WRONG)
    np.testing.assert_array_equal(labels, TRUTH)
    confused = jnp.asarray(np.roll(SURE, 1, axis=1), jnp.float32)  # the network contradicts the anchors
    assert not recall(FEATURES, confused, jnp.asarray(GIVEN), trust)[0].any()
    sure, labels = recall(FEATURES, jnp.asarray(SURE, jnp.float32), jnp.asarray(GIVEN), jnp.ones(N, bool))
    assert not sure.any() and (labels == GIVEN).all()  # every label is trusted


def test_a_set_of_which_every_label_is_trusted_stays_itself():
    train = noisy()
    assert apply(train, cleaning.kept(train, np.ones(N, bool))) is train
    fewer = apply(train, cleaning.kept(train, ~WRONG))
    assert len(fewer.labels) == (~WRONG).sum() and fewer.ids.tolist() == np.flatnonzero(~WRONG).tolist()
    with pytest.raises(ValueError, match=r"no label of the classes \[2\] is trusted"):
        apply(train, Cleaned(np.arange(2), np.array([0, 1])))


QUICK = ("relabel", "soft_label")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in WRAPPERS])
def test_wrappers_remove_wrong_labels(name):
    """One label in five is wrong; of those that are kept, fewer than one in twenty may be."""
    train = noisy()
    networks = Networks(build("mlp", train.images.shape[1:], K, depth=1, width=16), count=1, flip=False)
    rows, labels = WRAPPERS[name](train, networks)
    assert len(rows) >= 0.75 * N
    assert np.mean(labels != TRUTH[rows]) < 0.05


@pytest.mark.slow
def test_a_wrapper_that_trusts_every_label_is_its_method(monkeypatch, cache):
    common = {
        "dataset": "digits",
        "noise": "symmetric",
        "rate": 0.4,
        "epochs": 2,
        "students": 1,
        "width": 4,
        "limit": 150,
        "protocol": "quick",
    }
    trusting = cleaning.Wrapper(lambda *_: np.ones(150, bool), lambda keep, train, seed: cleaning.kept(train, keep))
    monkeypatch.setitem(WRAPPERS, "tad_reconstructed", trusting)
    plain, wrapped = (
        run(Experiment(method=name, ipc=1, **common)) for name in ("herding", "tad_reconstructed+herding")
    )
    np.testing.assert_array_equal(plain.distilled.images, wrapped.distilled.images)
    assert plain.row["last_acc"] == wrapped.row["last_acc"]
    assert wrapped.row["cleaning"] == {"kept": 1.0, "wrong": plain.row["effective_rate"]}


def plainly(shape, classes):
    return build("mlp", shape, classes, width=4, depth=1)


def halved(shape, classes):
    """A network whose words are those of `plainly`, because it is made from that."""
    made = plainly(shape, classes)
    return made._replace(apply=lambda params, images: made.apply(params, images) / 2)


def test_networks_of_another_program_are_not_shared(monkeypatch):
    shared, seen = Shared(), []
    asking = cleaning.Wrapper(lambda train, networks: seen.append(networks.model.spec), lambda *_: None)
    monkeypatch.setitem(WRAPPERS, "tad_reconstructed", asking)
    for name in ("plainly", "halved", "plainly"):
        cell = Experiment(method="tad_reconstructed+herding", network=f"{__name__}:{name}", limit=100).settled()
        wrapping.cleaned(make_ready(cell, shared), shared)
    assert len(seen) == 2 and seen[0] == seen[1]


def test_networks_with_and_without_flips_are_not_shared(monkeypatch):
    shared, seen = Shared(), []
    asking = cleaning.Wrapper(lambda train, networks: seen.append(networks.flip), lambda *_: None)
    monkeypatch.setitem(WRAPPERS, "tad_reconstructed", asking)
    monkeypatch.setattr("experiments.running.config.NO_FLIP", ())
    for flip in (True, False, True):
        cell = Experiment(method="tad_reconstructed+herding", limit=100, width=4, flip=flip).settled()
        wrapping.cleaned(make_ready(cell, shared), shared)
    assert seen == [True, False]


def test_wrappers_share_networks_and_give_what_they_give_alone(monkeypatch):
    shared, trained, logits = Shared(), [], np.random.default_rng(0).standard_normal((1, 100, 10))

    def look(train, networks):
        trained.append(networks.seed)
        return logits

    for name in ("relabel", "soft_label"):
        assert WRAPPERS[name].look is networks_of.predict_plain
        monkeypatch.setitem(WRAPPERS, name, WRAPPERS[name]._replace(look=look))
    for name in ("relabel", "soft_label"):
        cell = Experiment(method=f"{name}+herding", limit=100, width=4, depth=1, seed=3).settled()
        ready = make_ready(cell, shared)
        found, train = wrapping.cleaned(ready, shared), ready.prepared.train
        alone = WRAPPERS[name](train, Networks(ready.network("convnet"), 3))
        for part, expected in zip(found, alone, strict=True):
            np.testing.assert_array_equal(part, expected)
    assert trained == [3, 3, 3]  # once for both, and once for each alone
