"""Facts of published protocols."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddjax.evaluation import PROTOCOLS, Protocol
from ddjax.evaluation.protocols import adapted, common_recipe, dance_recipe, datm_recipe, rcig_recipe
from ddjax.training import Recipe
from ddjax.training.published import pool_recipe
from ddjax.training.schedule import direction, rate_factor


def test_published_schedules():
    datm = rate_factor(datm_recipe(), 4)
    assert datm(501 * 4 + 3) == 1 and datm(502 * 4) == pytest.approx(0.1)
    assert datm_recipe().epochs == 1001
    for epochs, marks in {
        60: (40, 50),
        80: (53, 66),
        1500: (1000, 1250),
        2000: (1333, 1666),
        3000: (2000, 2500),
    }.items():
        assert pool_recipe(epochs).drop_epochs == adapted(dance_recipe(), epochs=epochs).drop_epochs == marks
    dance = rate_factor(dance_recipe(), 7)
    assert [round(float(dance(e * 7)), 6) for e in (0, 999, 1000, 1249, 1250)] == [1, 1, 0.2, 0.2, 0.04]
    assert float(rate_factor(pool_recipe(3), 7)(2 * 7)) == pytest.approx(0.04)
    for short in (pool_recipe(1), adapted(dance_recipe(), epochs=1)):  # a drop at epoch 0 would slow the whole training
        assert float(rate_factor(short, 7)(6)) == 1
    for m, steps in {10: 1000, 100: 2000}.items():
        chosen = rcig_recipe(m)
        assert chosen.epochs * chosen.draws == steps
        factor = rate_factor(chosen, chosen.draws)
        assert factor(0) == 0 and factor(500) == pytest.approx(1) and factor(steps) == pytest.approx(0.01)
    assert common_recipe().epochs == 1000


@pytest.mark.parametrize(
    ("m", "steps"), [(10, 1000), (50, 2000), (100, 2000), (200, 20_000), (500, 5000), (9000, 40_000)]
)
def test_frepo_trains_by_the_number_of_images(m, steps):
    recipe = PROTOCOLS["frepo"].recipe(m)
    assert recipe.epochs * recipe.steps_per_epoch(m) == steps and recipe.warmup_steps == 500
    assert (recipe.batch, recipe.rate, recipe.loss, recipe.optimiser) == (500, 3e-4, "squared_error", "adam")


def test_ncfm_halves_its_rate_after_each_fifth():
    recipe = PROTOCOLS["ncfm"].recipe(100)
    assert recipe.drop_epochs == (400, 800, 1200, 1600) and recipe.optimiser == "adamw"
    factor = rate_factor(recipe, 2)
    assert [float(factor(jnp.int32(2 * epoch))) for epoch in (0, 399, 400, 1999)] == [1, 1, 0.5, 0.0625]
    assert adapted(recipe, flip=False, epochs=500).drop_epochs == (100, 200, 300, 400)
    assert adapted(recipe, flip=False).augment == "ncfm_noflip"
    assert adapted(Recipe(epochs=1, batch=1, rate=0.1, augment="crop_flip"), flip=False).augment == "crop"


@pytest.mark.parametrize(("field", "value"), [("checks", 0), ("students", 0), ("rates", (0.1, -1.0))])
def test_a_protocol_refuses_a_value_out_of_range(field, value):
    with pytest.raises(ValueError, match=rf"protocol\.{field}"):
        Protocol("mine", common_recipe, **{field: value})


def test_a_protocol_refuses_rates_without_effect():
    with pytest.raises(ValueError, match=r"protocol\.rates=\(0\.1,\) leaves nothing to choose"):
        Protocol("mine", common_recipe, rates=(0.1,))
    with pytest.raises(ValueError, match=r"protocol\.use_step_size has no effect with protocol\.rates=\(0\.1, 0\.2\)"):
        Protocol("mine", common_recipe, rates=(0.1, 0.2), use_step_size=True)


def test_adamw_is_that_of_optax():
    recipe = Recipe(epochs=1, batch=1, rate=0.1, optimiser="adamw", weight_decay=0.2)
    ours, theirs = direction(recipe), optax.adamw(0.1, weight_decay=0.2)
    params = expected = jnp.array([1.0, -2.0])
    state, other = ours.init(params), theirs.init(params)
    for gradient in (jnp.array([0.3, 0.1]), jnp.array([-0.2, 0.5])):
        updates, state = ours.update(gradient, state, params)
        params = jax.tree.map(lambda p, u: p - recipe.rate * u, params, updates)
        updates, other = theirs.update(gradient, other, expected)
        expected = optax.apply_updates(expected, updates)
    np.testing.assert_allclose(params, expected, rtol=1e-6)
