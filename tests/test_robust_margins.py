"""Margins over epochs, and cross-validated training that stops by held-out labels, against sums by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.models import build
from ddjax.robust.rules import early
from ddjax.robust.rules.margins import label_margin, margins
from ddjax.training import Examples, Recipe, fit
from ddjax.training.rule import Batch, Given, Outputs, Stats

LABELS = jnp.array([0, 1, 2, 0, 1, 2, 0, 1])


def batch(rows, present):
    labels = LABELS[rows]
    one_hot = jax.nn.one_hot(labels, 3)
    return Batch(jnp.zeros((1, 4, 1, 1, 1)), one_hot, labels, rows, present, jnp.ones(4), jnp.int32(0))


@pytest.mark.parametrize("probabilities", [False, True])
def test_a_margin_is_the_mean_over_the_visits_of_its_image(probabilities):
    rule = margins(probabilities)
    tables = rule.start(jax.random.key(0), Given(LABELS, 3, 1), None)
    visit = jax.jit(lambda outputs, seen, tables: rule.loss(outputs, seen, tables, {}).tables)
    rng, expected, visits = np.random.default_rng(0), np.zeros(8), np.array([2, 1, 2, 1, 1, 1, 1, 0])
    for rows, present in [([0, 1, 2, 3], [1, 1, 1, 1]), ([4, 5, 6, 0], [1, 1, 1, 0]), ([0, 2, 0, 0], [1, 1, 0, 0])]:
        logits = jnp.asarray(rng.standard_normal((4, 3)), jnp.float32)
        seen = batch(jnp.array(rows), jnp.array(present, jnp.float32))
        tables = visit(Outputs(logits[None, None], None), seen, tables)
        values = np.asarray(jax.nn.softmax(logits) if probabilities else logits)
        for value, row, there in zip(values, rows, present, strict=True):
            if there:
                label = int(LABELS[row])
                expected[row] += value[label] - np.delete(value, label).max()
    np.testing.assert_allclose(tables["margin"], expected, atol=1e-5)
    found = rule.export(tables, Stats(jnp.zeros((1, 8, 3)), None, None, LABELS))
    np.testing.assert_allclose(found.suspicion, -expected / np.maximum(visits, 1), atol=1e-5)
    np.testing.assert_allclose(jnp.sum(found.relabel, axis=1), 1, atol=1e-5)
    assert LABELS[7] and not found.flagged[7]  # an image that was never visited
    assert label_margin(jnp.array([[1.0, 4.0, 2.0]]), jnp.array([1])).tolist() == [2.0]


def test_every_row_is_predicted_by_a_network_that_did_not_learn_from_it():
    labels = np.arange(40) % 4
    parts = early.parts(labels, 4, 0)
    held = 1 - np.asarray(parts.train + parts.stop)
    np.testing.assert_array_equal(held.sum(axis=0), 1)
    assert (np.asarray(parts.train) * np.asarray(parts.stop)).sum() == 0
    assert (np.asarray(parts.stop).sum(axis=1) > 0).all() and np.asarray(parts.train).sum() == 4 * 40 - held.sum() - (
        np.asarray(parts.stop).sum()
    )


def test_without_rows_to_stop_by_the_last_epoch_counts():
    rule, predicted = early.early_stopped(), jnp.stack([jnp.zeros((8, 3)), jnp.eye(3)[LABELS], jnp.ones((8, 3))])
    tables = rule.start(jax.random.key(0), Given(LABELS, 3, 1), early.Parts(jnp.ones(8), jnp.zeros(8)))
    for epoch, logits in enumerate(predicted):
        tables = rule.epoch_end(Stats(logits[None], None, None, LABELS), tables, jnp.int32(epoch))
    np.testing.assert_array_equal(tables["logits"], predicted[-1])


def test_suspicion_is_the_loss_of_the_best_epoch():
    rule, best, last = early.early_stopped(), 3 * jnp.eye(3)[LABELS], jnp.zeros((8, 3))
    tables = rule.start(jax.random.key(0), Given(LABELS, 3, 1), early.Parts(jnp.ones(8), jnp.ones(8)))
    for epoch, logits in enumerate([best, last]):
        stats = Stats(logits[None], None, None, LABELS)
        tables = rule.epoch_end(stats, tables, jnp.int32(epoch))
    found = rule.export(tables, stats)
    np.testing.assert_array_equal(found.relabel, jax.nn.softmax(best))
    np.testing.assert_allclose(found.suspicion, -jax.nn.log_softmax(best)[jnp.arange(8), LABELS], rtol=1e-6)


@pytest.mark.slow
def test_predictions_are_those_of_the_best_epoch():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = jnp.asarray(rng.standard_normal((60, 2, 2, 1)) + labels[:, None, None, None], jnp.float32)
    parts = early.parts(labels, 2, 0)
    model = build("mlp", (2, 2, 1), 3, depth=1, width=8)
    recipe = Recipe(epochs=3, batch=20, rate=0.5)
    examples = Examples(images, jax.nn.one_hot(labels, 3))

    def keys():
        return jax.random.split(jax.random.key(0), 2)

    found = fit(model, recipe, examples, keys(), rule=early.early_stopped(), data=parts).findings
    assert found.relabel.shape == (2, 60, 3)
    # a network that no row trains stays as it was at the start, so its first epoch is its best
    none = early.Parts(jnp.zeros_like(parts.train), parts.stop)
    still = fit(model, recipe, examples, keys(), rule=early.early_stopped(), data=none)
    logits = jax.vmap(lambda params: model.apply(params, images))(still.params)
    np.testing.assert_allclose(still.findings.relabel, jax.nn.softmax(logits), atol=1e-4)
    with pytest.raises(ValueError, match="must be the parts of the rows"):
        fit(model, recipe, examples, keys(), rule=early.early_stopped(), data=None)
