"""Nested dropout as a trainer: networks whose features are in order, thinned to what held-out given labels ask for.

Alone, or as the first of two stages: two thinned networks then teach each other (arXiv:2206.13140). The paper chooses
the width on clean labels; here a tenth of the given, noisy ones is held out for it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import trees
from ddjax.evaluation.protocols import adapted
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.robust import make_rule, robust_fit
from ddjax.robust.rules.nested import choose_width, keep_first, thinned_pair
from ddjax.training import Examples, Recipe
from ddjax.training.checking import all_finite
from ddjax.types import Model

HELD_OUT = 0.1
SECOND = 100 / 450  # of all epochs, as published; so is the second stage's rate, a hundredth of the first's
SLOWER = 0.01
_choose = jax.jit(choose_width, static_argnames=("model", "channels"))  # one program for all calls of the same shapes


def nested_trainer(spread: float, forget: float | None) -> Callable[[np.ndarray | None], Callable[..., Any]]:
    """What `train_full` trains with; with a `forget` the second stage follows."""

    def train(
        model: Model,
        recipe: Recipe,
        examples: Examples,
        keys: Any,
        *,
        options: RunOptions = DEFAULTS,
        **more: Any,
    ) -> Any:
        last = 0 if forget is None else max(1, round(SECOND * recipe.epochs))
        if recipe.epochs <= last:
            raise ValueError(f"nested_coteaching has two stages and needs two epochs or more; got {recipe.epochs}")
        first = adapted(recipe, epochs=recipe.epochs - last)
        nets = 1 if forget is None else 2
        many = jnp.concatenate([jax.random.split(key, nets) for key in keys]) if nets > 1 else keys
        kept, held = _split(len(examples.images))
        part = Examples(jnp.asarray(examples.images)[kept], jnp.asarray(examples.targets)[kept])
        rule = make_rule("nested_dropout", first.epochs, spread=spread)
        found = robust_fit(model, first, rule, part, many, options=options.part("first"), **more)
        all_finite(found.params, found.loss, "networks of the first stage")  # nothing could be made of them
        widths = _widths(model, found.params, examples, held, len(many))
        if forget is None:
            return found._replace(params=jax.vmap(keep_first)(found.params, widths))
        pairs = [
            thinned_pair(
                trees.take(found.params, 2 * i), trees.take(found.params, 2 * i + 1), widths[2 * i : 2 * i + 2]
            )
            for i in range(len(keys))
        ]
        after = robust_fit(
            model,
            adapted(recipe, epochs=last),
            make_rule("nested_coteaching", last, forget=forget),
            examples,
            keys,
            data=widths.reshape(-1, 2),
            params=trees.stack(pairs),
            rates=jnp.full(len(keys), SLOWER * recipe.rate),
            options=options.part("second"),
            **more,
        )

        def joined(before: np.ndarray, then: np.ndarray) -> np.ndarray:  # the two networks' mean, then the pair's own
            return np.concatenate([before.reshape(len(keys), 2, -1).mean(axis=1), then], axis=1)

        seen = {name: joined(found.seen[name], after.seen[name]) for name in after.seen}
        at = [*found.at, *(first.epochs + epoch for epoch in after.at)]
        return after._replace(loss=joined(found.loss, after.loss), seen=seen, at=at)

    return lambda rows: train


def _split(n: int) -> tuple[np.ndarray, np.ndarray]:
    rows, count = np.random.default_rng(0).permutation(n), max(1, round(HELD_OUT * n))
    return np.sort(rows[count:]), np.sort(rows[:count])


def _widths(model: Model, params: Any, examples: Examples, held: np.ndarray, count: int) -> jax.Array:
    """How many features each network keeps."""
    images = jnp.asarray(examples.images)[held]
    labels = jnp.argmax(jnp.asarray(examples.targets)[held], axis=1)
    features = len(params["head"]["kernel"][0])
    return jnp.stack([_choose(model, trees.take(params, i), images, labels, features) for i in range(count)])
