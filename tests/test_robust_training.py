"""The trainer of rules against the plain trainer, and what it does for two networks, views and a meta step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ddjax.denoising.networks import Networks, predict_early_stopped
from ddjax.execution.options import RunOptions
from ddjax.models import build
from ddjax.robust import make_rule
from ddjax.robust.held_out import held_out_probabilities, stratified_folds
from ddjax.robust.rules.elr import elr
from ddjax.robust.rules.losses import plain
from ddjax.robust.rules.mixup import mixup
from ddjax.robust.rules.small_loss import coteaching, small_loss
from ddjax.robust.rules.storm import storm
from ddjax.robust.rules.transition import backward_correction, forward_correction
from ddjax.robust.separator import separate
from ddjax.training import Clock, Examples, Recipe, Sharpness, fit, make_trainer, predict
from ddjax.training.batches import make_batch
from ddjax.training.losses import cross_entropy
from ddjax.training.networks import forward
from ddjax.types import TrainSet
from experiments.running.nested import _widths

MODEL = build("mlp", (2, 2, 1), 3, depth=1, width=4)
RECIPE = Recipe(epochs=2, batch=4, rate=0.1, momentum=0.9, weight_decay=1e-2)
LABELS = jnp.arange(10) % 3
IMAGES = jax.random.normal(jax.random.key(0), (10, 2, 2, 1)) + LABELS[:, None, None, None]
EXAMPLES = Examples(IMAGES, jax.nn.one_hot(LABELS, 3))
WATCH = {"all": (IMAGES, {"accuracy": LABELS})}
CLOCK = Clock(jnp.int32(0), jax.random.key(9))


def keys(count):
    return jax.random.split(jax.random.key(1), count)


def start(rule, data=None):
    return make_trainer(MODEL, RECIPE, rule).init(keys(1)[0], jnp.float32(0.1), EXAMPLES, data)


def close(found, expected, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), found, expected)


@pytest.fixture(scope="module")
def plain_epoch():
    trainer = make_trainer(MODEL, RECIPE)
    return jax.jit(trainer.epoch)(trainer.init(keys(1)[0], jnp.float32(0.1)), EXAMPLES, CLOCK)[0].params


NEUTRAL = {
    "elr": (elr(0.7, 0.0), None),
    "mixup": (mixup(0.0), None),
    "small_loss": (small_loss(0.0), None),
    "forward": (forward_correction(), jnp.eye(3)),
    "backward": (backward_correction(), jnp.eye(3)),
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_rule_takes_the_plain_steps(name, plain_epoch):
    rule, data = NEUTRAL[name]
    found = jax.jit(make_trainer(MODEL, RECIPE, rule).epoch)(start(rule, data), EXAMPLES, CLOCK)[0].params
    exact = name in ("mixup", "small_loss")
    close(found, plain_epoch, rtol=0 if exact else 2e-5, atol=0 if exact else 1e-6)


def test_plain_rule_is_the_plain_fit():
    expected = fit(MODEL, RECIPE, EXAMPLES, keys(2), watch=WATCH, every=1)
    calls = []
    found = fit(
        MODEL,
        RECIPE,
        EXAMPLES,
        keys(2),
        rule=plain(),
        watch=WATCH,
        every=1,
        options=RunOptions(lambda *call: calls.append(call)),
    )
    close(found.params, expected.params, rtol=0, atol=0)
    close(found.seen, expected.seen, rtol=0, atol=0)
    close(found.loss, expected.loss, rtol=0, atol=0)
    assert found.at == expected.at == [1, 2] and [call[:2] for call in calls] == [(1, 2), (2, 2)]
    assert found.findings.suspicion.shape == (2, 10)
    # a run on its own labels is what a fit on these alone would be
    other = jax.nn.one_hot((LABELS + 1) % 3, 3)
    apart = fit(MODEL, RECIPE, Examples(IMAGES, jnp.stack([EXAMPLES.targets, other])), keys(2), rule=plain())
    first, second = (jax.tree.map(lambda x, i=i: x[i], apart.params) for i in range(2))
    close(first, jax.tree.map(lambda x: x[0], expected.params), rtol=1e-5, atol=1e-6)
    assert not np.allclose(second["head"]["bias"], expected.params["head"]["bias"][1])


@pytest.mark.slow
def test_two_networks_start_apart_and_answer_together():
    found = fit(MODEL, RECIPE, EXAMPLES, keys(1), rule=coteaching(0.3), watch=WATCH)
    pair = jax.tree.map(lambda x: x[0], found.params)
    one, two = (jax.tree.map(lambda x, i=i: x[i], pair) for i in range(2))
    assert not np.allclose(one["head"]["kernel"], two["head"]["kernel"])
    mean = (predict(MODEL, one, IMAGES) + predict(MODEL, two, IMAGES)) / 2
    np.testing.assert_allclose(predict(found.model, pair, IMAGES), mean, rtol=1e-5, atol=1e-6)
    assert found.seen["accuracy"][0, 0] == pytest.approx(np.mean(jnp.argmax(mean, axis=1) == LABELS))
    assert found.findings.flagged.sum() == 3


@pytest.mark.slow
def test_weights_are_learned_through_the_step():
    """d meta / d weight_i of a plain step is - rate <meta gradient, gradient_i - weighted mean> / sum of weights."""

    def meta(before, after, batch, extra):  # of a batch of all rows, so that their order does not matter
        return jnp.mean(cross_entropy(after.logits[0, 0], batch.targets))

    rule = storm(warmup=0.0, floor=0.0)._replace(meta=meta)
    trainer = make_trainer(MODEL, Recipe(epochs=1, batch=10, rate=0.1), rule)
    state = trainer.init(keys(1)[0], jnp.float32(0.1), EXAMPLES, None)

    def role(number):
        return jax.random.fold_in(state.key, number)

    batch = make_batch(trainer.recipe, rule, role, EXAMPLES, jnp.arange(10), jnp.ones(10), CLOCK, jnp.int32(0))

    def losses(params, extra):
        return rule.loss(forward(MODEL, rule, params, batch, state.tables, role(0))[0], batch, state.tables, extra)

    def objective(both):
        found = losses(*both)
        return jnp.sum(found.weights * found.values) / jnp.sum(found.weights), None

    @jax.jit
    def both_ways(rate):
        found = trainer.meta_gradient(state, EXAMPLES, objective, role, CLOCK, jnp.int32(0), rate)
        flat, unravel = ravel_pytree(state.params)
        weights, back = jax.vjp(lambda extra: losses(state.params, extra).weights[0], state.extra)
        rows = jax.jacobian(lambda w: losses(unravel(w), state.extra).values[0])(flat)
        mean = weights @ rows / jnp.sum(weights)
        ahead = jax.grad(lambda w: jnp.mean(losses(unravel(w), state.extra).values))(flat - rate * mean)
        return found, back(-rate * (rows - mean[None]) @ ahead / jnp.sum(weights))[0]

    found, expected = both_ways(jnp.float32(0.1))
    close(found, expected, rtol=2e-3, atol=1e-7)
    assert np.abs(found["in"]).max() > 1e-5
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(both_ways(jnp.float32(0.0))[0]))


def test_recipes_with_a_loss_of_their_own_are_refused():
    for changes in ({"loss": "squared_error"}, {"cutmix": 0.5}, {"sharpness": Sharpness()}):
        with pytest.raises(ValueError, match=f"recipe.{next(iter(changes))} must be"):
            make_trainer(MODEL, dataclasses.replace(RECIPE, **changes), plain())
    with pytest.raises(ValueError, match="one-hot"):
        fit(MODEL, RECIPE, Examples(IMAGES, EXAMPLES.targets * 0.9), keys(1), rule=plain())
    with pytest.raises(ValueError, match=r"params must have the leading axes \[1, 2\]"):
        fit(MODEL, RECIPE, EXAMPLES, keys(1), rule=coteaching(), params=jax.vmap(MODEL.init)(keys(1)))
    with pytest.raises(ValueError, match="needs data, the transition matrix"):
        start(forward_correction())


def test_settings_scale_with_the_run():
    assert make_rule("echo_select", noise=0.2) is make_rule("echo_select", 240, noise=0.2)
    assert make_rule("coteaching", 400, forget=0.4) is coteaching(ramp=20.0, forget=0.4)
    assert make_rule("elr", 20) is make_rule("elr") is elr(momentum=0.7, strength=3.0)
    assert make_rule("coteaching", 100) is coteaching(ramp=10.0) and make_rule("coteaching", 8) is coteaching(ramp=2.0)
    with pytest.raises(ValueError, match="Did you mean 'coteaching'"):
        make_rule("coteching")
    with pytest.raises(ValueError, match="Did you mean 'forget'"):
        make_rule("coteaching", forgets=0.1)


def test_held_out_probabilities_come_from_other_rows():
    fold = stratified_folds(LABELS, 3, seed=0)
    assert np.ptp(np.bincount(fold)) <= 1
    for k in range(3):
        assert np.ptp(np.bincount(fold[k == LABELS], minlength=3)) <= 1
    found = held_out_probabilities(MODEL, RECIPE, EXAMPLES, keys(1)[0], folds=3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    # networks that saw another picture of row 0 are those of all folds but its own
    other = Examples(IMAGES.at[0].add(5.0), EXAMPLES.targets)
    moved = held_out_probabilities(MODEL, RECIPE, other, keys(1)[0], folds=3)
    own = (fold == fold[0]) & (np.arange(10) > 0)
    np.testing.assert_allclose(moved[own], found[own], rtol=1e-6)
    assert np.abs(moved - found)[fold != fold[0]].max(axis=1).min() > 1e-4


def counting(model, calls):
    """The model, which counts how often Python runs its `apply` and `features`: once for each trace."""

    def counted(function):
        def run(params, images):
            calls.append(images.shape)
            return function(params, images)

        return run

    return model._replace(apply=counted(model.apply), features=counted(model.features))


@pytest.mark.slow
def test_a_second_cross_validation_traces_nothing():
    calls = []
    model = counting(MODEL, calls)
    held_out_probabilities(model, RECIPE, EXAMPLES, keys(1)[0], folds=2)
    assert calls
    calls.clear()
    said = []
    report = lambda *one: said.append(one[:2])  # noqa: E731
    held_out_probabilities(model, RECIPE, EXAMPLES, keys(2)[1], folds=2, seed=1, options=RunOptions(report))
    assert calls == [] and said == [(1, 4), (2, 4), (3, 4), (4, 4)]  # epochs of both folds


@pytest.mark.slow
def test_a_second_early_stopped_prediction_traces_nothing():
    calls = []
    model = counting(MODEL, calls)
    ids = np.arange(10, dtype=np.int32)
    train = TrainSet(images=IMAGES, labels=np.asarray(LABELS), ids=ids, num_classes=3, space="unit")
    predict_early_stopped(train, Networks(model, 0, 2, 10))
    assert calls
    calls.clear()
    predict_early_stopped(train, Networks(model, 1, 2, 10))
    assert calls == []


def test_a_second_choice_of_widths_traces_nothing():
    calls = []
    model = counting(MODEL, calls)
    params = jax.vmap(MODEL.init)(keys(2))
    first = _widths(model, params, EXAMPLES, np.arange(4), 2)
    assert len(calls) == 1  # one program for both networks
    other = Examples(IMAGES[::-1], EXAMPLES.targets)
    assert _widths(model, params, other, np.arange(4), 2).shape == first.shape == (2,) and len(calls) == 1


def test_one_pair_of_networks_is_one_model():
    one, other = (make_trainer(MODEL, RECIPE, coteaching()) for _ in range(2))
    assert one.predictor() is other.predictor()


def test_networks_train_in_single_precision_with_jax_enable_x64():
    draws = Recipe(epochs=1, batch=4, rate=0.1, order="draws", draws=2, schedule="warmup_cosine", warmup_steps=1)
    with jax.enable_x64(True):
        fitted = fit(MODEL, draws, EXAMPLES, keys(1), rule=make_rule("elr", 1))
        apart = jax.eval_shape(separate, jnp.ones((4, 2), jnp.float32), *jnp.eye(2, 4, dtype=bool))
    assert {leaf.dtype.name for leaf in jax.tree.leaves((fitted.params, apart))} == {"float32"}
