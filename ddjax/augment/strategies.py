"""Augmentations built from a string of operations joined by underscores, such as "color_crop_cutout"."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ddjax.augment.ops import OPS, Size, crop
from ddjax.names import unknown
from ddjax.types import Images, PRNGKey

Augment = Callable[..., Images]  # (key, images, op_key=None) -> images
_ALWAYS = ("flip", "color", "cutout")


def keys(key: PRNGKey, op_key: PRNGKey | None) -> tuple[PRNGKey, PRNGKey]:
    """The key of the parameters and the key of the batch-wide operation.

    Under a vmap over students, `key` has a row for each. A shared `op_key` keeps the drawn operation one scalar, so
    that a switch on it stays a switch and only that operation runs; derived from `key`, all of them would.
    """
    return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1) if op_key is None else op_key


def parse(strategy: str) -> tuple[str, ...]:
    """The operations named in a strategy, in its order."""
    names = tuple(strategy.split("_"))
    for name in names:
        if name not in OPS:
            raise unknown(f"operation in strategy {strategy!r}:", name, OPS)
    if len(set(names)) < len(names):
        raise ValueError(f"strategy {strategy!r} names an operation twice")
    return names


def _pick(op_key: PRNGKey, count: int) -> Int[Array, ""]:
    return jax.random.randint(op_key, (), 0, count, jnp.int32)


def _draw(names: tuple[str, ...], key: PRNGKey, n: int, size: Size) -> dict[str, Any]:
    split = jax.random.split(key, len(names))
    return {name: OPS[name].draw(k, n, size) for name, k in zip(names, split, strict=True)}


def _switch(names: tuple[str, ...], choice: Int[Array, ""], params: dict[str, Any], images: Images) -> Images:
    # parameters of all the names are drawn before, being cheap: a switch that a vmap turns into a select would
    # use a key in each of its branches
    branches = [lambda p, x, name=name: OPS[name].apply(p[name], x) for name in names]
    return jax.lax.switch(choice, branches, params, images)


@dataclasses.dataclass(frozen=True)
class OnePerBatch:
    """`draw` and `apply` apart, for a batch that is augmented again when its derivative is computed."""

    names: tuple[str, ...]

    def draw(self, key: PRNGKey, n: int, size: Size, op_key: PRNGKey | None = None) -> dict[str, Any]:
        """Which operation, and n rows of parameters for images of `size` (h, w)."""
        key, op_key = keys(key, op_key)
        return _draw(self.names, key, n, size) | {"choice": _pick(op_key, len(self.names))}

    def apply(self, params: dict[str, Any], images: Images) -> Images:
        """The images under the drawn operation."""
        return _switch(self.names, params["choice"], params, images)

    def __call__(self, key: PRNGKey, images: Images, op_key: PRNGKey | None = None) -> Images:
        """Draw and apply."""
        return self.apply(self.draw(key, len(images), images.shape[1:3], op_key), images)


def dsa(strategy: str = "color_crop_cutout_flip_scale_rotate") -> OnePerBatch:
    """One operation of the strategy per batch, drawn uniformly, with parameters of their own for each image.

    This is how DATM and its experts use differentiable augmentation (Zhao and Bilen, 2021, arXiv:2102.08259).
    """
    return OnePerBatch(parse(strategy))


@dataclasses.dataclass(frozen=True)
class DiffAug:
    """`draw` and `apply` apart, for batches that must share a draw; called, it is an ordinary augmentation.

    `always` are applied each time, in the order flip, color, then one of `choices` drawn per batch, then cutout.
    """

    always: tuple[str, ...]
    choices: tuple[str, ...]
    per_sample: bool

    def draw(self, key: PRNGKey, n: int, size: Size, op_key: PRNGKey | None = None) -> dict[str, Any]:
        """Parameters for images of `size` (h, w): n rows, or with n = 1 one row that fits batches of any length."""
        key, op_key = keys(key, op_key)
        params = _draw(self.always + self.choices, key, n, size)
        if self.choices:
            params["choice"] = _pick(op_key, len(self.choices))
        return params

    def apply(self, params: dict[str, Any], images: Images) -> Images:
        """The images under drawn parameters; what happens to one does not depend on the others."""
        for name in ("flip", "color"):
            if name in self.always:
                images = OPS[name].apply(params[name], images)
        if self.choices:
            images = _switch(self.choices, params["choice"], params, images)
        return OPS["cutout"].apply(params["cutout"], images) if "cutout" in self.always else images

    def __call__(self, key: PRNGKey, images: Images, op_key: PRNGKey | None = None) -> Images:
        """Draw and apply, with a row per image if `per_sample`, else one row for the whole batch."""
        n = len(images) if self.per_sample else 1
        return self.apply(self.draw(key, n, images.shape[1:3], op_key), images)


def diffaug(strategy: str = "color_crop_cutout", per_sample: bool = False) -> DiffAug:
    """Flip, color and cutout always where named; of the remaining operations exactly one, drawn per batch.

    As IDC and DANCE augment (Kim et al., 2022, arXiv:2205.14959): one row of parameters for a whole batch makes the
    siamese draw that real and distilled images share.
    """
    names = parse(strategy)
    always = tuple(name for name in _ALWAYS if name in names)
    return DiffAug(always, tuple(name for name in names if name not in _ALWAYS), per_sample)


def crop_flip(pad: int = 4) -> Augment:
    """Standard training: a whole-pixel shift of up to `pad` with zeros moving in, then a mirror image half the time."""

    def augment(key: PRNGKey, images: Images, op_key: PRNGKey | None = None) -> Images:
        for op, k in zip((crop(pad), OPS["flip"]), jax.random.split(key), strict=True):
            images = op.apply(op.draw(k, len(images), images.shape[1:3]), images)
        return images

    return augment
