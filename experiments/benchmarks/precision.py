"""Error of gradients at reduced precision."""

from collections.abc import Iterator
from typing import Any

import jax
import optax

from ddjax.models import build
from ddjax.precision import POLICIES, policy
from experiments.benchmarks.convolution import forward_gflop, problem
from experiments.benchmarks.measure import Entry, Settings, compiled, measure


def precision(settings: Settings) -> Iterator[Entry]:
    """Measure the gradient of a ConvNet-3 at each precision; error is relative to float32, in the norm."""
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
            gap = optax.tree.norm(optax.tree.sub(found, exact)) / optax.tree.norm(exact)
            gflop = 3 * forward_gflop(settings.width, batch)
            yield measure(f"gradient_{name}", call, gflop, settings.repeats, error=float(gap))
