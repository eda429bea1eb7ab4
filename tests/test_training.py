"""The trainer against a plain loop, the recipes against their published schedules."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddjax.execution.options import RunOptions
from ddjax.models import build
from ddjax.training import Clock, Examples, Recipe, Sharpness, accuracy, fit, gsam_gradient, make_trainer, predict
from ddjax.training.losses import cross_entropy, squared_error
from ddjax.training.programs import alone
from ddjax.training.schedule import rows_of_epoch

MODEL = build("convnet", (8, 8, 1), 3, depth=1, width=4)


def examples(n=10, seed=0):
    key = jax.random.key(seed)
    images = jax.random.normal(key, (n, 8, 8, 1))
    return Examples(images, jax.nn.one_hot(jnp.arange(n) % 3, 3))


def keys():
    return jax.random.split(jax.random.key(0), 2)


def recipe(**changes):
    return dataclasses.replace(Recipe(epochs=3, batch=4, rate=0.1, momentum=0.9, weight_decay=1e-2), **changes)


def test_an_epoch_is_a_permutation_with_a_weighted_rest():
    rows, weights = rows_of_epoch(recipe(), jax.random.key(0), 10, jnp.int32(2))
    assert rows.shape == weights.shape == (3, 4)
    assert sorted(np.asarray(rows)[np.asarray(weights) == 1]) == list(range(10))
    assert weights.sum() == 10
    again, _ = rows_of_epoch(recipe(), jax.random.key(0), 10, jnp.int32(2))
    other, _ = rows_of_epoch(recipe(), jax.random.key(0), 10, jnp.int32(3))
    assert (rows == again).all() and (rows != other).any()


def test_rows_are_int32_where_the_default_is_int64(double):
    assert rows_of_epoch(recipe(), jax.random.key(0), 10, jnp.int32(2))[0].dtype == jnp.int32  # and nothing warns


def test_draws_are_without_replacement():
    rows, weights = rows_of_epoch(recipe(order="draws", draws=50), jax.random.key(0), 10, jnp.int32(0))
    assert rows.shape == (50, 4) and (weights == 1).all()
    assert all(len(set(row)) == 4 for row in np.asarray(rows).tolist())
    assert len({tuple(row) for row in np.asarray(rows).tolist()}) > 40


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_trainer_is_the_plain_loop(optimiser):
    momentum = 0.9 if optimiser == "sgd" else 0.0
    settings, data = recipe(optimiser=optimiser, momentum=momentum, loss="cross_entropy"), examples()
    trainer = make_trainer(MODEL, settings)
    state = trainer.init(jax.random.key(1), jnp.float32(settings.rate))
    steps = {"sgd": optax.sgd(settings.rate, settings.momentum), "adam": optax.adam(settings.rate)}[optimiser]
    plain = optax.chain(optax.add_decayed_weights(settings.weight_decay), steps)
    params, opt_state = state.params, plain.init(state.params)

    @jax.jit
    def step(params, opt_state, images, targets):
        gradient = jax.grad(lambda p: jnp.mean(cross_entropy(MODEL.apply(p, images), targets)))(params)
        updates, opt_state = plain.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    for epoch in range(2):
        rows, weights = rows_of_epoch(settings, jax.random.fold_in(state.key, 0), 10, jnp.int32(epoch))
        for row, weight in zip(np.asarray(rows), np.asarray(weights), strict=True):
            row = row[weight == 1]  # the last batch of the plain loop is really shorter
            params, opt_state = step(params, opt_state, data.images[row], data.targets[row])
    for epoch in range(2):
        state, metrics = jax.jit(trainer.epoch)(state, data, Clock(jnp.int32(epoch), jax.random.key(9)))
        assert jnp.isfinite(metrics["loss"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), state.params, params)


def test_plain_descent_needs_no_optimiser_state():
    trainer = make_trainer(MODEL, recipe(momentum=0.0, weight_decay=0.0, sharpness=Sharpness(rho=0.0)))
    state = trainer.init(jax.random.key(0), jnp.float32(0.1))
    after, metrics = trainer.epoch(state, examples(), Clock(jnp.int32(0), jax.random.key(0)))
    assert not jax.tree.leaves(state.opt_state) and jnp.isfinite(metrics["loss"])
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (state.params, after.params)), strict=True))


def test_weight_decay_is_coupled():
    flat = MODEL._replace(train=lambda params, images, weights: (jnp.zeros((len(images), 3)), params))
    trainer = make_trainer(flat, recipe(epochs=1, batch=10, rate=0.5))
    state = trainer.init(jax.random.key(0), jnp.float32(0.5))
    after, _ = trainer.epoch(state, examples(), Clock(jnp.int32(0), jax.random.key(0)))
    jax.tree.map(
        lambda w, new: np.testing.assert_allclose(new, w * (1 - 0.5 * 1e-2), rtol=1e-5), state.params, after.params
    )


def test_gsam_golden():
    with jax.enable_x64(True):
        curvature, start = jnp.array([1.0, 4.0]), jnp.array([1.0, 1.0])

        def gradient(w):
            return curvature * w

        first = gradient(start)
        found = gsam_gradient(gradient, start, first, Sharpness(rho=0.1, alpha=0.3))
        np.testing.assert_allclose(found, [1.00538383, 4.39246154], rtol=1e-8)
        plain = gsam_gradient(gradient, start, first, Sharpness(rho=0.1, alpha=0.0))
        np.testing.assert_allclose(plain, [1.02425356, 4.388057], rtol=1e-7)
        np.testing.assert_allclose(gsam_gradient(gradient, start, first, Sharpness(rho=0.0)), first, rtol=1e-9)
        away = np.asarray(plain - found) / 0.3
        np.testing.assert_allclose(away, [0.0628991, -0.01468181], rtol=1e-5)
        assert abs(away @ np.asarray(plain)) < 1e-9
        flat = gsam_gradient(gradient, start, first, Sharpness(rho=0.1, alpha=0.0, adaptive=False))
        np.testing.assert_allclose(flat, gradient(start + 0.1 * first / jnp.linalg.norm(first)), rtol=1e-9)


def test_momentum_is_fresh_at_a_drop():
    settings = recipe(schedule="drops", drop_epochs=(1,), reset_at_drops=True, weight_decay=0.0)
    trainer, data = make_trainer(MODEL, settings), examples(4)
    state = trainer.init(jax.random.key(0), jnp.float32(0.1))
    state, _ = trainer.epoch(state, data, Clock(jnp.int32(0), jax.random.key(0)))
    forgotten = state._replace(opt_state=jax.tree.map(jnp.zeros_like, state.opt_state))
    clock = Clock(jnp.int32(1), jax.random.key(0))
    after, clean = trainer.epoch(state, data, clock)[0], trainer.epoch(forgotten, data, clock)[0]
    jax.tree.map(np.testing.assert_array_equal, after.params, clean.params)


@pytest.mark.slow
def test_side_by_side_is_one_by_one():
    data = examples()
    settings = recipe(epochs=2, augment="dsa", cutmix=0.5)
    watch = {"seen": (data.images, {"acc": jnp.arange(10) % 3})}
    one, side = (
        fit(MODEL, settings, data, keys(), watch=watch, options=RunOptions(how=how)) for how in ("map", "vmap")
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), one.params, side.params)
    np.testing.assert_allclose(one.loss, side.loss, rtol=1e-3)


@pytest.mark.parametrize("epochs", [1, 23])
def test_fit_runs_every_epoch_once(epochs):
    data, settings = examples(), recipe(epochs=epochs)
    watch = {"seen": (data.images, {"acc": jnp.arange(10) % 3})}
    reports = []
    options = RunOptions(lambda *r: reports.append(r))
    with jax.debug_nans(True):
        fitted = fit(MODEL, settings, data, keys(), watch=watch, every=5, options=options)
    assert fitted.loss.shape == (2, epochs) and (fitted.loss >= 0).all()
    assert fitted.at == sorted({*range(5, epochs + 1, 5), epochs})
    assert fitted.seen["acc"].shape == (2, len(fitted.at)) and (fitted.seen["acc"] >= 0).all()
    assert reports[-1][:2] == (epochs, epochs)
    trainer = make_trainer(MODEL, settings)
    state = trainer.init(keys()[0], jnp.float32(settings.rate))
    step = jax.jit(trainer.epoch)
    for epoch in range(epochs):
        state, _ = step(state, data, Clock(jnp.int32(epoch), jax.random.key(0)))
    first = jax.tree.map(lambda leaf: leaf[0], fitted.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3), first, state.params)


@pytest.mark.slow
def test_a_look_after_the_last_epoch_can_be_left_out():
    data, watch = examples(), {"seen": (examples().images, {"acc": jnp.arange(10) % 3})}
    with_it, without = (
        fit(MODEL, recipe(epochs=4), data, keys(), watch=watch, every=2, final=final) for final in (True, False)
    )
    assert (with_it.at, without.at) == ([2, 4], [2])
    np.testing.assert_array_equal(without.seen["acc"], with_it.seen["acc"][:, :1])


@pytest.mark.slow
def test_a_second_fit_compiles_nothing(caplog):
    def compilations(seed, rates):
        caplog.clear()
        with jax.log_compiles():
            fit(MODEL, recipe(), examples(), jax.random.split(jax.random.key(seed), 2), rates=jnp.array(rates))
        return sum("Finished XLA compilation" in record.message for record in caplog.records)

    assert compilations(0, [0.1, 0.1]) > 0 and compilations(1, [0.1, 0.2]) == 0
    fit(MODEL, recipe(), examples(), jax.random.split(jax.random.key(2), 3))
    assert alone(make_trainer(MODEL, recipe()), 3, True, ()).train._cache_size() == 1  # for any number of members


def test_padding_does_not_move_batch_statistics():
    model = build("convnet", (8, 8, 1), 3, depth=1, width=4, norm="batch")
    data, settings = examples(6), recipe(batch=4, epochs=1, weight_decay=0.0)
    trainer = make_trainer(model, settings)
    state = trainer.init(jax.random.key(0), jnp.float32(1e-30))  # statistics move and weights do not
    after, _ = jax.jit(trainer.epoch)(state, data, Clock(jnp.int32(0), jax.random.key(0)))
    rows, weights = rows_of_epoch(settings, jax.random.fold_in(state.key, 0), 6, jnp.int32(0))
    train, params = jax.jit(model.train), state.params
    for row, weight in zip(np.asarray(rows), np.asarray(weights), strict=True):
        real = row[weight == 1]  # the last batch of this loop is really shorter
        _, params = train(params, data.images[real], jnp.ones(len(real)))
    found, expected, first = (x.params["batch_stats"] for x in (after, state._replace(params=params), state))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
    assert all((a != b).all() for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(first), strict=True))


@pytest.mark.slow
def test_predict_covers_the_rest():
    params, images = MODEL.init(jax.random.key(0)), examples(11).images
    expected = jax.jit(MODEL.apply)(params, images)
    np.testing.assert_allclose(predict(MODEL, params, images, batch=4), expected, atol=1e-5)
    assert accuracy(jnp.eye(3), jnp.array([0, 1, 0])) == pytest.approx(2 / 3)


def test_losses():
    logits, target = jnp.array([[1.0, 2.0, 0.5]]), jnp.array([[0.0, 1.0, 0.0]])
    assert cross_entropy(logits, target)[0] == pytest.approx(-jax.nn.log_softmax(logits)[0, 1])
    assert squared_error(logits, target)[0] == pytest.approx(0.5 * (1 + 1 + 0.25) / 3)


@pytest.mark.parametrize(
    "wrong", ["optimiser sdg sgd", "schedule drop drops", "augment das dsa", "loss mse squared_error"]
)
def test_unknown_names_are_answered(wrong):
    field, value, known = wrong.split()
    with pytest.raises(ValueError, match=known):
        recipe(**{field: value})


@pytest.mark.parametrize("changes", [{"drop": 0.5}, {"floor": 0.1}, {"optimiser": "adam"}, {"draws": 5}])
def test_a_setting_without_effect_is_refused(changes):
    with pytest.raises(ValueError, match=r"has no effect with (schedule|optimiser|order)="):
        recipe(**changes)


def test_a_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(ValueError, match=r"recipe\.warmup_steps must be fewer than the 9 steps"):
        fit(MODEL, recipe(schedule="warmup_cosine", warmup_steps=9), examples(), keys())


@pytest.mark.parametrize(
    ("changed", "watch", "message"),
    [
        ({"targets": jnp.eye(3, dtype=jnp.int32)[jnp.arange(10) % 3]}, None, r"float targets \[n k\].*int32\[10, 3\]"),
        ({"targets": jnp.ones((10, 1))}, None, "network has 3 outputs and examples.targets 1 classes"),
        ({}, {"seen": (examples().images, {"acc": jnp.zeros(1, jnp.int32)})}, r"acc has labels \[1\] for images"),
        ({}, dict.fromkeys("ab", (examples().images, {"acc": jnp.zeros(10, jnp.int32)})), r"\['acc'\] come more than"),
    ],
)
def test_examples_and_labels_that_do_not_fit_are_refused(changed, watch, message):
    with pytest.raises(ValueError, match=message):
        fit(MODEL, recipe(), examples()._replace(**changed), keys(), watch=watch)
