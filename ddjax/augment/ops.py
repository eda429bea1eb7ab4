"""The operations of DSA (Zhao and Bilen, 2021, arXiv:2102.08259), each as a draw of parameters and their application.

Parameters have a leading axis: n for one row per image, or 1 for one row for all images. They do not depend on the
images, so one draw can be applied to two batches.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ddjax.augment.sampling import bilinear, centred, separable, shifted
from ddjax.types import Images, PRNGKey

Size = tuple[int, int]


class Op(NamedTuple):
    """An operation in two parts."""

    draw: Callable[[PRNGKey, int, Size], Any]  # (key, rows, (h, w)) -> params
    apply: Callable[[Any, Images], Images]


def per_image(x: Array) -> Array:
    """[p] -> [p 1 1 1]."""
    return x[:, None, None, None]


def uniform(key: PRNGKey, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Array:
    """Uniform in [low, high), always float32."""
    return jax.random.uniform(key, shape, jnp.float32, low, high)


def brightness(images: Images, shift: Float[Array, "p"]) -> Images:
    """Add `shift` to every value."""
    return images + per_image(shift).astype(images.dtype)


def _stretch(images: Images, mean: Array, factor: Array) -> Images:
    # in this form a factor of 1 changes no bit
    return images + per_image(factor - 1).astype(images.dtype) * (images - mean)


def saturation(images: Images, factor: Float[Array, "p"]) -> Images:
    """Scale the differences from the mean over channels of each pixel. An image of one channel is unchanged."""
    return _stretch(images, images.mean(3, keepdims=True), factor)


def contrast(images: Images, factor: Float[Array, "p"]) -> Images:
    """Scale the differences from the mean of the image."""
    return _stretch(images, images.mean((1, 2, 3), keepdims=True), factor)


def _draw_color(key: PRNGKey, n: int, size: Size) -> dict[str, Array]:
    shift, saturate, stretch = uniform(key, (n, 3)).T
    return {"brightness": shift - 0.5, "saturation": 2 * saturate, "contrast": stretch + 0.5}


def _apply_color(params: dict[str, Array], images: Images) -> Images:
    images = saturation(brightness(images, params["brightness"]), params["saturation"])
    return contrast(images, params["contrast"])


def _draw_flip(key: PRNGKey, n: int, size: Size) -> Bool[Array, "p"]:
    return jax.random.bernoulli(key, 0.5, (n,))


def _apply_flip(flipped: Bool[Array, "p"], images: Images) -> Images:
    return jnp.where(per_image(flipped), images[:, :, ::-1], images)


def _part(size: int, ratio: float) -> int:
    return int(size * ratio + 0.5)


def crop(pad: int | None = None) -> Op:
    """Shifts by whole pixels, up to `pad` (by default an eighth of the side) in both directions, filled with zeros."""

    def draw(key: PRNGKey, n: int, size: Size) -> Int[Array, "p 2"]:
        most = jnp.array([_part(side, 0.125) if pad is None else pad for side in size], jnp.int32)[None]
        return jax.random.randint(key, (n, 2), -most, most + 1, jnp.int32)

    return Op(draw, lambda shift, images: shifted(images, shift))


def _draw_translate(key: PRNGKey, n: int, size: Size) -> Int[Array, "p 2"]:
    return crop().draw(key, n, size) * jnp.array([[0, 1]], jnp.int32)


def zero_box(images: Images, start: Int[Array, "p 2"], side: Int[Array, "#p 2"]) -> Images:
    """Set rows and columns [start, start + side) to zero, clipped to the image."""
    inside = []
    for axis, length in enumerate(images.shape[1:3]):
        at = jnp.arange(length, dtype=jnp.int32)[None] - start[:, axis, None]
        inside.append((at >= 0) & (at < side[:, axis, None]))
    rows, columns = inside
    return jnp.where((rows[:, :, None] & columns[:, None])[..., None], 0, images)


def _draw_cutout(key: PRNGKey, n: int, size: Size) -> Int[Array, "p 2"]:
    holes = [_part(side, 0.5) for side in size]
    centres = jnp.array([side + 1 - hole % 2 for side, hole in zip(size, holes, strict=True)], jnp.int32)[None]
    return jax.random.randint(key, (n, 2), 0, centres, jnp.int32)


def _apply_cutout(centre: Int[Array, "p 2"], images: Images) -> Images:
    hole = jnp.array([_part(side, 0.5) for side in images.shape[1:3]], jnp.int32)[None]
    return zero_box(images, centre - hole // 2, hole)


def _draw_scale(key: PRNGKey, n: int, size: Size) -> Float[Array, "p 2"]:
    return uniform(key, (n, 2), 1 / 1.2, 1.2)


def _apply_scale(factor: Float[Array, "p 2"], images: Images) -> Images:
    h, w = images.shape[1:3]
    rows = factor[:, :1] * centred(h)[None] + (h - 1) / 2
    columns = factor[:, 1:] * centred(w)[None] + (w - 1) / 2
    return separable(images, rows, columns)


def _draw_rotate(key: PRNGKey, n: int, size: Size) -> Float[Array, "p"]:
    return uniform(key, (n,), -15.0, 15.0) * (jnp.pi / 180)


def _apply_rotate(angle: Float[Array, "p"], images: Images) -> Images:
    h, w = images.shape[1:3]
    y, x = centred(h)[None, :, None], centred(w)[None, None]
    cos, sin = jnp.cos(angle)[:, None, None], jnp.sin(angle)[:, None, None]
    return bilinear(images, sin * x + cos * y + (h - 1) / 2, cos * x - sin * y + (w - 1) / 2)


OPS = {
    "color": Op(_draw_color, _apply_color),  # brightness, saturation, contrast, in this order
    "crop": crop(),
    "cutout": Op(_draw_cutout, _apply_cutout),  # a square of half the side, with its centre anywhere in the image
    "flip": Op(_draw_flip, _apply_flip),
    "scale": Op(_draw_scale, _apply_scale),  # a factor above 1 shrinks the content: source = factor * target
    "rotate": Op(_draw_rotate, _apply_rotate),
    "translate": Op(_draw_translate, crop().apply),  # a horizontal crop
}
