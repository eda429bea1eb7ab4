"""FRePo keeps the contract, and its loss is that of ridge regression on features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing
from ddjax.distillers import frepo
from ddjax.testing import Case, toy_train

TINY = {"ipc": 1, "steps": 4, "width": 4, "depth": 1, "batch": 12, "pool_size": 3, "max_online": 6, "norm": "none"}
test_contract = testing.contract(frepo.METHOD, **TINY)


def test_the_loss_is_that_of_ridge_regression():
    config = frepo.FrepoConfig(**TINY, ridge=1e-2)
    case, train = Case(frepo.METHOD, config), toy_train()
    model = frepo.network(config, (8, 8, 3), 3)
    params, learned = model.init(jax.random.key(0)), case.start
    targets = frepo.scaled_targets(train.labels, 3)
    loss, accuracy = jax.jit(frepo.frepo_loss, static_argnums=(0, 1))(
        config, model, params, learned, train.images, targets
    )
    phi, phi_b = (np.asarray(model.features(params, x), np.float64) for x in (learned.images, train.images))
    kernel = phi @ phi.T
    found = phi_b @ phi.T @ np.linalg.solve(kernel + 1e-2 * np.trace(kernel) / 3 * np.eye(3), learned.labels)
    error = 0.5 * np.mean(np.sum((found - np.asarray(targets)) ** 2, 1))
    np.testing.assert_allclose(loss, error - 1 / 3, rtol=1e-4)  # margins are above their cap
    np.testing.assert_allclose(accuracy, np.mean(found.argmax(1) == np.asarray(train.labels)), rtol=1e-6)


def test_labels_are_scaled_by_the_number_of_classes():
    rows = frepo.scaled_targets(jnp.arange(40), 40)
    np.testing.assert_allclose(jnp.diag(rows), (1 - 1 / 40) / 2, rtol=1e-6)


@pytest.mark.slow
def test_first_ages_are_staggered_and_old_networks_replaced():
    case = Case(frepo.METHOD, frepo.FrepoConfig(**{**TINY, "norm": "batch"}))
    state = case.state()
    np.testing.assert_array_equal(state.pool.whole().age, [0, 2, 4])
    for number in range(8):
        before, (state, _) = state, case.step(state, case.batch(number))
        changed = np.flatnonzero(np.asarray(before.pool.whole().age != state.pool.whole().age))
        assert len(changed) == 1 and int(state.pool.whole().age.max()) < 6
        old, new = int(before.pool.whole().age[changed[0]]), int(state.pool.whole().age[changed[0]])
        assert new == (0 if old == 5 else old + 1)
