import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from numeric import assert_close, draw

from ddjax.models import build
from ddjax.models.convolution import winograd
from ddjax.models.convolution.conv import conv2d

# images, kernel, strides, padding: what the networks use, and odd ones out
CASES = {
    "3x3": ((3, 8, 8, 8), (3, 3, 8, 6), (1, 1), "SAME"),
    "odd sides": ((2, 7, 9, 5), (3, 3, 5, 7), (1, 1), "SAME"),
    "wide, odd sides": ((2, 7, 9, 41), (3, 3, 41, 40), (1, 1), "SAME"),
    "wide, few pixels": ((2, 2, 2, 41), (3, 3, 41, 40), (1, 1), "SAME"),
    "many images": ((5, 8, 8, 48), (3, 3, 48, 40), (1, 1), "SAME"),
    "colours": ((3, 8, 8, 3), (3, 3, 3, 8), (1, 1), ((1, 1), (1, 1))),
    "to colours": ((3, 8, 8, 8), (3, 3, 8, 3), (1, 1), ((1, 1), (1, 1))),
    "one channel": ((3, 6, 5, 1), (3, 3, 1, 1), (1, 1), "SAME"),
    "grey stem": ((2, 12, 12, 1), (3, 3, 1, 8), (1, 1), ((3, 3), (3, 3))),
    "tiny map": ((3, 1, 1, 8), (3, 3, 8, 8), (1, 1), "SAME"),
    "5x5": ((2, 8, 8, 6), (5, 5, 6, 6), (1, 1), ((2, 2), (2, 2))),
    "5x5 valid": ((2, 9, 9, 3), (5, 5, 3, 6), (1, 1), "VALID"),
    "5x5 strided": ((2, 11, 11, 3), (5, 5, 3, 6), (2, 2), ((2, 2), (2, 2))),
    "3x3 strided": ((2, 8, 8, 6), (3, 3, 6, 6), (2, 2), ((1, 1), (1, 1))),
    "3x3 strided, odd": ((2, 9, 7, 6), (3, 3, 6, 6), (2, 2), ((1, 1), (1, 1))),
    "7x7 strided": ((2, 12, 12, 3), (7, 7, 3, 6), (2, 2), ((3, 3), (3, 3))),
    "strided, same": ((2, 8, 9, 6), (3, 3, 6, 6), (2, 2), "SAME"),
    "1x1": ((2, 5, 5, 6), (1, 1, 6, 7), (1, 1), "SAME"),
    "1x1 strided": ((2, 8, 9, 6), (1, 1, 6, 7), (2, 2), ((0, 0), (0, 0))),
    "even kernel": ((2, 6, 6, 5), (2, 2, 5, 6), (1, 1), "SAME"),
    "even kernel, colours": ((2, 6, 5, 2), (2, 2, 2, 5), (1, 1), "SAME"),
    "3x3 valid": ((4, 7, 6, 5), (3, 3, 5, 6), (1, 1), "VALID"),
    "one image": ((1, 7, 6, 5), (3, 3, 5, 6), (1, 1), "SAME"),
    "uneven padding": ((3, 6, 7, 5), (3, 4, 5, 6), (1, 1), ((2, 0), (1, 3))),
    "uneven strides": ((2, 8, 9, 5), (3, 2, 5, 6), (2, 3), ((1, 0), (0, 1))),
}


@pytest.fixture(autouse=True)
def _few_images_at_a_time(monkeypatch):
    # so that "many images" are computed in several pieces, of which the last is padded
    monkeypatch.setattr(winograd, "TILES", 16)


def native(x, kernel, strides=(1, 1), padding="SAME"):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def arguments(case, dtype=jnp.float32):
    x, kernel, strides, padding = CASES[case]
    return draw(x, 0, dtype), draw(kernel, 1, dtype), strides, padding


def orders(conv, strides, padding):
    """Value, jvp, gradient, jvp of the gradient and gradient of the gradient, with respect to both arguments."""

    def evaluate(x, kernel, dx, dkernel):
        def apply(x, kernel):
            return conv(x, kernel, strides, padding)

        def loss(x, kernel):
            y = apply(x, kernel)
            return jnp.sum(jnp.sin(0.1 * y) * jnp.arange(y.size).reshape(y.shape) / y.size)

        def along(x, kernel):
            return sum(jnp.vdot(a, b) for a, b in zip(gradient(x, kernel), (dx, dkernel), strict=True))

        gradient = jax.grad(loss, (0, 1))
        point, direction = (x, kernel), (dx, dkernel)
        return (
            jax.jvp(apply, point, direction),
            gradient(*point),
            jax.jvp(gradient, point, direction)[1],
            jax.grad(along, (0, 1))(*point),
        )

    return jax.jit(evaluate)


