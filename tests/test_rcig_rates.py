"""RCIG's rates, averages and published settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.distillers import rcig
from ddjax.distillers.rcig import rates as rcig_rates
from ddjax.distillers.rcig.config import CONFIGS, PUBLISHED, config_named, published


@pytest.mark.parametrize(
    ("curve", "wanted"), [([3, 2, 1], 1), ([1, 2, 3], -1), ([3, 1, 2], 0), ([2, 2, 2], 0), ([3, np.nan, 1], -1)]
)
def test_curve_classes(curve, wanted):
    assert int(rcig_rates.curve_class(jnp.array(curve, jnp.float32))) == wanted


@pytest.mark.parametrize("threshold", [1.7e-5, 3e-3])
def test_the_search_ends_just_above_the_last_rate_that_passed(threshold):
    found = jax.jit(lambda: rcig_rates.search(lambda rate: jnp.where(rate < threshold, 1, 0), 1e-5))()
    passed = 1e-5
    while passed * 1.2 < threshold:
        passed *= 1.2
    np.testing.assert_allclose(found, passed * 1.008, rtol=1e-5)


def test_a_search_without_a_pass_steps_back_and_one_without_a_failure_ends():
    np.testing.assert_allclose(rcig_rates.search(lambda rate: jnp.int32(-1), 1e-5), 0.84e-5, rtol=1e-5)
    assert bool(jnp.isfinite(rcig_rates.search(lambda rate: jnp.int32(1), 1e-5)))


@pytest.mark.parametrize(
    ("risen", "fallen", "factor"), [(15, 0, 0.9), (14, 34, 1.0), (0, 35, 1.05), (0, 34, 1.0), (15, 35, 0.9)]
)
def test_adaptation_at_its_boundaries(risen, fallen, factor):
    classes = jnp.array([-1] * risen + [1] * fallen + [0] * (50 - risen - fallen), jnp.int32)
    start = rcig_rates.rate_init(2.0)
    end, values = jax.lax.scan(
        lambda r, x: ((new := rcig_rates.adapt(r, *x)), new.value), start, (classes, jnp.arange(51, 101))
    )
    np.testing.assert_allclose(values[:-1], 2.0)
    np.testing.assert_allclose(end.value, 2 * factor, rtol=1e-6)
    assert int(end.seen) == int(end.risen) == int(end.fallen) == 0


def test_the_first_window_has_51_entries():
    rate = rcig_rates.rate_init(1.0)
    for step, seen in [(0, 1), (49, 2), (50, 0)]:
        rate = rcig_rates.adapt(rate, jnp.int32(0), jnp.int32(step))
        assert int(rate.seen) == seen


def test_published_settings_are_data():
    assert all(name in CONFIGS for name, _ in PUBLISHED.values())
    for dataset, ipc in PUBLISHED:
        assert published(dataset, ipc).ipc == ipc
    first = published("cifar10", 1)
    assert (first.steps, first.flip, first.batch, first.ridge(10)) == (15_000, True, 1024, 0.005)
    assert published("tiny_imagenet", 1).ridge(200) == pytest.approx(0.1)
    assert published("imagenette", 1).ridge(10) == pytest.approx(0.5)
    assert published("cifar100", 50).ridge(100) == pytest.approx(2.5)
    big = config_named("depth_4_big", ipc=10)
    assert (big.pool_rows, big.pool_size, big.direct_batch, big.inner_rows) == (256, 30, 256, 500)
    with pytest.raises(ValueError, match="depth_3"):
        config_named("depth3")
    with pytest.raises(ValueError, match="cifar10 ipc 1"):
        published("cifar10", 2)


def test_an_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="woodbury"):
        rcig.RcigConfig(solver="newton")
