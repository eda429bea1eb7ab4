"""Convolution and its kernel gradient on a CPU, as matrix products that stay fast inside loops.

XLA's own kernel gradient is tens of times slower inside `scan` than outside of it, and reaches half of the speed
of a matrix product at best. Here 3x3 kernels go through Winograd's minimal filtering, which needs 16 products
where the definition has 36, or 36 where it has 144, a few images at a time so that what it writes stays in the cache;
narrow ones take XLA's forward convolution, on all images side by side.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ddjax.models.minimal_filtering import BY_FOUR, BY_TWO, Filtering, Matrix

Padding = tuple[tuple[int, int], tuple[int, int]]  # (low, high) of rows and of columns, none negative
Images = Float[Array, "n h w c"]
Outputs = Float[Array, "n h2 w2 o"]
Kernel = Float[Array, "kh kw c o"]

MANTISSAS = {"tensorfloat32": 10, "bfloat16": 7}  # bits that are left of a factor
HALVES = (jnp.bfloat16, jnp.float16)  # stored, but multiplied and summed in float32
FEW = 4  # channels up to which copies of shifted maps cost next to nothing
NARROW = 40  # channels up to which Winograd's transforms cost more than XLA's own forward convolution
TILES = 512  # rows of one Winograd product: enough for a product at full speed, and its operands fit into the cache
WIDE = 128  # channels at which they do; narrower maps take more rows
MOST_WASTE = 1.6  # computed over wanted outputs where a map's sides are odd


def convolve(x: Images, kernel: Kernel, *, padding: Padding) -> Outputs:
    """Cross-correlation at stride 1."""
    if x.dtype in HALVES:
        return convolve(x.astype(jnp.float32), kernel.astype(jnp.float32), padding=padding).astype(x.dtype)
    x, kernel = _rounded(x), _rounded(kernel)
    kh, kw, c, o = kernel.shape
    size = output_size(x.shape, kernel.shape, padding)
    if (kh, kw) == (1, 1):
        return _product(_pad(x, padding), kernel)
    if o <= FEW < c:
        return _few_outputs(x, kernel, padding)
    if _suits_winograd(kernel.shape, size) and c * o > NARROW**2:
        return _winograd(x, kernel, padding)
    if c <= FEW:
        return _product(_windows(_pad(x, padding), (kh, kw)), kernel)
    return _side_by_side(x, kernel, padding)


def kernel_gradient(x: Images, g: Outputs, *, padding: Padding) -> Kernel:
    """The gradient of <convolve(x, kernel), g> with respect to the kernel."""
    if x.dtype in HALVES:
        return kernel_gradient(x.astype(jnp.float32), g.astype(jnp.float32), padding=padding).astype(x.dtype)
    x, g = _rounded(x), _rounded(g)
    kh, kw, c, o = shape = kernel_shape(x.shape, g.shape, padding)
    if (kh, kw) == (1, 1):
        return _outer(_pad(x, padding), g)[None, None]
    if o <= FEW < c and max(*padding[0], *padding[1]) < min(kh, kw):  # the roles of maps and gradient are symmetric
        return rotate(kernel_gradient(g, x, padding=adjoint_padding(padding, shape)))
    if _suits_winograd(shape, g.shape[1:3]):
        return _in_chunks(lambda x, g: _winograd_gradient(x, g, padding), x, g)
    if c <= FEW:
        # its windows are made again, in the cache: those of `convolve` would have to be kept and read from memory
        return _in_chunks(lambda x, g: _outer(_windows(_pad(x, padding), (kh, kw)), g).reshape(shape), x, g)
    return _in_chunks(lambda x, g: _shifted_gradient(_pad(x, padding), g, (kh, kw)), x, g)


def rotate(kernel: Kernel) -> Float[Array, "kh kw o c"]:
    """The kernel of the adjoint convolution: turned by 180 degrees, inputs and outputs exchanged."""
    return jnp.swapaxes(kernel[::-1, ::-1], 2, 3)


def adjoint_padding(padding: Padding, kernel_shape: Sequence[int]) -> Padding:
    """The padding of the adjoint convolution."""
    return tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel_shape, padding, strict=False))


def output_size(x: Sequence[int], kernel: Sequence[int], padding: Padding) -> tuple[int, int]:
    """Height and width of a convolution's output, from shapes."""
    return tuple(x[1 + i] + sum(padding[i]) - kernel[i] + 1 for i in (0, 1))


def kernel_shape(x: Sequence[int], g: Sequence[int], padding: Padding) -> tuple[int, int, int, int]:
    """The kernel's shape, from those of input and output."""
    return *(x[1 + i] + sum(padding[i]) - g[1 + i] + 1 for i in (0, 1)), x[3], g[3]


