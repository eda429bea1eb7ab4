"""DivideMix part by part: division, co-refinement, co-guessing, mixing, the loss, and what it reduces to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.models import build
from ddjax.robust.rules import dividemix as parts
from ddjax.robust.rules.dividemix import dividemix
from ddjax.robust.rules.losses import plain
from ddjax.training import Clock, Examples, Recipe, make_trainer
from ddjax.training.rule import Batch, Outputs, Stats

K = 3


def probabilities(seed, *shape):
    return jax.nn.softmax(jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32))


def crossed(logits, targets):
    return -(targets * jax.nn.log_softmax(logits)).sum(axis=-1)


def test_co_refinement_and_co_guessing_by_hand():
    own = jnp.array([[[0.5, 0.3, 0.2]], [[0.7, 0.1, 0.2]]])  # two views of one image; their mean is 0.6, 0.2, 0.2
    given = jnp.array([[0.0, 1.0, 0.0]])
    found = parts.refined(own, given, jnp.array([0.25]), 2.0)
    mixture = np.array([0.45, 0.4, 0.15]) ** 2
    np.testing.assert_allclose(found[0], mixture / mixture.sum(), rtol=1e-5)
    both = jnp.stack([own, jnp.full_like(own, 1 / 3)])
    mean = np.array([0.6 + 1 / 3, 0.2 + 1 / 3, 0.2 + 1 / 3]) / 2
    np.testing.assert_allclose(parts.guessed(both, 2.0)[0], mean**2 / (mean**2).sum(), rtol=1e-5)
    np.testing.assert_allclose(parts.guessed(both, 1.0)[0], mean, rtol=1e-5)
    np.testing.assert_allclose(parts.refined(own, given, jnp.array([1.0]), 2.0), given, atol=1e-7)  # trusted: unchanged


def test_a_network_is_divided_by_the_losses_of_its_peer():
    labels = jnp.arange(60) % K
    right = 8.0 * jax.nn.one_hot(labels, K) + 0.3 * jnp.sin(jnp.arange(180.0)).reshape(60, K)
    doubted = jnp.where((jnp.arange(60) < 20)[:, None], -right, right)  # the second network contradicts 20 labels
    found = jax.jit(parts.divided)(Stats(jnp.stack([right, doubted]), None, None, labels))
    assert found[0, :20].max() < 0.01 and found[0, 20:].min() > 0.99
    assert found[1, :20].max() > 0.5  # the losses of the first network do not separate these labels


@pytest.mark.slow
def test_mixing_leaves_rows_that_pad_the_batch_out():
    images = jax.random.normal(jax.random.key(5), (2, 4, 2, 2, 1)).at[:, 3].set(jnp.nan)
    targets, present = probabilities(1, 2, 4, K), jnp.array([1.0, 1, 1, 0])
    for seed in range(4):
        share = jnp.float32(0.75)
        pictures, labels = parts.mixed(images, targets, present, share, jax.random.key(seed))
        assert np.isfinite(pictures[:, :3]).all() and labels.shape == (2, 2, 4, K)
        np.testing.assert_allclose(labels.sum(axis=-1), 1, rtol=1e-5)
        # the same partner for the images, and for the labels of both networks
        back = (pictures - share * images) / (1 - share)
        for view, row in np.ndindex(2, 3):
            same = np.abs(np.asarray(images[:, :3]) - np.asarray(back[view, row])).max(axis=(2, 3, 4))
            own = np.unravel_index(same.argmin(), same.shape)
            expected = share * targets[:, row] + (1 - share) * targets[:, own[1]]
            np.testing.assert_allclose(labels[:, view, row], expected, atol=1e-5)
    pictures, labels = parts.mixed(images, targets, present, jnp.float32(1), jax.random.key(0))
    np.testing.assert_array_equal(pictures[:, :3], images[:, :3])
    np.testing.assert_array_equal(labels[:, 0, :3], targets[:, :3])


def test_the_loss_is_cross_entropy_of_labelled_and_squared_error_of_other_rows():
    logits, targets = jnp.log(probabilities(2, 2, 5, K)), probabilities(3, 2, 5, K)
    labelled, present = jnp.array([True, False, True, False, True]), jnp.array([1.0, 1, 1, 1, 0])
    loss = jax.jit(lambda labelled: parts.semi_supervised(logits, targets, labelled, present, 25.0))
    found = loss(labelled)
    mean = (found * present).sum() / present.sum()
    x, u = [0, 2], [1, 3]
    square = (jax.nn.softmax(logits)[:, u] - targets[:, u]) ** 2
    expected = crossed(logits[:, x], targets[:, x]).mean() + 25 * square.mean()
    np.testing.assert_allclose(mean, expected, rtol=1e-5)
    assert np.isfinite(loss(labelled | True)).all()


MODEL = build("mlp", (2, 2, 1), K, depth=1, width=4)
LABELS = jnp.arange(10) % K
IMAGES = jax.random.normal(jax.random.key(0), (10, 2, 2, 1)) + LABELS[:, None, None, None]
EXAMPLES = Examples(IMAGES, jax.nn.one_hot(LABELS, K))
RECIPE = Recipe(epochs=2, batch=4, rate=0.1, momentum=0.9)
CLOCK = Clock(jnp.int32(0), jax.random.key(9))


def after_an_epoch(rule):
    trainer = make_trainer(MODEL, RECIPE, rule)
    state = trainer.init(jax.random.key(1), jnp.float32(0.1), EXAMPLES)
    return jax.jit(trainer.epoch)(state, EXAMPLES, CLOCK)[0]


@pytest.mark.slow
def test_the_warm_up_is_plain_training_of_two_networks():
    found = after_an_epoch(dividemix(warmup=5.0)).params
    expected = after_an_epoch(plain()._replace(nets=2, loss=both_plain)).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


def both_plain(outputs, batch, tables, extra):
    loss = plain().loss
    each = [loss(Outputs(outputs.logits[net : net + 1], None), batch, tables, extra) for net in range(2)]
    return each[0]._replace(
        values=jnp.concatenate([one.values for one in each]), weights=jnp.concatenate([one.weights for one in each])
    )


@pytest.mark.slow
def test_when_every_label_is_trusted_the_labels_stay_and_no_guess_is_used():
    rule = dividemix(warmup=0.0, ramp=0.0)
    batch = Batch(
        IMAGES[None, :6].repeat(2, 0),
        EXAMPLES.targets[:6],
        LABELS[:6],
        jnp.arange(6),
        jnp.ones(6),
        jnp.ones(6),
        jnp.int32(3),
    )
    wild = Outputs(30 * jax.random.normal(jax.random.key(2), (2, 2, 6, K)), None)
    tables = {"clean": jnp.ones((2, 10))}
    guessed = rule.guess(jax.random.key(3), batch, tables, wild)
    assert (guessed.weights == 1).all()
    twin = rule.guess(jax.random.key(3), batch, tables, Outputs(jnp.zeros((2, 2, 6, K)), None))
    np.testing.assert_allclose(guessed.targets, twin.targets, atol=1e-6)  # predictions do not matter
    loss = rule.loss(wild, guessed, tables, {})
    np.testing.assert_allclose(
        loss.values.mean(axis=1), crossed(wild.logits, guessed.targets).mean(axis=(1, 2)), rtol=1e-5
    )


def test_ranges():
    with pytest.raises(ValueError, match="threshold"):
        dividemix(threshold=1.5)


def test_labels_below_the_threshold_are_flagged():
    stats = Stats(jnp.zeros((2, 3, K)), None, None, jnp.zeros(3, jnp.int32))
    findings = dividemix(threshold=0.9).export({"clean": jnp.array([[0.95, 0.8, 0.4]] * 2)}, stats)
    assert findings.flagged.tolist() == [False, True, True]
