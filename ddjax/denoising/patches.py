"""Features of images without training: how similar their patches are to typical patches (Coates and Ng, 2012).

Patches are normalised for contrast and whitened. Typical patches are found by spherical k-means. The features of an
image are the similarities of its patches to each typical patch, averaged over the cells of a grid. They know nothing of
the labels, so a linear regression on them learns a usable classifier from a few hundred images.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.kernels import matmul_highest
from ddjax.types import Images

ATOMS = 400
FEW = 3000  # images: with more, a finer grid costs more than it tells
SIDE = 32  # larger images are shrunk to sides from this to twice this
_SAMPLED = 20_000  # patches for the k-means
_ROUNDS = 10
_CONTRAST = 0.04  # added to the deviation of a patch, whose pixels are from 0 to 1
_WHITENING = 0.1  # added to the variances of normalised patches, which are 1 in the mean
_THRESHOLD = 0.1  # similarities below it count as none
_AT_ONCE = 100  # images
_SIMILARITY = 600  # operations for a similarity of a patch, at the speed of a product; memory bounds them
_TINY = 1e-6


class Dictionary(NamedTuple):
    """Typical patches and the whitening of patches."""

    mean: Float[Array, "d"]
    whiten: Float[Array, "d d"]
    atoms: Float[Array, "a d"]


def patch_features(images: np.ndarray, seed: int, *, flip: bool = True, atoms: int = ATOMS) -> Float[np.ndarray, "n f"]:
    """Features of all images.

    Args:
      images: [n h w c], uint8.
      seed: of the patches that are looked at.
      flip: average over an image and its mirror image.
      atoms: number of typical patches.

    Returns:
      2 atoms grid^2 features for each image; similarities are averaged over a grid of 3 x 3 cells, or 2 x 2 with many
      images.
    """
    images = shrunk(np.asarray(images))
    size = patch_size(images.shape[1:3])
    dictionary = learned(jax.random.key(seed), jnp.asarray(_sampled(images, size, seed)), atoms)
    grid = _grid(len(images), images.shape[1:3])
    parts = []
    for first in range(0, len(images), _AT_ONCE):
        part = jnp.asarray(images[first : first + _AT_ONCE])
        parts.append(np.asarray(_encoded(dictionary, part, size, grid, flip)))
    return np.concatenate(parts)


def shrunk(images: np.ndarray) -> np.ndarray:
    """Images on the scale 0 to 1 as means over square blocks, so that the smaller side is below twice `SIDE`."""
    n, h, w, c = images.shape
    block = max(1, min(h, w) // SIDE)
    if block == 1:
        return images.astype(np.float32) / 255
    out = np.empty((n, *_sides((h, w)), c), np.float32)
    for i, image in enumerate(images):
        cut = image[: h // block * block, : w // block * block].astype(np.float32)
        out[i] = cut.reshape(h // block, block, w // block, block, c).mean(axis=(1, 3)) / 255
    return out


def patch_size(sides: tuple[int, ...]) -> int:
    """The side of a patch: 6 for images of 32 pixels, fewer for smaller ones."""
    return min(min(sides), max(2, min(6, round(min(sides) * 6 / 32) + 1)))


def features_of(n: int, image: tuple[int, ...]) -> int:
    """The number of features of each of n images [h w c]."""
    return 2 * ATOMS * _grid(n, _sides(image)) ** 2


def _grid(n: int, sides: tuple[int, ...]) -> int:
    return min(3 if n < FEW else 2, min(sides) - patch_size(sides) + 1)


def cost_of_image(image: tuple[int, ...]) -> float:
    """Operations for the features of an image [h w c], without its mirror image."""
    sides = _sides(image)
    size, d = patch_size(sides), patch_size(sides) ** 2 * image[2]
    return (sides[0] - size + 1) * (sides[1] - size + 1) * (2.0 * d * (d + ATOMS) + _SIMILARITY * ATOMS)


def _sides(image: tuple[int, ...]) -> tuple[int, int]:
    block = max(1, min(image[:2]) // SIDE)
    return image[0] // block, image[1] // block


def _sampled(images: np.ndarray, size: int, seed: int) -> Float[np.ndarray, "p d"]:
    rng = np.random.default_rng(seed)
    n, h, w, _ = images.shape
    places = (rng.integers(end, size=_SAMPLED) for end in (n, h - size + 1, w - size + 1))
    return np.stack([images[i, y : y + size, x : x + size].ravel() for i, y, x in zip(*places, strict=True)])


@functools.partial(jax.jit, static_argnames="atoms")
def learned(key: Array, patches: Float[Array, "p d"], atoms: int) -> Dictionary:
    """The whitening of patches, and typical ones by spherical k-means; an atom without patches is drawn anew."""
    patches = _normalised(patches)
    mean = jnp.mean(patches, axis=0)
    centred = patches - mean[None]
    values, vectors = jnp.linalg.eigh(matmul_highest(centred.T, centred) / len(patches))
    whiten = matmul_highest(vectors / jnp.sqrt(jnp.maximum(values, 0) + _WHITENING)[None], vectors.T)
    points = _unit(matmul_highest(centred, whiten))

    def drawn(key: Array) -> Float[Array, "a d"]:
        return points[jax.random.choice(key, len(points), (atoms,), replace=len(points) < atoms)]

    def round_(i: Array, centres: Float[Array, "a d"]) -> Float[Array, "a d"]:
        similar = matmul_highest(points, centres.T)
        nearest = jax.nn.one_hot(jnp.argmax(similar, axis=1), atoms) * similar
        total = matmul_highest(nearest.T, points)
        some = jnp.linalg.norm(total, axis=1, keepdims=True) > _TINY
        return jnp.where(some, _unit(total), drawn(jax.random.fold_in(key, i + 1)))

    return Dictionary(mean, whiten, jax.lax.fori_loop(0, _ROUNDS, round_, drawn(key)))


@functools.partial(jax.jit, static_argnames=("size", "grid", "flip"))
def _encoded(dictionary: Dictionary, images: Images, size: int, grid: int, flip: bool) -> Float[Array, "n f"]:
    features = _pooled(dictionary, images, size, grid)
    return (features + _pooled(dictionary, images[:, :, ::-1], size, grid)) / 2 if flip else features


def _pooled(dictionary: Dictionary, images: Images, size: int, grid: int) -> Float[Array, "n f"]:
    """Similarities above the threshold and below its negative, averaged over the cells of the grid."""
    h, w = images.shape[1:3]
    rows, columns = h - size + 1, w - size + 1
    shifted = [images[:, y : y + rows, x : x + columns] for y in range(size) for x in range(size)]
    patches = _normalised(jnp.concatenate(shifted, axis=-1))
    points = _unit(jnp.matmul(patches - dictionary.mean[None, None, None], dictionary.whiten, precision="highest"))
    similar = jnp.matmul(points, dictionary.atoms.T, precision="highest")
    signed = jnp.concatenate([jax.nn.relu(similar - _THRESHOLD), jax.nn.relu(-similar - _THRESHOLD)], axis=-1)
    ends = [[round(i * side / grid) for i in range(grid + 1)] for side in (rows, columns)]
    cells = [
        jnp.mean(signed[:, ends[0][i] : ends[0][i + 1], ends[1][j] : ends[1][j + 1]], axis=(1, 2))
        for i in range(grid)
        for j in range(grid)
    ]
    return jnp.concatenate(cells, axis=1)


def _normalised(patches: Float[Array, "*p d"]) -> Float[Array, "*p d"]:
    centred = patches - jnp.mean(patches, axis=-1, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + _CONTRAST**2)


def _unit(points: Float[Array, "*p d"]) -> Float[Array, "*p d"]:
    return points / (jnp.linalg.norm(points, axis=-1, keepdims=True) + _TINY)
