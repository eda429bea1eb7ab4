"""What a training refuses: examples that cannot be trained on, and networks that diverged."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax import checks
from ddjax.execution.guard import Diverged
from ddjax.training.recipe import Recipe
from ddjax.training.trainer import Examples
from ddjax.types import Params


def check(recipe: Recipe, examples: Examples, keys: Array, rates: Any) -> None:
    """Refuse what could not be trained on, before anything is compiled."""
    checks.kind(recipe, Recipe, "recipe", "ddjax.Recipe(epochs=10, batch=64, rate=0.01), say")
    checks.kind(examples, Examples, "examples", "Examples(images, targets), both preprocessed")
    checks.keys(keys, "keys")
    images, targets = examples
    if images.ndim not in (4, 5) or targets.ndim not in (2, 3) or not all(images.shape):
        raise ValueError(
            "examples must be images [n h w c] and targets [n k], at least one, each perhaps with a leading axis of "
            f"networks; got {images.dtype}{list(images.shape)} and {targets.dtype}{list(targets.shape)}. Targets of "
            "class numbers come from preprocess.one_hot or centered."
        )
    if images.shape[-4] != targets.shape[-2]:
        raise ValueError(
            f"examples.images holds {images.shape[-4]} images and examples.targets {targets.shape[-2]} rows: "
            "one row belongs to each image"
        )
    for name, array, most in [("images", images, 5), ("targets", targets, 3)]:
        if array.ndim == most and len(array) != len(keys):
            raise ValueError(f"examples.{name} is for {len(array)} networks, but there are {len(keys)} keys")
        checks.finite(array, f"examples.{name}")
    if rates is not None and (jnp.shape(rates) != (len(keys),) or not bool(jnp.all(jnp.isfinite(rates) & (rates > 0)))):
        raise ValueError(f"rates must be {len(keys)} positive numbers, one for each network; got {np.asarray(rates)}")


def all_finite(params: Params, loss: Float[np.ndarray, "s epochs"], what: str) -> None:
    """Refuse networks of which one diverged: a mean over the others would be a score of a broken run.

    Args:
      params: of all networks, leaves [s ...].
      loss: of each network and epoch.
      what: the networks, in the message.

    Raises:
      Diverged: a weight or a last loss is not finite.
    """
    [error] = diverged(params, loss, what, 1)
    if error:
        raise error


def diverged(params: Params, loss: Float[np.ndarray, "s epochs"], what: str, sets: int) -> list[Diverged | None]:
    """For each of so many sets the error that names those of its networks that diverged, None where all are finite.

    Args:
      params: of all networks, leaves [s ...]; those of a set follow one another, equally many for each.
      loss: of each network and epoch.
      what: the networks, in the message.
      sets: how many.

    Returns:
      An entry for each set.
    """
    whole = np.isfinite(loss[:, -1]) if loss.size else np.ones(len(loss), bool)
    for leaf in jax.tree.leaves(params):
        whole &= np.asarray(jnp.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim))))
    return [_named(np.flatnonzero(~part).tolist(), len(part), what) for part in np.split(whole, sets)]


def _named(lost: list[int], count: int, what: str) -> Diverged | None:
    if not lost:
        return None
    return Diverged(
        f"{len(lost)} of {count} {what} diverged (numbers {', '.join(map(str, lost[:20]))}): their weights or losses "
        "are not finite, and there is no score without them. A smaller rate trains, or images and labels without "
        "extreme values."
    )
