"""The transform of pixels to the space of a method, and its inverse: an affine map per channel, then one per image."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from ddjax.trees import record


@record(static=("name", "fingerprint"))
class Preprocess:
    """A fitted transform: x -> ((x - mean) / std - zca_mean) @ zca, with x on the 0..1 pixel scale.

    A field is None if its step is left out. `fingerprint` consists of the name, the steps and a hash of everything that
    defines them. Two arrays are in the same space if their fingerprints are equal.
    """

    mean: Any = None  # float32 [c]
    std: Any = None  # float32 [c]
    zca_mean: Any = None  # float32 [d], d = h * w * c, flattened in that order
    zca: Any = None  # float32 [d d], symmetric
    zca_inverse: Any = None  # float32 [d d]
    name: str
    fingerprint: str


def check(p: Preprocess, shape: tuple[int, ...]) -> None:
    """Raise a ValueError for images of a shape that the transform is not for."""
    channels, features = shape[-1], int(np.prod(shape[1:]))
    if p.mean is not None and p.mean.shape[-1] != channels:
        raise ValueError(
            f"preprocess {p.fingerprint!r} standardises {p.mean.shape[-1]} channels; images of shape {list(shape)} "
            f"have {channels}: fit it on images of this kind"
        )
    if p.zca is not None and p.zca.shape[-1] != features:
        raise ValueError(
            f"preprocess {p.fingerprint!r} whitens images of {p.zca.shape[-1]} values; images of shape {list(shape)} "
            f"have {features}: fit it on images of this kind"
        )


def before_whitening(p: Preprocess, images: Shaped[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Images after every step but the product with `zca`."""
    x = images.astype(jnp.float32)
    if images.dtype == jnp.uint8:
        x = x / 255
    if p.mean is not None:
        x = (x - p.mean[None, None, None]) / p.std[None, None, None]
    if p.zca is not None:
        x = x - p.zca_mean.reshape(1, *x.shape[1:])
    return x


def whitened(x: Float[Array, "n h w c"], zca: Float[Array, "d d"]) -> Float[Array, "n h w c"]:
    """The last step of a transform with a whitening."""
    return jnp.matmul(x.reshape(len(x), -1), zca, precision="highest").reshape(x.shape)


def _forward(p: Preprocess, images: Shaped[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    x = before_whitening(p, images)
    return x if p.zca is None else whitened(x, p.zca)


@functools.partial(jax.jit, donate_argnums=0)
def _write(out: Array, p: Preprocess, images: Array, start: Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(out, _forward(p, images), start, 0)


def apply(
    p: Preprocess, images: Shaped[Array, "n h w c"] | Shaped[np.ndarray, "n h w c"], *, batch: int = 2048
) -> Float[Array, "n h w c"]:
    """Transform images to the space of `p`.

    Images are transformed in batches and written into the result, so a memory-mapped set is read in pieces, and little
    more memory than that of the result is used.

    Args:
      p: the transform.
      images: uint8 pixels, or floats on the 0..1 scale.
      batch: images in a batch.

    Returns:
      The images, float32 on the device.

    Raises:
      ValueError: the images have another dtype or shape than the transform needs.

    Example:
      >>> p = Preprocess(name="unit", fingerprint="unit:0")
      >>> float(apply(p, np.full((1, 1, 1, 1), 255, np.uint8))[0, 0, 0, 0])
      1.0
    """
    if images.dtype != np.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be uint8 pixels or floats in 0..1; got {images.dtype}: convert them first")
    if batch < 1:
        raise ValueError(f"batch must be at least 1; got {batch}")
    check(p, images.shape)
    out = jnp.zeros(images.shape, jnp.float32)
    n = len(images)
    size = min(batch, n)
    for start in range(0, n, max(size, 1)):
        start = min(start, n - size)  # the last batch overlaps the previous one, so that all have one shape
        out = _write(out, p, jnp.asarray(images[start : start + size]), jnp.int32(start))
    return out


def invert(p: Preprocess, images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """The inverse of `apply`. It works under jit and is differentiable.

    Args:
      p: the transform.
      images: in the space of `p`.

    Returns:
      Pixels on the 0..1 scale, not clipped.

    Raises:
      ValueError: the shape is not that of the transform.

    Example:
      >>> p = Preprocess(mean=jnp.array([0.5]), std=jnp.array([2.0]), name="x", fingerprint="x:0")
      >>> float(invert(p, jnp.zeros((1, 1, 1, 1)))[0, 0, 0, 0])
      0.5
    """
    check(p, images.shape)
    x = images
    if p.zca is not None:
        flat = jnp.matmul(x.reshape(len(x), -1), p.zca_inverse, precision="highest")
        x = (flat + p.zca_mean[None]).reshape(x.shape)
    if p.mean is not None:
        x = x * p.std[None, None, None] + p.mean[None, None, None]
    return x
