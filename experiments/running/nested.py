"""Nested dropout as a trainer: networks with ordered features, whose width is chosen on held-out given labels.

It stands alone or is the first of two stages, followed by co-teaching of two masked networks (arXiv:2206.13140). The
paper chooses the width on clean labels; here a tenth of the given (noisy) labels is held out for it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import trees
from ddjax.evaluation.protocols import adapted
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.robust import make_rule
from ddjax.robust.rules.nested import choose_width, keep_first, masked_pair
from ddjax.rows import part_of
from ddjax.training import Examples, Recipe, fit
from ddjax.training.checking import all_finite
from ddjax.types import Model

HELD_OUT = 0.1
SECOND = 100 / 450  # the second stage's share of the epochs, as published
SLOWER = 0.01  # the second stage's rate over the first's, as published
_choose = jax.jit(choose_width, static_argnames="model")  # calls of the same shapes share one program


def second_epochs(recipe: Recipe) -> int:
    """Epochs of the second stage, which are taken from those of the recipe."""
    return max(1, round(SECOND * recipe.epochs))


def nested_trainer(spread: float, forget: float | None) -> Callable[[np.ndarray | None], Callable[..., Any]]:
    """The trainer of nested dropout for `train_full`.

    Args:
      spread: of the number of features.
      forget: share of wrong labels in the second stage; None for one stage only.

    Returns:
      A function of the rows to train on, which gives a function like `fit`.
    """

    def train(
        model: Model, recipe: Recipe, examples: Examples, keys: Any, *, options: RunOptions = DEFAULTS, **more: Any
    ) -> Any:
        last = 0 if forget is None else second_epochs(recipe)
        if recipe.epochs <= last:
            raise ValueError(f"nested_coteaching has two stages and needs two epochs or more; got {recipe.epochs}")
        first = adapted(recipe, epochs=recipe.epochs - last)
        nets = 1 if forget is None else 2
        many = jnp.concatenate([jax.random.split(key, nets) for key in keys]) if nets > 1 else keys
        kept, held = _split(len(examples.images))
        part = Examples(part_of(examples.images, kept), jnp.asarray(examples.targets)[kept])
        rule = make_rule("nested_dropout", first.epochs, spread=spread)
        first_fit = fit(model, first, part, many, rule=rule, options=options.part("first"), **more)
        all_finite(first_fit.params, first_fit.loss, "networks of the first stage")
        widths = _widths(model, first_fit.params, examples, held, len(many))
        if forget is None:
            return first_fit._replace(params=jax.vmap(keep_first)(first_fit.params, widths))
        pairs = [
            masked_pair(
                trees.take(first_fit.params, 2 * i), trees.take(first_fit.params, 2 * i + 1), widths[2 * i : 2 * i + 2]
            )
            for i in range(len(keys))
        ]
        second = fit(
            model,
            adapted(recipe, epochs=last),
            examples,
            keys,
            rule=make_rule("nested_coteaching", last, forget=forget),
            data=widths.reshape(-1, 2),
            params=trees.stack(pairs),
            rates=jnp.full(len(keys), SLOWER * recipe.rate),
            options=options.part("second"),
            **more,
        )

        def joined(before: np.ndarray, then: np.ndarray) -> np.ndarray:  # the mean of the two networks, then the pair
            return np.concatenate([before.reshape(len(keys), 2, -1).mean(axis=1), then], axis=1)

        seen = {name: joined(first_fit.seen[name], second.seen[name]) for name in second.seen}
        at = [*first_fit.at, *(first.epochs + epoch for epoch in second.at)]
        return second._replace(loss=joined(first_fit.loss, second.loss), seen=seen, at=at)

    return lambda rows: train


def held_count(n: int) -> int:
    """Number of images, of n, on which the first stage does not train: they choose the width."""
    return max(1, round(HELD_OUT * n))


def _split(n: int) -> tuple[np.ndarray, np.ndarray]:
    rows, count = np.random.default_rng(0).permutation(n), held_count(n)
    return np.sort(rows[count:]), np.sort(rows[:count])


def _widths(model: Model, params: Any, examples: Examples, held: np.ndarray, count: int) -> jax.Array:
    """The number of features that each network keeps."""
    images = part_of(examples.images, held)[:]
    labels = jnp.argmax(jnp.asarray(examples.targets)[held], axis=1)
    return jnp.stack([_choose(model, trees.take(params, i), images, labels) for i in range(count)])