# the same ways as "3x3 strided", "7x7 strided", "3x3" and "even kernel"
AGAIN = ("3x3 strided, odd", "5x5 strided", "one image", "even kernel, colours")


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow) if c in AGAIN else c for c in CASES])
def test_all_orders_agree_with_the_native_convolution(case):
    with jax.enable_x64(True):
        x, kernel, strides, padding = arguments(case, jnp.float64)
        point = (x, kernel, draw(x.shape, 2, jnp.float64), draw(kernel.shape, 3, jnp.float64))
        want = orders(native, strides, padding)(*point)
        assert_close(orders(conv2d, strides, padding)(*point), want, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["3x3", "odd sides", "colours", "to colours"])
def test_all_orders_in_single_precision(case):
    x, kernel, strides, padding = arguments(case)
    point = (x, kernel, draw(x.shape, 2), draw(kernel.shape, 3))
    # the gradient of a gradient is a sum of terms larger than itself, so it has a digit less
    assert_close(orders(conv2d, strides, padding)(*point), orders(native, strides, padding)(*point), 4e-6)


@pytest.mark.parametrize("channels", [3, 64])
def test_values_and_gradients_to_a_millionth(channels):
    # in the norm, as errors of single entries depend on their own size
    with jax.enable_x64(True):
        x, kernel = draw((8, 16, 16, channels), 0, jnp.float64), draw((3, 3, channels, 64), 1, jnp.float64)
        ct = draw((8, 16, 16, 64), 2, jnp.float64)
        y, back = jax.vjp(native, x, kernel)
        single = [a.astype(jnp.float32) for a in (x, kernel, ct)]
        y32, back32 = jax.vjp(conv2d, *single[:2])
        for got, want in zip((y32, *back32(single[2])), (y, *back(ct)), strict=True):
            assert jnp.linalg.norm((got - want).ravel()) < 1e-6 * jnp.linalg.norm(want.ravel())


BATCHED = [
    *itertools.product(["3x3", "colours"], [(0, None), (None, 0), (0, 0)]),
    pytest.param("many images", (None, 0), marks=pytest.mark.slow),
    pytest.param("many images", (0, 0), marks=pytest.mark.slow),
    ("wide, odd sides", (0, 0)),
    ("to colours", (None, 0)),
    ("to colours", (0, 0)),
    ("5x5", (1, 2)),
    ("1x1", (None, 3)),
    ("1x1", (0, 0)),
]


@pytest.mark.parametrize(("case", "axes"), BATCHED)
def test_batched_over_either_or_both(case, axes):
    x, kernel, strides, padding = arguments(case)
    stack = [
        a if axis is None else jnp.stack([a, 2 * a, a - 1], axis) for a, axis in zip((x, kernel), axes, strict=False)
    ]

    def sides(conv):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(0.1 * conv(x, kernel, strides, padding)))

        def gradient_of_batch(x, kernel):
            return jax.grad(lambda x, k: jnp.sum(jax.vmap(loss, axes)(x, k)), (0, 1))(x, kernel)

        def everything(x, kernel):
            return (
                jax.vmap(lambda x, k: conv(x, k, strides, padding), axes)(x, kernel),
                jax.vmap(jax.grad(loss, (0, 1)), axes)(x, kernel),
                gradient_of_batch(x, kernel),
                jax.jvp(gradient_of_batch, (x, kernel), (x, kernel))[1],
                jax.grad(lambda x: sum(jnp.sum(a**2) for a in gradient_of_batch(x, kernel)))(x),
            )

        return jax.jit(everything)

    # filtering, which wide kernels go through, rounds more, and second derivatives have sums larger than themselves
    assert_close(sides(conv2d)(*stack), sides(native)(*stack), 1.5e-5 if kernel.shape[-2] > 40 else 4e-6)


