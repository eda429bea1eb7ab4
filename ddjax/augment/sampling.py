"""Bilinear interpolation of images, where each neighbour outside the image counts as zero.

A CPU gathers patches. An accelerator multiplies by matrices of weights, mostly zeros, under the policy of
`ddjax.precision`: there, a gather takes several times as long, and its derivative is a scatter.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.backend import target
from ddjax.precision import asked, of_lax


def _tent(distance: Array) -> Array:
    return jnp.maximum(0, 1 - jnp.abs(distance))


def _patches(image: Float[Array, "h w c"], corner: Int[Array, "h w 2"]) -> Float[Array, "h w 2 2 c"]:
    numbers = jax.lax.GatherDimensionNumbers(offset_dims=(2, 3, 4), collapsed_slice_dims=(), start_index_map=(0, 1))
    return jax.lax.gather(image, corner, numbers, (2, 2, image.shape[-1]), mode="promise_in_bounds")


def bilinear(
    images: Float[Array, "n h w c"], rows: Float[Array, "p h w"], columns: Float[Array, "p h w"]
) -> Float[Array, "n h w c"]:
    """Output pixel [i, j] is the image at (rows[i, j], columns[i, j]), in pixels; p is n, or 1 for all images.

    On a CPU it is one gather of 2 x 2 patches, so its transpose is one scatter; the usual four gathers are four times
    slower. A patch is clipped to the image and weighted by its distance, so pixels outside the image have weight zero.
    """
    h, w = images.shape[1:3]
    if target() != "cpu" or min(h, w) < 2:  # which hold no patch
        return _by_products(images, rows, columns)
    top, left = jnp.clip(jnp.floor(rows), 0, h - 2), jnp.clip(jnp.floor(columns), 0, w - 2)
    corner = jnp.stack([top, left], -1).astype(jnp.int32)
    patches = jax.vmap(_patches, (0, None if len(corner) == 1 else 0))(
        images, corner[0] if len(corner) == 1 else corner
    )
    near = jnp.arange(2, dtype=rows.dtype)[None, None, None]
    down = _tent((rows - top)[..., None] - near).astype(images.dtype)
    across = _tent((columns - left)[..., None] - near).astype(images.dtype)
    down, across = (jnp.broadcast_to(x, (len(images), *x.shape[1:])) for x in (down, across))
    return jnp.einsum("nijabc,nija,nijb->nijc", patches, down, across, precision="highest")


def _how() -> jax.lax.Precision:
    return of_lax(asked(), target())


def _by_products(images: Float[Array, "n h w c"], rows: Array, columns: Array) -> Float[Array, "n h w c"]:
    n, h, w, _ = images.shape
    down, across = (_weights(at.reshape(len(at), -1), size, images) for at, size in ((rows, h), (columns, w)))
    lines = jnp.einsum("npw,nhwc->nphc", across, images, precision=_how())  # each pixel's column, in every row
    return (down[..., None] * lines).sum(2).reshape(n, *rows.shape[1:], -1)


def _weights(at: Float[Array, "p k"], size: int, images: Array) -> Float[Array, "n k size"]:
    # of the pixels of an axis at each position
    weights = _tent(at[:, :, None] - jnp.arange(size, dtype=at.dtype)[None, None])
    return jnp.broadcast_to(weights, (len(images), *weights.shape[1:])).astype(images.dtype)


def separable(
    images: Float[Array, "n h w c"], rows: Float[Array, "p h"], columns: Float[Array, "p w"]
) -> Float[Array, "n h w c"]:
    """`bilinear` where rows depend only on i and columns only on j: two matrix products, without a scatter."""
    h, w = images.shape[1:3]
    down = jnp.einsum("nij,njwc->niwc", _weights(rows, h, images), images, precision=_how())
    return jnp.einsum("nkw,niwc->nikc", _weights(columns, w, images), down, precision=_how())


def shifted(images: Float[Array, "n h w c"], shift: Int[Array, "p 2"]) -> Float[Array, "n h w c"]:
    """Output pixel [i, j] is pixel [i + shift[0], j + shift[1]], or zero outside the image."""
    for axis in (1, 2):
        size = images.shape[axis]
        at = jnp.arange(size, dtype=jnp.int32)[None] + shift[:, axis - 1 : axis]
        other = 3 - axis
        index = jnp.expand_dims(jnp.clip(at, 0, size - 1), (other, 3))
        taken = jnp.take_along_axis(images, index, axis, mode="promise_in_bounds")
        images = jnp.where(jnp.expand_dims((at >= 0) & (at < size), (other, 3)), taken, 0)
    return images


def centred(size: int) -> Float[Array, "size"]:
    """Pixel positions relative to the centre of an axis."""
    return jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2
