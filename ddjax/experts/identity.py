"""The identity of an expert buffer: a JSON record of all inputs of the training, whose hash names the folder."""

import dataclasses
import json
import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ddjax.backend import target
from ddjax.models import specification
from ddjax.names import briefly, unknown
from ddjax.precision import asked
from ddjax.rows import as_stored
from ddjax.storage.files import array_digest
from ddjax.storage.rows import versions
from ddjax.training import Recipe
from ddjax.types import Model, Params, TrainSet

FORMAT = 3  # of the arithmetic and the files; another number gives another buffer
PACKAGES = ("jax", "jaxlib")  # their versions determine the bits of a traced program
Storage = Annotated[str, ("float32", "bfloat16")]


def layout(model: Model) -> list[list[Any]]:
    """[path, shape, dtype] of each array of the network, in the order in the flat vector."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(model.init, jax.random.key(0)))
    return [[jax.tree_util.keystr(path, simple=True, separator="/"), [*x.shape], str(x.dtype)] for path, x in leaves]


def parameters(model: Model) -> int:
    """The length of the flat vector."""
    return sum(int(np.prod(shape)) for _, shape, _ in layout(model))


def unraveller(model: Model) -> Callable[[Float[Array, "parameters"]], Params]:
    """The function flat -> params. It works under jit and keeps the dtype of its argument."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return ravel_pytree(jax.tree.map(lambda x: jnp.zeros(x.shape), shapes))[1]  # of one dtype: then none is cast


def kept_epochs(keep: str | Sequence[int], epochs: int) -> tuple[int, ...]:
    """The epochs after which a snapshot is stored, ascending.

    Raises:
      ValueError: `keep` is unknown, or an epoch is no whole number or out of range.

    Example:
      >>> kept_epochs("ends", 10), kept_epochs([4, 2], 10)
      ((0, 10), (2, 4))
    """
    if isinstance(keep, str):
        known = {"all": tuple(range(epochs + 1)), "ends": (0, epochs)}
        if keep not in known:
            raise unknown("keep", keep, [*known, "or a sequence of epochs"])
        return known[keep]
    try:
        kept = tuple(sorted({operator.index(epoch) for epoch in keep}))
    except TypeError:
        raise ValueError(f"keep must be 'all', 'ends' or a sequence of epochs; got {briefly(keep)}") from None
    if not kept or kept[0] < 0 or kept[-1] > epochs:
        raise ValueError(
            f"keep names epochs from 0 (the initialisation) to {epochs} (recipe.epochs); got {list(keep)}. "
            "Train longer or keep fewer."
        )
    return kept


def identity(
    model: Model, recipe: Recipe, train: TrainSet, *, kept: tuple[int, ...], seed: int, storage: str
) -> dict[str, Any]:
    """All inputs that the numbers of an expert depend on, as JSON. The number of experts is not one of them."""
    installed = versions()
    described = {
        "format": FORMAT,
        "versions": {package: installed[package] for package in PACKAGES},
        "backend": target(),
        **specification(model, tuple(train.images.shape[1:])),
        "layout": layout(model),
        "images": array_digest(as_stored(train.images)),
        "labels": array_digest(np.asarray(train.labels)),  # as given: another draw of the noise gives another buffer
        "ids": array_digest(np.asarray(train.ids)),
        "classes": train.num_classes,
        "space": train.space,
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "epochs": kept,
        "storage": storage,
        "precision": asked(),
    }
    return json.loads(json.dumps(described))
