"""Factor-coded images: a stored image is a mosaic of f x f cells, each enlarged to a training image (IDC, DANCE)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.names import unknown

FORMATIONS = ("single", "multi", "bound")


def cells(images: Float[Array, "m h w c"], factor: int) -> Float[Array, "mff h w c"]:
    """Cut every image into factor x factor cells and enlarge each cell to the full size.

    Output row `cell * m + image` is a cell of an image, with cells numbered row by row. A side that `factor` does not
    divide is padded on the right and below with 0.5, here in the space of the images, in published code before they are
    standardised. Cells are enlarged bilinearly with half-pixel centres and clamped edges, without antialiasing. Source:
    Kim et al., 2022 (arXiv:2205.14959).

    Args:
      images: mosaics.
      factor: cells along a side.

    Example:
      >>> cells(jnp.zeros((2, 4, 4, 1)), 2).shape
      (8, 4, 4, 1)
    """
    if factor == 1:
        return images
    m, h, w, c = images.shape
    padded = jnp.pad(images, ((0, 0), (0, -h % factor), (0, -w % factor), (0, 0)), constant_values=0.5)
    ch, cw = padded.shape[1] // factor, padded.shape[2] // factor
    grid = padded.reshape(m, factor, ch, factor, cw, c).transpose(1, 3, 0, 2, 4, 5)
    return jax.image.resize(grid.reshape(-1, ch, cw, c), (m * factor**2, h, w, c), "bilinear", antialias=False)


def bounded(m: int, factor: int, cap: int) -> list[tuple[int, int]]:
    """The images to decode at each factor so that at most `cap` result: [(factor, images), ...], descending."""
    room, left, done, plan = cap - m, m, 0, []
    for f in range(factor, 0, -1):
        count = max(0, min(room // f**2, left)) if f > 1 else left
        if count > 0:
            plan.append((f, count))
        left, done = left - count, done + count * f**2
        room = cap - done - left
    return plan


def plan(m: int, factor: int, formation: str = "single", cap: int = 128) -> list[tuple[int, int, int]]:
    """The stored images to decode at each factor: [(factor, first, count), ...], in the order of the output.

    Args:
      m: number of stored images of a class.
      factor: cells along a side.
      formation: "single" decodes every image at `factor`; "multi" decodes every image at each factor from 1 to
        `factor`; "bound" decodes every image once, the first ones at `factor` and the others at smaller factors, so
        that at most `cap` images result.
      cap: used by "bound" only.

    Raises:
      ValueError: the formation is unknown.
    """
    if formation == "single":
        return [(factor, 0, m)]
    if formation == "multi":
        return [(f, 0, m) for f in range(1, factor + 1)]
    if formation == "bound":
        out, first = [], 0
        for f, count in bounded(m, factor, cap):
            out.append((f, first, count))
            first += count
        return out
    raise unknown("formation", formation, FORMATIONS)


def decode(
    images: Float[Array, "m h w c"], factor: int, formation: str = "single", cap: int = 128
) -> Float[Array, "out h w c"]:
    """Decode all training images from the mosaics of ONE class; see `plan` for the formations."""
    parts = [cells(images[first : first + count], f) for f, first, count in plan(len(images), factor, formation, cap)]
    return jnp.concatenate(parts)


def sources(m: int, factor: int, formation: str = "single", cap: int = 128) -> list[int]:
    """For each decoded image, the index of its stored image, which is also the index of its label."""
    return [first + i for f, first, count in plan(m, factor, formation, cap) for _ in range(f**2) for i in range(count)]
