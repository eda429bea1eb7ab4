"""The augmentation of FRePo and RCIG: exactly one operation for each image, at the cost of one warp.

A choice between functions for each image would run all functions on every image. Here flip, crop, rotate and translate
are one affine warp with a matrix for each image, which is the identity for images with another operation.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.augment.ops import Size, brightness, contrast, saturation, uniform, zero_box
from ddjax.augment.sampling import bilinear, centred
from ddjax.augment.strategies import Augment
from ddjax.names import check_known
from ddjax.types import Images, PRNGKey


class OnePerImage(NamedTuple):
    """Drawn parameters. A row is the identity in all but one of the groups. A group without operations is None."""

    op: Int[Array, "n"]  # index of the drawn operation
    affine: Any  # [n 2 3]: source (row, column) = affine @ (row, column, 1), measured from the centre
    color: Any  # [n 3]: brightness shift, contrast factor, saturation factor
    hole: Any  # int32 [n 3]: first row, first column, side


def _matrices(yy: Array, yx: Array, xy: Array, xx: Array, shift: Array) -> Float[Array, "n 2 3"]:
    rows = jnp.stack([yy, yx, shift[:, 0]], -1), jnp.stack([xy, xx, shift[:, 1]], -1)
    return jnp.stack(rows, 1).astype(jnp.float32)


def _flip(key: PRNGKey, n: int, size: Size) -> Float[Array, "n 2 3"]:
    one, zero = jnp.ones(n), jnp.zeros(n)
    return _matrices(one, zero, zero, jnp.where(jax.random.bernoulli(key, 0.5, (n,)), -1.0, 1.0), jnp.zeros((n, 2)))


def _crop(key: PRNGKey, n: int, size: Size) -> Float[Array, "n 2 3"]:
    zoom_key, shift_key = jax.random.split(key)
    zoom = jnp.exp(uniform(zoom_key, (n,), math.log(0.8), math.log(1.25)))
    most = jnp.abs(zoom - 1)[:, None] * jnp.array(size, jnp.float32)[None] / 2
    shift = uniform(shift_key, (n, 2), -1.0, 1.0) * most
    return _matrices(1 / zoom, jnp.zeros(n), jnp.zeros(n), 1 / zoom, shift / zoom[:, None])


def _rotate(key: PRNGKey, n: int, size: Size) -> Float[Array, "n 2 3"]:
    angle = uniform(key, (n,), -15.0, 15.0) * (jnp.pi / 180)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return _matrices(cos, sin, -sin, cos, jnp.zeros((n, 2)))


def _translate(key: PRNGKey, n: int, size: Size) -> Float[Array, "n 2 3"]:
    one, zero = jnp.ones(n), jnp.zeros(n)
    return _matrices(one, zero, zero, one, uniform(key, (n, 2), -1.0, 1.0) * jnp.array(size, jnp.float32)[None] / 8)


def _color(key: PRNGKey, n: int, size: Size) -> Float[Array, "n 3"]:
    u = uniform(key, (n, 3), -0.25, 0.25)
    return jnp.concatenate([u[:, :1], jnp.exp(u[:, 1:])], 1)


def _cutout(key: PRNGKey, n: int, size: Size) -> Int[Array, "n 3"]:
    side = min(size) // 4
    room = jnp.array(size, jnp.int32)[None] - side + 1
    corner = jax.random.randint(key, (n, 2), 0, room, jnp.int32)
    return jnp.concatenate([corner, jnp.full((n, 1), side, jnp.int32)], 1)


_AFFINE = {"flip": _flip, "crop": _crop, "rotate": _rotate, "translate": _translate}
_GROUPS = {
    "affine": (_AFFINE, jnp.float32, [[1, 0, 0], [0, 1, 0]]),
    "color": ({"color": _color}, jnp.float32, [0, 1, 1]),
    "hole": ({"cutout": _cutout}, jnp.int32, [0, 0, 0]),
}
"""group -> functions that draw its rows, dtype, and the row of the identity"""
_NAMES = tuple(name for draws, _, _ in _GROUPS.values() for name in draws)


def draw(ops: Sequence[str], key: PRNGKey, n: int, size: Size) -> OnePerImage:
    """Draw an operation for each of n images, uniformly, and its parameters."""
    op_key, key = jax.random.split(key)
    op = jax.random.randint(op_key, (n,), 0, len(ops), jnp.int32)
    groups = {}
    for group, (draws, dtype, nothing) in _GROUPS.items():
        listed = [name for name in ops if name in draws]
        identity = jnp.array(nothing, dtype)[None]
        rows = jnp.broadcast_to(identity, (n, *identity.shape[1:])) if listed else None
        for name in listed:
            chosen = jnp.expand_dims(op == ops.index(name), range(1, identity.ndim))
            drawn = draws[name](jax.random.fold_in(key, _NAMES.index(name)), n, size)
            rows = jnp.where(chosen, drawn, rows)
        groups[group] = rows
    return OnePerImage(op=op, **groups)


def apply(params: OnePerImage, images: Images) -> Images:
    """Apply the drawn operations, bilinear with replicated edges. On a CPU, the identity changes no bit."""
    h, w = images.shape[1:3]
    if params.affine is not None:
        y, x = centred(h)[None, :, None], centred(w)[None, None]
        rows, columns = (
            m[:, 0, None, None] * y + m[:, 1, None, None] * x + m[:, 2, None, None] + (side - 1) / 2
            for m, side in ((params.affine[:, 0], h), (params.affine[:, 1], w))
        )
        images = bilinear(images, jnp.clip(rows, 0, h - 1), jnp.clip(columns, 0, w - 1))
    if params.color is not None:
        shift, stretch, saturate = params.color.T
        images = saturation(contrast(brightness(images, shift), stretch), saturate)
    if params.hole is not None:
        images = zero_box(images, params.hole[:, :2], jnp.broadcast_to(params.hole[:, 2:], (len(images), 2)))
    return images


def rcig_augment(ops: Sequence[str] = ("flip", "color", "crop", "rotate", "translate", "cutout")) -> Augment:
    """One operation per image, drawn uniformly. No operation is shared by the batch, so `op_key` is not used.

    Ranges: color changes brightness by up to 0.25, and contrast and saturation by factors in exp(-0.25..0.25); crop
    zooms by 0.8..1.25 and shifts within the new border; rotate turns by up to 15 degrees; translate shifts by up to an
    eighth of the side; cutout removes a square of a quarter of the side; flip has probability 0.5.
    Sources: Zhou et al., 2022 (arXiv:2206.00719); Loo et al., 2023 (arXiv:2302.06755).

    Args:
      ops: names of the operations, each once.

    Returns:
      The augmentation.

    Raises:
      ValueError: a name is unknown or repeated, or there is none.

    Example:
      >>> rcig_augment(("cutout",))(jax.random.key(0), jnp.zeros((2, 8, 8, 1))).shape
      (2, 8, 8, 1)
    """
    ops = tuple(ops)
    for name in ops:
        check_known("operation", name, _NAMES)
    if not ops or len(set(ops)) < len(ops):
        raise ValueError(f"ops must name at least one operation, and each once; got {ops}")

    def augment(key: PRNGKey, images: Images, op_key: PRNGKey | None = None) -> Images:
        return apply(draw(ops, key, len(images), images.shape[1:3]), images)

    return augment
