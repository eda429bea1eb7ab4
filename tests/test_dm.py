"""DM keeps the contract, and is what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing
from ddjax.distillers import dance, dm
from ddjax.distillers.datm.config import MttConfig

TINY = {"steps": 3, "width": 4, "depth": 1, "batch": 6}
test_contract = testing.contract(dm.METHOD, dm.DmConfig(augment="color_flip", **TINY))


@pytest.mark.slow
def test_a_step_is_one_of_momentum_sgd_on_mean_features():
    config = dm.DmConfig(ipc=2, rate=0.1, augment="flip", **{**TINY, "batch": 8})
    case = testing.Case(dm.METHOD, config)
    model, batch, state = dance.network(config, (8, 8, 3), 3), case.batch(0), case.state()
    np.testing.assert_allclose(case.distiller.extract(state).images[2], case.start.images[1, 0])  # no box
    after, _ = jax.jit(case.distiller.step)(state, batch)

    def of_class(images, real, flipped):
        learned, seen = (x[:, :, ::-1] if flipped else x for x in (images, real))
        means = [model.features(batch.encoder, x).mean(0) for x in (learned, seen)]
        return jnp.sum((means[0] - means[1]) ** 2)

    gradient = jax.jit(jax.grad(of_class), static_argnums=2)
    for label in range(3):  # a flip is all that can happen, to the learned and the real images alike or to none
        images, real = case.start.images[label], batch.images[label]
        candidates = [images - 0.1 * gradient(images, real, flipped) for flipped in (False, True)]
        assert min(float(jnp.abs(after.moving.images[label] - x).max()) for x in candidates) < 1e-5


@pytest.mark.parametrize("one_operation", [True, False])
def test_flips_can_be_left_out(one_operation):
    with_flips = dm.DmConfig(one_operation=one_operation).augmentation()
    without = dm.DmConfig(one_operation=one_operation, flip=False).augmentation()
    names = (*with_flips.always, *with_flips.choices)
    assert (*without.always, *without.choices) == tuple(name for name in names if name != "flip") != names
    assert without(jax.random.key(0), jnp.ones((2, 8, 8, 3))).shape == (2, 8, 8, 3)


@pytest.mark.slow
def test_idc_is_the_mosaic_without_the_two_views():
    config = dm.DmConfig(ipc=1, factor=2, start="mix", **TINY)
    case = testing.Case(dm.METHOD, config)
    batch = case.batch(0)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, batch.encoder, batch.judge))
    assert not jnp.array_equal(batch.encoder["head"]["kernel"], case.batch(1).encoder["head"]["kernel"])
    state, metrics = jax.jit(case.distiller.step)(case.state(), batch)
    assert float(metrics["calibration"]) == 0 and case.distiller.extract(state).factor == 2


@pytest.mark.parametrize(
    ("kind", "field"),
    [*((dm.DmConfig, name) for name in ("optimiser", "encoder", "start")), (MttConfig, "expert_recipe")],
)
def test_other_defaults_keep_the_names_that_a_field_may_have(kind, field):
    with pytest.raises(ValueError, match=f"unknown {field} 'x'"):
        kind(**{field: "x"})
