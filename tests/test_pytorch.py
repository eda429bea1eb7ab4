"""The PyTorch loops of the benchmark compute what the steps of ddjax compute. They need PyTorch, which no extra has."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddjax.models import build
from experiments.benchmarks.datm import problem
from experiments.benchmarks.pytorch import Loops

torch = pytest.importorskip("torch")
MODEL = build("convnet", (32, 32, 3), 10, width=4, depth=3)
SMALL = {"rtol": 1e-3, "atol": 1e-5}


@pytest.fixture(scope="module")
def loops():
    return Loops(torch, torch.device("cpu"))


def test_networks_agree(loops):
    params, images = MODEL.init(jax.random.key(0)), np.random.default_rng(0).standard_normal((3, 32, 32, 3))
    found = loops.logits(loops.network(params), loops.of(images.astype(np.float32))).detach()
    np.testing.assert_allclose(found, MODEL.apply(params, jnp.asarray(images, jnp.float32)), **SMALL)


def test_gradients_through_steps_on_a_distilled_set_agree(loops):
    learned, _ = problem(MODEL, 10)
    start, goal = (MODEL.init(jax.random.key(i)) for i in (0, 1))

    def apart(a, b):
        return optax.tree.norm(optax.tree.sub(a, b), squared=True)

    def loss(images, labels, rate):
        def inner(params):
            return optax.softmax_cross_entropy(MODEL.apply(params, images), jax.nn.softmax(labels)).mean()

        params = start
        for _ in range(2):
            params = jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(inner)(params))
        return apart(params, goal) / apart(start, goal)

    wanted = jax.jit(jax.grad(loss, (0, 1, 2)))(learned.images, learned.labels, learned.rate)
    images, labels, rate = loops.matching_experts(start, goal, learned, 2)()
    np.testing.assert_allclose(images.permute(0, 2, 3, 1), wanted[0], rtol=1e-2, atol=1e-3 * np.abs(wanted[0]).max())
    np.testing.assert_allclose(labels, wanted[1], rtol=1e-2, atol=1e-3 * np.abs(wanted[1]).max())
    np.testing.assert_allclose(rate, wanted[2], rtol=1e-2)