@pytest.mark.parametrize("inner", [(0, 0), (None, 0), (0, None)])
@pytest.mark.parametrize("outer", [(0, 0), (None, 0), (0, None)])
def test_batched_twice(outer, inner):
    shapes = (2, 4, 4, 5), (3, 3, 5, 6)
    stacks = [[2] * (a is not None) + [3] * (b is not None) for a, b in zip(outer, inner, strict=True)]
    x, kernel = (draw((*stack, *shape), seed) for seed, (stack, shape) in enumerate(zip(stacks, shapes, strict=True)))

    def both(conv):
        def gradient(x, kernel):
            return jax.grad(lambda x, k: jnp.sum(jnp.sin(conv(x, k))), (0, 1))(x, kernel)

        return jax.jit(lambda *a: [jax.vmap(jax.vmap(f, inner), outer)(*a) for f in (conv, gradient)])

    for got, want, tolerance in zip(both(conv2d)(x, kernel), both(native)(x, kernel), (2e-6, 4e-6), strict=True):
        assert_close(got, want, tolerance)


def groups(function, *arguments):
    text = jax.jit(function).lower(*arguments).as_text()
    return [int(n) for n in re.findall(r"(?:feature|batch)_group_count = (\d+)", text)]


def test_stacked_kernels_form_no_grouped_convolution():
    x, kernels = draw((3, 2, 6, 6, 8), 0), draw((3, 3, 3, 8, 8), 1)

    def gradients(conv):
        return jax.vmap(jax.grad(lambda x, k: jnp.sum(conv(x, k) ** 2), (0, 1)))

    assert max(groups(gradients(native), x, kernels)) > 1  # so that the pattern is known to find them
    assert max(groups(gradients(conv2d), x, kernels), default=1) == 1
    model = build("convnet", (16, 16, 3), 10, width=8)
    params = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 3))
    loss = jax.vmap(jax.grad(lambda p, x: jnp.sum(model.apply(p, x) ** 2)), (0, None))
    assert max(groups(loss, params, draw((2, 16, 16, 3), 0)), default=1) == 1


@pytest.mark.parametrize("case", ["3x3", "3x3 valid", "uneven padding", "even kernel, colours", "many images", "5x5"])
def test_images_of_a_batch_are_independent(case):
    x, kernel, strides, padding = arguments(case)

    def both(x):  # the second as the adjoint sees it
        y, back = jax.vjp(lambda x: conv2d(x, kernel, strides, padding), x)
        return y, back(y)[0]

    for clean, broken in zip(jax.jit(both)(x), jax.jit(both)(x.at[1].set(jnp.nan)), strict=True):
        assert jnp.isnan(broken[1]).any()
        np.testing.assert_array_equal(np.delete(clean, 1, 0), np.delete(broken, 1, 0))


@pytest.mark.parametrize("case", ["many images", "colours", "5x5 strided"])
def test_inside_loops_as_outside(case):
    x, kernel, strides, padding = arguments(case)

    def gradient(x, kernel):
        return jax.grad(lambda x, k: jnp.sum(jnp.sin(conv2d(x, k, strides, padding))), (0, 1))(x, kernel)

    outside = jax.jit(gradient)(x, kernel)
    inside = jax.jit(lambda x, k: lax.scan(lambda c, _: (c, gradient(*c)), (x, k), length=2)[1])(x, kernel)
    branch = jax.jit(lambda x, k, yes: lax.cond(yes, gradient, lambda *a: a, x, k))(x, kernel, True)
    for each in zip(*inside, strict=True):
        assert_close(each, outside, 1e-6)
    assert_close(branch, outside, 1e-6)


def test_eager_half_precision_and_shapes():
    x, kernel, strides, padding = arguments("3x3")
    assert_close(conv2d(x, kernel, strides, padding), native(x, kernel), 2e-6)
    half = [a.astype(jnp.bfloat16) for a in (x, kernel)]
    # products and sums are in float32, so that only what is stored is rounded
    exact = native(*(a.astype(jnp.float32) for a in half))
    assert_close(conv2d(*half), exact.astype(jnp.bfloat16), 2**-7)
    gradient = jax.grad(lambda k: jnp.sum(conv2d(half[0], k).astype(jnp.float32) ** 2))(half[1])
    assert gradient.dtype == jnp.bfloat16
    shape = jax.eval_shape(conv2d, x, kernel)
    assert shape.shape == native(x, kernel).shape and shape.dtype == jnp.float32


def test_refuses_what_does_not_fit():
    x, kernel, *_ = arguments("3x3")
    with pytest.raises(ValueError, match="one dtype"):
        conv2d(x.astype(jnp.bfloat16), kernel)
    with pytest.raises(ValueError, match="larger than"):
        conv2d(x[:, :2], kernel, (1, 1), "VALID")
