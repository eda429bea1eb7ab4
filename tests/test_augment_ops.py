import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ddjax.augment.ops import OPS, brightness, contrast, crop, saturation
from ddjax.augment.sampling import bilinear, separable, shifted

SIZES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3)]
COUNT = jnp.arange(1.0, 17.0).reshape(1, 4, 4, 1)  # rows 1..4, 5..8, 9..12, 13..16


def images_of(shape, n=5, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32))


def close(actual, desired, tolerance=1e-5):
    np.testing.assert_allclose(np.squeeze(actual), np.squeeze(desired), atol=tolerance)


def test_golden_tables():
    scale, rotate = jax.jit(OPS["scale"].apply), jax.jit(OPS["rotate"].apply)
    close(
        scale(jnp.array([[1.0, 1.2]]), COUNT),
        [[0.7, 1.9, 3.1, 2.8], [3.5, 5.9, 7.1, 5.6], [6.3, 9.9, 11.1, 8.4], [9.1, 13.9, 15.1, 11.2]],
    )
    close(
        scale(jnp.array([[0.9, 0.9]]), COUNT),
        np.array([1.75, 5.35, 8.95, 12.55])[:, None] + 0.9 * np.arange(4),
    )
    close(
        rotate(jnp.array([jnp.pi / 12]), COUNT),
        [
            [0.9541, 2.2169, 4.0933, 3.8165],
            [3.6958, 5.697, 7.6982, 8.8678],
            [6.8012, 9.3018, 11.303, 13.3042],
            [7.4526, 12.9067, 13.452, 10.3149],
        ],
        1e-4,
    )


def on_every_op(key, images):
    """Each operation with a row per image, and with one row for all."""
    n, size = len(images), images.shape[1:3]
    keys = iter(jax.random.split(key, 2 * len(OPS)))
    return {name: [op.apply(op.draw(next(keys), rows, size), images) for rows in (n, 1)] for name, op in OPS.items()}


@pytest.mark.parametrize("shape", SIZES)
def test_shape_and_dtype_are_kept(shape):
    for outs in jax.eval_shape(on_every_op, jax.random.key(0), images_of(shape)).values():
        assert all(out.shape == (5, *shape) and out.dtype == jnp.float32 for out in outs)


def test_rows_are_drawn_for_each_image():
    same = jnp.asarray(np.repeat(images_of((8, 8, 3), 1), 30, 0))
    for name, (own, shared) in jax.jit(on_every_op)(jax.random.key(0), same).items():
        assert bool(jnp.isfinite(own).all()), name
        assert not bool(jnp.allclose(own, own[:1])), name
        np.testing.assert_allclose(shared, np.repeat(np.asarray(shared)[:1], 30, 0), atol=1e-6, err_msg=name)


IDENTITIES = {
    "color": {"brightness": jnp.zeros(1), "saturation": jnp.ones(1), "contrast": jnp.ones(1)},
    "crop": jnp.zeros((1, 2), jnp.int32),
    "translate": jnp.zeros((1, 2), jnp.int32),
    "flip": jnp.zeros(1, bool),
    "scale": jnp.ones((1, 2)),
    "rotate": jnp.zeros(1),
}


def test_identities_are_exact():
    images = images_of((7, 7, 3))
    outs = jax.jit(lambda params, x: {name: OPS[name].apply(params[name], x) for name in params})(IDENTITIES, images)
    for name, out in outs.items():
        np.testing.assert_array_equal(out, images, err_msg=name)


def test_sampling_agrees_with_map_coordinates():
    shape = (5, 8, 2)
    images = images_of(shape, 3)
    h, w, c = shape
    rows, columns = jax.random.uniform(jax.random.key(1), (2, 3, h, w), minval=-3.0, maxval=max(h, w) + 2.0)
    sample = jax.jit(lambda x, at: jax.scipy.ndimage.map_coordinates(x, at, order=1, mode="constant", cval=0.0))
    expected = np.stack(
        [np.stack([sample(images[i, ..., k], [rows[i], columns[i]]) for k in range(c)], -1) for i in range(3)]
    )
    sampled = jax.jit(bilinear)
    close(sampled(images, rows, columns), expected)
    line, column = rows[:, :, 0], columns[:, 0]
    grid = jnp.broadcast_to(line[:, :, None], (3, h, w)), jnp.broadcast_to(column[:, None], (3, h, w))
    close(jax.jit(separable)(images, line, column), sampled(images, *grid))


@pytest.mark.parametrize("shape", [(1, 6, 1), (6, 1, 2)])
def test_images_of_one_row_or_column_are_sampled(shape):
    images, (h, w, _) = images_of(shape, 2), shape
    rows, columns = (jnp.broadcast_to(at, (1, h, w)) for at in (jnp.arange(h)[:, None] + 0.25, jnp.arange(w) - 0.5))
    close(bilinear(images, rows, columns), separable(images, rows[:, :, 0], columns[:, 0]))


def test_half_a_pixel_outside_is_half_the_edge():
    out = bilinear(COUNT, jnp.full((1, 4, 4), -0.5), jnp.broadcast_to(jnp.arange(4.0)[None, None], (1, 4, 4)))
    close(out[0, 0], [0.5, 1.0, 1.5, 2.0])


