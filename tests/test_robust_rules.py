"""The contract that every rule in the table keeps, on a problem of ten images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ddjax.models import build
from ddjax.robust import RULES, make_rule
from ddjax.robust.held_out import held_out_probabilities
from ddjax.training import Clock, Examples, Recipe, fit, make_trainer

MODEL = build("mlp", (8, 8, 1), 3, depth=1, width=6)
RECIPE = Recipe(epochs=2, batch=4, rate=0.1, momentum=0.9)
LABELS = jnp.arange(10) % 3
EXAMPLES = Examples(
    jax.random.normal(jax.random.key(0), (10, 8, 8, 1)) + LABELS[:, None, None, None], jax.nn.one_hot(LABELS, 3)
)
DATA = {
    "forward": 0.7 * jnp.eye(3) + 0.1,
    "backward": 0.7 * jnp.eye(3) + 0.1,
    "nested_coteaching": jnp.array([2, 5]),
    "weighted": jnp.ones(10).at[4].set(0),
    "kd": {"logits": jax.random.normal(jax.random.key(1), (10, 3))},
}
# rules that differ from "ce" by one function of a row's logits, which has tests of its own
ROW_LOSSES = {"label_smoothing", "bootstrap", "bootstrap_hard", "gce", "sce", "active_passive"}
# between them they use every hook of the trainer but a strong view
QUICK = ("cpc_reconstructed", "dividemix", "nested_coteaching")
EARLY = {
    "pls": {"warmup": 1.0},
    "lsa": {"warmup": 1.0},
    "cpc_reconstructed": {"warmup": 1.0},
    "storm": {"warmup": 0.0},
    "dividemix": {"warmup": 1.0},
}


def trained(name):
    """The state before and after two epochs, and the findings; one program."""
    runs = make_trainer(MODEL, RECIPE, make_rule(name, RECIPE.epochs, **EARLY.get(name, {})))

    def run(key, examples, data):
        first = runs.init(key, jnp.float32(RECIPE.rate), examples, data)

        def one(state, epoch):
            return runs.epoch(state, examples, Clock(epoch, jax.random.key(2)))

        last, metrics = jax.lax.scan(one, first, jnp.arange(2))
        return first, last, metrics, runs.rule.export(last.tables, runs.stats(last.params, examples, key))

    return jax.jit(run)(jax.random.key(3), EXAMPLES, DATA.get(name))


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in sorted(set(RULES) - ROW_LOSSES)]
)
def test_contract(name):
    first, last, metrics, findings = trained(name)
    assert np.isfinite(metrics["loss"]).all()
    jax.tree.map(lambda x: np.testing.assert_array_equal(np.isfinite(x), True), (last.params, last.extra, findings))
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (first.params, last.params)), strict=True))
    assert findings.suspicion.shape == findings.flagged.shape == findings.weight.shape == (10,)
    assert findings.flagged.dtype == bool and findings.relabel.shape == (10, 3)
    np.testing.assert_allclose(findings.relabel.sum(axis=1), 1, rtol=1e-5)


@pytest.fixture(scope="module")
def noisy():
    """Three overlapping clouds; three labels in ten are wrong. Examples, the wrong rows, and a clean test set."""
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=900)
    clouds = rng.standard_normal((3, 16))[truth] + 0.6 * rng.standard_normal((900, 16))
    given = np.where(rng.random(900) < 0.3, (truth + rng.integers(1, 3, 900)) % 3, truth)[:600]
    images = jnp.asarray(clouds.reshape(-1, 4, 4, 1), jnp.float32)
    return (
        Examples(images[:600], jax.nn.one_hot(jnp.asarray(given), 3)),
        given != truth[:600],
        images[600:],
        truth[600:],
    )


@pytest.mark.slow
def test_early_learning_regularisation_keeps_every_class_in_a_short_run():
    """ELR needs predictions of earlier epochs. A momentum scaled to the length of the run (0.7 ** 7.5) forgot them."""
    rng = np.random.default_rng(0)
    truth = rng.integers(10, size=800)
    clouds = rng.standard_normal((10, 16))[truth] + 0.6 * rng.standard_normal((800, 16))
    given = np.where(rng.random(800) < 0.4, rng.integers(0, 10, 800), truth)[:400]
    images = jnp.asarray(clouds.reshape(-1, 4, 4, 1), jnp.float32)
    recipe = Recipe(epochs=20, batch=50, rate=0.05, momentum=0.9)
    fitted = fit(
        build("mlp", (4, 4, 1), 10, depth=1, width=32),
        recipe,
        Examples(images[:400], jax.nn.one_hot(jnp.asarray(given), 10)),
        jax.random.key(0)[None],
        rule=make_rule("elr", recipe.epochs),
        watch={"test": (images[400:], {"accuracy": truth[400:]})},
    )
    assert fitted.seen["accuracy"][0, -1] > 0.95  # 0.82 with the scaled momentum: two classes were never predicted


@pytest.mark.parametrize("epochs", [1, 3, 20, 1000])
def test_only_numbers_of_epochs_depend_on_the_length_of_a_run(epochs):
    for name, published in RULES.items():
        chosen = published.settings_for(epochs)
        fixed = {n: value for n, value in published.settings.items() if n not in published.counts}
        assert {n: chosen[n] for n in chosen if n not in published.counts} == fixed, name
        for setting in published.counts:  # an early phase ends by the middle of the run
            assert 0 < chosen[setting] <= epochs / 2, name


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_wrong_labels_are_found_and_not_learned(name, noisy):
    """Measured: accuracies 94.7 (backward correction, whose loss is unbounded) to 100, areas 0.990 to 1."""
    examples, wrong, images, truth = noisy
    linear, recipe = build("mlp", (4, 4, 1), 3, depth=0), Recipe(epochs=50, batch=60, rate=0.05, momentum=0.9)
    held_out = held_out_probabilities(linear, recipe, examples, jax.random.key(1), folds=3) if name == "kd" else None
    matrix = jnp.eye(3)[None] * 0.55 + 0.15
    data = {
        "forward": matrix,
        "backward": matrix,
        "weighted": jnp.ones((1, 600)),
        "nested_coteaching": jnp.array([[16, 16]]),
        "kd": {"logits": jnp.log(jnp.asarray(held_out, jnp.float32))[None]} if name == "kd" else None,
    }
    settings = {
        "small_loss": {"forget": 0.3},
        "coteaching": {"forget": 0.3},
        "nested_coteaching": {"forget": 0.3},
        "nested_dropout": {"spread": 16.0},
        "echo_select": {"noise": 0.3},
        "ill": {"strong": "none"},
    }
    rule = make_rule(name, 50, **settings.get(name, {}))
    watch = {"test": (images, {"accuracy": truth})}
    fitted = fit(linear, recipe, examples, jax.random.key(0)[None], rule=rule, data=data.get(name), watch=watch)
    assert fitted.seen["accuracy"][0, -1] > 0.94
    assert roc_auc_score(wrong, np.asarray(fitted.findings.suspicion[0])) > 0.98


def test_the_augmentation_of_a_rule_must_be_known():
    with pytest.raises(ValueError, match="unknown augmentation 'sharp'; known: none, dsa"):
        make_trainer(MODEL, RECIPE, make_rule("ill", strong="sharp"))