def _rounded(x: Array) -> Array:
    # as an accelerator rounds the factors of its products, which are then summed in float32: no faster here, but
    # the numbers are those of the machine that the option is meant for
    mantissa = MANTISSAS.get(jax.config.jax_default_matmul_precision)
    return x if mantissa is None or x.dtype != jnp.float32 else lax.reduce_precision(x, 8, mantissa)


def _suits_winograd(kernel: Sequence[int], size: Sequence[int]) -> bool:
    h, w = size
    return kernel[:2] == (3, 3) and min(kernel[2:]) > FEW and 4 * _per_map(2, size) <= MOST_WASTE * h * w


def _grid(step: int, size: Sequence[int]) -> tuple[int, int]:
    # tiles along both sides of a map
    return -(-size[0] // step), -(-size[1] // step)


def _per_map(step: int, size: Sequence[int]) -> int:
    rows, columns = _grid(step, size)
    return rows * columns


def _pad(x: Array, padding: Padding) -> Array:
    return x if padding == ((0, 0), (0, 0)) else jnp.pad(x, ((0, 0), *padding, (0, 0)))


def _product(x: Array, kernel: Array) -> Outputs:
    # of two matrices, here and below: a product with more axes takes a slower road
    return (x.reshape(-1, x.shape[3]) @ kernel.reshape(-1, kernel.shape[3])).reshape(*x.shape[:3], -1)


def _outer(x: Float[Array, "n h w c"], g: Float[Array, "n h w o"]) -> Float[Array, "c o"]:
    return x.reshape(-1, x.shape[3]).T @ g.reshape(-1, g.shape[3])


def _shifts(x: Array, window: tuple[int, int], axis: int) -> list[Array]:
    h, w = (x.shape[axis + i] - window[i] + 1 for i in (0, 1))
    rows = [lax.slice_in_dim(x, i, i + h, axis=axis) for i in range(window[0])]
    return [lax.slice_in_dim(row, j, j + w, axis=axis + 1) for row in rows for j in range(window[1])]


def _windows(x: Array, window: tuple[int, int]) -> Array:
    for axis in (2, 1):  # one axis after the other: fewer and longer pieces to copy
        size = x.shape[axis] - window[axis - 1] + 1
        parts = [lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(window[axis - 1])]
        x = jnp.concatenate(parts, axis=-1)
    return x


def _side_by_side(x: Images, kernel: Kernel, padding: Padding) -> Outputs:
    # XLA's own convolution shares its work between threads along a map's columns only, and a map has too few of them:
    # so all images are one wide map, with columns of zeros between them
    (n, h, w, c), (_, kw, _, o) = x.shape, kernel.shape
    (low, high), (h2, w2) = padding[1], output_size(x.shape, kernel.shape, padding)
    period = w + max(low, high)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, period - w), (0, 0)))
    x = jnp.swapaxes(x, 0, 1).reshape(1, h, n * period, c)
    columns = (low, kw - 1 - low)  # as many columns out as in
    y = lax.conv_general_dilated(x, kernel, (1, 1), (padding[0], columns), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.swapaxes(y.reshape(h2, n, period, o)[:, :, :w2], 0, 1)


def _few_outputs(x: Images, kernel: Kernel, padding: Padding) -> Outputs:
    # one product for all taps, then sums of shifted maps, which are small
    kh, kw, c, o = kernel.shape
    taps = jnp.moveaxis(kernel, 3, 2).reshape(-1, c)
    planes = (taps @ x.reshape(-1, c).T).reshape(kh * kw, o, *x.shape[:3])
    planes = jnp.pad(planes, ((0, 0), (0, 0), (0, 0), *padding))
    h, w = output_size(x.shape, kernel.shape, padding)
    shifted = [planes[i * kw + j, ..., i : i + h, j : j + w] for i in range(kh) for j in range(kw)]
    return jnp.moveaxis(sum(shifted), 0, -1)


def _shifted_gradient(x: Array, g: Array, window: tuple[int, int]) -> Array:
    return jnp.stack([_outer(part, g) for part in _shifts(x, window, 1)]).reshape(*window, x.shape[3], g.shape[3])


def _transform(matrix: Matrix, parts: Sequence[Array] | Array) -> Array:
    # matrix @ parts along a new first axis, written out: most entries are 0 or 1
    def combine(weights: Sequence[float]) -> Array:
        used = [(weight, part) for weight, part in zip(weights, parts, strict=True) if weight]
        scaled = [part if weight == 1 else -part if weight == -1 else weight * part for weight, part in used]
        return sum(scaled[1:], scaled[0])

    return jnp.stack([combine(weights) for weights in matrix])


def _tiles(matrix: Matrix, maps: Array, step: int) -> Float[Array, "taps tiles channels"]:
    # `matrix` applied to rows and to columns of every tile; tiles are `step` pixels apart
    ends = [(i, maps.shape[1] - len(matrix[0]) + i + 1) for i in range(len(matrix[0]))]
    rows = _transform(matrix, [maps[:, i:end:step] for i, end in ends])
    ends = [(j, maps.shape[2] - len(matrix[0]) + j + 1) for j in range(len(matrix[0]))]
    columns = _transform(matrix, [rows[:, :, :, j:end:step] for j, end in ends])
    return columns.reshape(len(matrix) ** 2, -1, maps.shape[3])


def _input_tiles(way: Filtering, x: Images, padding: Padding, size: Sequence[int]) -> Float[Array, "taps tiles c"]:
    more = [way.step * tiles - side for tiles, side in zip(_grid(way.step, size), size, strict=True)]
    x = _pad(x, tuple((low, high + end) for (low, high), end in zip(padding, more, strict=True)))
    return _tiles(way.B, x, way.step)


def _filtering(size: Sequence[int]) -> Filtering:
    # the one with fewer products
    return min(BY_FOUR, BY_TWO, key=lambda way: len(way.B) ** 2 * _per_map(way.step, size))


def _winograd(x: Images, kernel: Kernel, padding: Padding) -> Outputs:
    size = output_size(x.shape, kernel.shape, padding)
    way = _filtering(size)
    (step, _, g, a), taps, (rows, columns) = way, len(way.B), _grid(way.step, size)
    filters = _transform(g, _transform(g, kernel).swapaxes(0, 1)).reshape(taps**2, *kernel.shape[2:])

    def chunk(x: Images) -> Outputs:
        products = _input_tiles(way, x, padding, size) @ filters
        products = products.reshape(taps, taps, len(x), rows, columns, -1)
        pixels = _transform(a, _transform(a, products).swapaxes(0, 1))  # [step, step, ...]: row and column in a tile
        y = jnp.transpose(pixels, (2, 3, 0, 4, 1, 5))
        return y.reshape(len(x), step * rows, step * columns, -1)[:, : size[0], : size[1]]

    count = _chunk(way, len(x), size, max(kernel.shape[2:]))
    if count == len(x):
        return chunk(x)
    images = _chunks(count, x)
    y = lax.map(lambda i: chunk(images(i)), jnp.arange(-(-len(x) // count)))
    return y.reshape(-1, *y.shape[2:])[: len(x)]


def _winograd_gradient(x: Images, g: Outputs, padding: Padding) -> Kernel:
    # the transpose of `_winograd` in its kernel: G' [(B x B')' (A' g A)] G
    size, way = g.shape[1:3], BY_TWO
    g = _pad(g, tuple((0, way.step * tiles - side) for tiles, side in zip(_grid(way.step, size), size, strict=True)))
    outputs = _tiles(_transposed(way.A), g, way.step)
    products = jnp.swapaxes(_input_tiles(way, x, padding, size), 1, 2) @ outputs
    products = products.reshape(len(way.B), len(way.B), x.shape[3], g.shape[3])
    back = _transposed(way.G)
    return _transform(back, _transform(back, products).swapaxes(0, 1))


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _chunk(way: Filtering, n: int, size: Sequence[int], channels: int) -> int:
    # images at a time: a divisor of n near what fills a product, and with padding where there is none
    tiles = TILES * len(BY_TWO.B) ** 2 // len(way.B) ** 2 * max(1, WIDE // channels)
    most = max(1, min(n, tiles // _per_map(way.step, size)))
    for count in range(most, most // 2, -1):
        if n % count == 0:
            return count
    return -(-n // -(-n // most))


def _in_chunks(gradient: Callable[[Array, Array], Array], x: Images, g: Outputs) -> Kernel:
    # the sum over images, a few at a time
    count = _chunk(BY_TWO, len(x), g.shape[1:3], max(x.shape[3], g.shape[3]))
    if count == len(x):
        return gradient(x, g)
    chunk_of_x, chunk_of_g = _chunks(count, x), _chunks(count, g)
    shape = jax.eval_shape(lambda: gradient(chunk_of_x(0), chunk_of_g(0)))
    start = jnp.zeros(shape.shape, shape.dtype)
    return lax.fori_loop(0, -(-len(x) // count), lambda i, sum: sum + gradient(chunk_of_x(i), chunk_of_g(i)), start)


def _chunks(count: int, maps: Array) -> Callable[[Array | int], Array]:
    # the i-th few images, with zeros where there are none left; cut out inside the loop, because an array that is
    # reshaped for a loop is computed once more for it by XLA, with all that was fused into it
    missing = -len(maps) % count
    maps = jnp.pad(maps, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else maps
    return lambda i: lax.dynamic_slice_in_dim(maps, i * count, count)