def test_crop_moves_whole_pixels_and_fills_with_zeros():
    images = jnp.ones((81, 8, 8, 2)) * 3
    shifts = jnp.stack(jnp.meshgrid(jnp.arange(-4, 5), jnp.arange(-4, 5), indexing="ij"), -1).reshape(-1, 2)
    out = np.asarray(shifted(images, shifts.astype(jnp.int32)))
    for image, (y, x) in zip(out, np.asarray(shifts), strict=True):
        rows, columns = (image != 0).any((1, 2)), (image != 0).any((0, 2))
        assert rows.sum() == 8 - abs(y) and columns.sum() == 8 - abs(x)
        assert (image != 0).sum() == 2 * rows.sum() * columns.sum()
    counted = np.asarray(shifted(COUNT, jnp.array([[1, -2]], jnp.int32)))[0, ..., 0]
    np.testing.assert_array_equal(counted, [[0, 0, 5, 6], [0, 0, 9, 10], [0, 0, 13, 14], [0, 0, 0, 0]])


@pytest.mark.parametrize("side, most", [(8, 1), (32, 4)])
def test_ranges_of_the_draws(side, most):
    size, n = (side, side), 4000

    ops = OPS | {"pad": crop(4)}
    drawn = jax.jit(
        lambda key: {name: ops[name].draw(jax.random.fold_in(key, i), n, size) for i, name in enumerate(ops)}
    )
    draw = drawn(jax.random.key(3)).__getitem__

    shifts = draw("crop")
    assert shifts.dtype == jnp.int32 and set(np.unique(shifts)) == set(range(-most, most + 1))
    assert set(np.unique(draw("pad"))) == set(range(-4, 5))
    translate = draw("translate")
    assert set(np.unique(translate[:, 0])) == {0} and set(np.unique(translate[:, 1])) == set(range(-most, most + 1))
    assert set(np.unique(draw("cutout"))) == set(range(side + 1 - (side // 2) % 2))
    assert abs(float(draw("flip").mean()) - 0.5) < 0.03
    color = draw("color")
    for name, low, high in [("brightness", -0.5, 0.5), ("saturation", 0, 2), ("contrast", 0.5, 1.5)]:
        assert low <= color[name].min() < low + 0.02 and high - 0.02 < color[name].max() <= high
    assert 1 / 1.2 <= draw("scale").min() < 0.84 and 1.19 < draw("scale").max() <= 1.2
    assert 14.9 < float(jnp.abs(jnp.rad2deg(draw("rotate"))).max()) <= 15.0001
    assert abs(float(draw("rotate").mean())) < 0.01


@pytest.mark.parametrize("side", [8, 28])
def test_cutout_zeroes_a_square_clipped_at_the_border(side):
    hole = side // 2
    images = jnp.ones((side + 1, side, side, 1))
    centres = jnp.broadcast_to(jnp.arange(side + 1, dtype=jnp.int32)[:, None], (side + 1, 2))
    out = np.asarray(OPS["cutout"].apply(centres, images))[..., 0]
    for centre, image in enumerate(out):
        expected = len(range(max(0, centre - hole // 2), min(side, centre - hole // 2 + hole)))
        assert (image == 0).sum() == expected**2
        assert hole // 2 <= expected <= hole
        assert (image == 0).all(1).sum() == 0
    assert (out[side // 2] == 0).sum() == hole**2


def test_flip_is_its_own_inverse():
    images = images_of((8, 8, 3))
    flip = functools.partial(OPS["flip"].apply, jnp.array([True, False, True, True, False]))
    np.testing.assert_array_equal(flip(flip(images)), images)
    np.testing.assert_array_equal(flip(images)[0], images[0, :, ::-1])
    np.testing.assert_array_equal(flip(images)[1], images[1])


def test_color_keeps_what_it_should():
    images = images_of((8, 8, 3))
    factor = jnp.array([0.0, 0.5, 1.0, 1.5, 2.0])
    close(saturation(images, factor).mean(3), images.mean(3), 1e-6)
    close(saturation(images, factor)[0], jnp.repeat(images[0].mean(2, keepdims=True), 3, 2), 1e-6)
    close(contrast(images, factor).mean((1, 2, 3)), images.mean((1, 2, 3)), 1e-6)
    close(contrast(images, factor)[4] - images[4].mean(), 2 * (images[4] - images[4].mean()), 1e-5)
    close(brightness(images, factor) - images, jnp.broadcast_to(factor[:, None, None, None], images.shape), 1e-6)
    grey = images_of((8, 8, 1))
    np.testing.assert_array_equal(saturation(grey, factor), grey)
    params = {"brightness": factor, "saturation": factor, "contrast": factor}
    close(OPS["color"].apply(params, images), contrast(saturation(brightness(images, factor), factor), factor), 0)


@pytest.mark.parametrize("name, rows", [*((name, 2) for name in OPS), ("rotate", 1)])
def test_gradients(name, rows):
    with jax.enable_x64(True):
        images = jnp.asarray(np.random.default_rng(1).normal(size=(2, 6, 6, 2)))
        params = OPS[name].draw(jax.random.key(2), rows, (6, 6))
        apply = jax.jit(lambda x: jnp.sin(OPS[name].apply(params, jnp.asarray(x))))
        assert apply(images).dtype == jnp.float64
        check_grads(apply, (images,), order=1, modes=["rev"], atol=1e-5, rtol=1e-5)
