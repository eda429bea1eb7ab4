"""Convolution with 3x3 kernels, and its kernel gradient, by minimal filtering.

It needs 16 products per 36 of the definition, or 36 per 144. It takes a few images at a time, so that intermediate
results stay in the cache.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.models.convolution.minimal_filtering import BY_FOUR, BY_TWO, Filtering, Matrix
from ddjax.models.convolution.padding import Padding, output_size, pad
from ddjax.models.convolution.pieces import Kernels, Maps, Outputs, Stack, StackedOutputs, even, mapped, summed

TILES = 512  # rows of one product: enough for full speed, and its operands fit into the cache
WIDE = 128  # the number of channels for which this holds; narrower maps take more rows
MOST_WASTE = 1.6  # the largest allowed ratio of computed to needed outputs, for maps with odd sides


def suits(kernel: Sequence[int], size: Sequence[int]) -> bool:
    """Whether filtering pays off: for 3x3 kernels on maps of more than a few pixels."""
    h, w = size
    return tuple(kernel[-4:-2]) == (3, 3) and 4 * _per_map(2, size) <= MOST_WASTE * h * w


def convolve(x: Stack, kernel: Kernels, padding: Padding) -> StackedOutputs:
    """Cross-correlation."""
    size = output_size(x.shape, kernel.shape, padding)
    way = min(BY_FOUR, BY_TWO, key=lambda way: len(way.B) ** 2 * _per_map(way.step, size))  # with fewer products
    (step, _, g, a), taps, (rows, columns) = way, len(way.B), _grid(way.step, size)

    def filters(kernel: Float[Array, "kh kw c o"]) -> Float[Array, "taps c o"]:
        return _transform(g, _transform(g, kernel).swapaxes(0, 1)).reshape(taps**2, *kernel.shape[2:])

    def some(x: Maps, filters: Float[Array, "taps c o"]) -> Outputs:
        products = _input_tiles(way, x, padding, size) @ filters
        products = products.reshape(taps, taps, len(x), rows, columns, -1)
        pixels = _transform(a, _transform(a, products).swapaxes(0, 1))  # [step, step, ...]: row and column in a tile
        y = jnp.transpose(pixels, (2, 3, 0, 4, 1, 5))
        return y.reshape(len(x), step * rows, step * columns, -1)[:, : size[0], : size[1]]

    return mapped(some, filters, a_few(x.shape[-4], size, max(kernel.shape[-2:]), way), x, kernel)


def kernel_gradient(x: Stack, g: StackedOutputs, padding: Padding) -> Kernels:
    """The transpose of `convolve` in its kernel: G' [(B x B')' (A' g A)] G."""
    size, way = g.shape[-3:-1], BY_TWO
    more = tuple((0, way.step * tiles - side) for tiles, side in zip(_grid(way.step, size), size, strict=True))
    back = _transposed(way.G)

    def some(x: Maps, g: Outputs) -> Float[Array, "kh kw c o"]:
        outputs = _tiles(_transposed(way.A), pad(g, more), way.step)
        products = jnp.swapaxes(_input_tiles(way, x, padding, size), 1, 2) @ outputs
        products = products.reshape(len(way.B), len(way.B), x.shape[3], g.shape[3])
        return _transform(back, _transform(back, products).swapaxes(0, 1))

    return summed(some, a_few(x.shape[-4], size, max(x.shape[-1], g.shape[-1])), x, g)


def a_few(n: int, size: Sequence[int], channels: int, way: Filtering = BY_TWO) -> int:
    """The number of images whose tiles fill one product."""
    rows = TILES * len(BY_TWO.B) ** 2 // len(way.B) ** 2 * max(1, WIDE // channels)
    return even(n, rows // _per_map(way.step, size))


def _grid(step: int, size: Sequence[int]) -> tuple[int, int]:
    # number of tiles along both sides of a map
    return -(-size[0] // step), -(-size[1] // step)


def _per_map(step: int, size: Sequence[int]) -> int:
    rows, columns = _grid(step, size)
    return rows * columns


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _transform(matrix: Matrix, parts: Sequence[Array] | Array) -> Array:
    # matrix @ parts along a new first axis, as explicit sums: most entries are 0 or 1
    def combine(weights: Sequence[float]) -> Array:
        used = [(weight, part) for weight, part in zip(weights, parts, strict=True) if weight]
        scaled = [part if weight == 1 else -part if weight == -1 else weight * part for weight, part in used]
        return sum(scaled[1:], scaled[0])

    return jnp.stack([combine(weights) for weights in matrix])


def _tiles(matrix: Matrix, maps: Array, step: int) -> Float[Array, "taps tiles channels"]:
    # applies `matrix` to rows and columns of every tile; tiles are `step` pixels apart
    ends = [(i, maps.shape[1] - len(matrix[0]) + i + 1) for i in range(len(matrix[0]))]
    rows = _transform(matrix, [maps[:, i:end:step] for i, end in ends])
    ends = [(j, maps.shape[2] - len(matrix[0]) + j + 1) for j in range(len(matrix[0]))]
    columns = _transform(matrix, [rows[:, :, :, j:end:step] for j, end in ends])
    return columns.reshape(len(matrix) ** 2, -1, maps.shape[3])


def _input_tiles(way: Filtering, x: Maps, padding: Padding, size: Sequence[int]) -> Float[Array, "taps tiles c"]:
    more = [way.step * tiles - side for tiles, side in zip(_grid(way.step, size), size, strict=True)]
    x = pad(x, tuple((low, high + end) for (low, high), end in zip(padding, more, strict=True)))
    return _tiles(way.B, x, way.step)
