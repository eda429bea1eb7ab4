"""What a policy for products costs in accuracy: errors of gradients, rounded as the platform does."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ddjax.data import load, prepare, to_space
from ddjax.distillers import DISTILLERS
from ddjax.distillers.setup import make_config, set_up
from ddjax.models import build
from ddjax.noise import NoiseSpec
from ddjax.precision import POLICIES, policy
from ddjax.preprocess import fit
from experiments.benchmarks.convolution import forward_gflop, problem
from experiments.benchmarks.measure import Entry, Settings, compiled, entry, measure

STEPS = {  # settings of a step on digits; the networks that come before it are trained in float32
    "rcig": {"width": 32, "batch": 256, "pool_size": 2, "inner_rate": 1e-4, "hinv_rate": 1e-4},
    "datm": {"experts": 1, "store": False},
    "dance": {"members": 1, "keep_pool": False},
    "frepo": {"width": 32, "batch": 256, "pool_size": 2},
    "kip": {"kernel": "conjugate"},
}


def precision(settings: Settings) -> Iterator[Entry]:
    """Measure the gradient of a ConvNet-3 and of a step of each method at each precision.

    The error is relative to float32, in the norm over all weights or over all learned images.
    """
    batch = settings.batch or 32
    model = build("convnet", (32, 32, 3), 10, width=settings.width, depth=3)
    params, images, targets = problem(model, batch)

    def gradient(params: Any, images: Any) -> Any:
        return jax.grad(lambda p: optax.softmax_cross_entropy(model.apply(p, images), targets).mean())(params)

    exact = None
    for name in POLICIES:
        with policy(name):
            call = compiled(gradient, params, images)
            found = call()
            exact = found if exact is None else exact
            gflop = 3 * forward_gflop(settings.width, batch)
            yield measure(f"gradient_{name}", call, gflop, settings.repeats, error=_error(found, exact))
    for method in STEPS:
        yield from of_a_step(method, settings.ipc)


def of_a_step(name: str, ipc: int) -> Iterator[Entry]:
    """The error of the first gradient that a method takes on digits."""
    method, dataset = DISTILLERS[name], load("digits")
    train = to_space(prepare(dataset, NoiseSpec()), fit(method.space or "standardize", dataset.images)).train
    config = make_config(method, None, ipc=ipc, **STEPS[name])
    with policy("float32"):
        setup = set_up(method, config, train, jax.random.key(0))
        state = setup.distiller.init(jax.random.key(1), setup.start)
        batch = setup.feed.at(setup.feed.data, jnp.int32(0))
    exact = None
    for precision in POLICIES:
        with policy(precision):
            found = _moments(jax.jit(setup.distiller.step)(state, batch)[0])
            exact = found if exact is None else exact
            yield entry(f"{name}_{precision}", 0.0, error=_error(found, exact))


def _moments(state: Any) -> list[Any]:
    """The first moment of the images, which after one step is a multiple of their gradient."""
    if hasattr(state, "moving"):
        return [state.moving.velocity]
    return [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim == 4][:1]


def _error(found: Any, exact: Any) -> float:
    return float(optax.tree.norm(optax.tree.sub(found, exact)) / optax.tree.norm(exact))
