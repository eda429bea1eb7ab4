import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ddjax.augment import one_per_image, rcig_augment

EVERY = ("flip", "color", "crop", "rotate", "translate", "cutout")


def images_of(shape=(8, 8, 3), n=6, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32))


def drawn(n=600, ops=EVERY, side=32, seed=0):
    return jax.jit(one_per_image.draw, static_argnums=(0, 2, 3))(ops, jax.random.key(seed), n, (side, side))


def test_exactly_one_operation_per_image():
    params = drawn()
    kinds = np.array(EVERY)[np.asarray(params.op)]
    warped = (np.asarray(params.affine) != np.eye(2, 3)[None]).any((1, 2))
    colored = (np.asarray(params.color) != [0, 1, 1]).any(1)
    holed = np.asarray(params.hole)[:, 2] > 0
    assert (warped.astype(int) + colored + holed <= 1).all()
    np.testing.assert_array_equal(colored, kinds == "color")
    np.testing.assert_array_equal(holed, kinds == "cutout")
    np.testing.assert_array_equal(warped & (kinds != "flip"), np.isin(kinds, ["crop", "rotate", "translate"]))
    assert (warped & ~np.isin(kinds, ["flip", "crop", "rotate", "translate"])).sum() == 0
    assert 0.3 < warped[kinds == "flip"].mean() < 0.7


def test_operations_are_uniform():
    rates = np.bincount(drawn(6000).op, minlength=6) / 6000
    assert np.abs(rates - 1 / 6).max() < 4 * np.sqrt(5 / 36 / 6000)


def test_identity_rows_leave_images_bitwise_alone():
    shape = (7, 8, 3)
    n = 4
    nothing = one_per_image.OnePerImage(
        op=jnp.zeros(n, jnp.int32),
        affine=jnp.broadcast_to(jnp.eye(2, 3)[None], (n, 2, 3)),
        color=jnp.broadcast_to(jnp.array([[0.0, 1.0, 1.0]]), (n, 3)),
        hole=jnp.zeros((n, 3), jnp.int32),
    )
    images = images_of(shape, n)
    np.testing.assert_array_equal(jax.jit(one_per_image.apply)(nothing, images), images)


def test_ranges():
    n = 3000
    hole = np.asarray(drawn(n, ("cutout",)).hole)
    assert (hole[:, 2] == 8).all() and hole[:, :2].min() == 0 and hole[:, :2].max() == 32 - 8
    color = np.asarray(drawn(n, ("color",)).color)
    for column, low, high in [(0, -0.25, 0.25), (1, np.exp(-0.25), np.exp(0.25)), (2, np.exp(-0.25), np.exp(0.25))]:
        assert low <= color[:, column].min() < low + 0.01 and high - 0.01 < color[:, column].max() <= high + 1e-6
    assert abs(np.log(color[:, 1]).mean()) < 0.02
    crop = np.asarray(drawn(n, ("crop",)).affine)
    zoom = 1 / crop[:, 0, 0]
    assert zoom.min() >= 0.8 - 1e-6 and zoom.max() <= 1.25 + 1e-6 and abs(np.log(zoom).mean()) < 0.02
    assert (crop[:, 0, 0] == crop[:, 1, 1]).all() and (crop[:, 0, 1] == 0).all()
    shift = crop[:, :, 2] * zoom[:, None]
    assert (np.abs(shift) <= np.abs(zoom - 1)[:, None] * 16 + 1e-5).all() and np.abs(shift).max() > 3
    rotate = np.asarray(drawn(n, ("rotate",)).affine)
    assert 14.9 < np.degrees(np.abs(np.arcsin(rotate[:, 0, 1]))).max() <= 15.0001
    np.testing.assert_allclose(np.linalg.det(rotate[:, :, :2]), 1, atol=1e-6)
    translate = np.asarray(drawn(n, ("translate",)).affine)
    assert 3.9 < np.abs(translate[:, :, 2]).max() <= 4


def test_cutout_zeroes_its_square_exactly():
    for side in (8, 28):
        out = jax.jit(rcig_augment(("cutout",)))(jax.random.key(0), jnp.ones((20, side, side, 3)))
        np.testing.assert_array_equal((out == 0).sum((1, 2, 3)), np.full(20, (side // 4) ** 2 * 3))


def test_flip_is_exact_half_the_time():
    images = images_of((32, 32, 3), 200)
    out = jax.jit(rcig_augment(("flip",)))(jax.random.key(0), images)
    mirrored = (out == images[:, :, ::-1]).all((1, 2, 3))
    assert bool((mirrored | (out == images).all((1, 2, 3))).all()) and 0.35 < float(mirrored.mean()) < 0.65


def test_warps_replicate_the_edge():
    constant = jnp.full((30, 16, 16, 2), 2.5)
    out = jax.jit(rcig_augment(("crop", "rotate", "translate")))(jax.random.key(0), constant)
    np.testing.assert_allclose(out, constant, rtol=1e-6)
    ramp = jnp.broadcast_to(jnp.arange(16.0)[None, None, :, None], (1, 16, 16, 1))
    affine = jnp.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.5]]])
    params = one_per_image.OnePerImage(op=jnp.zeros(1, jnp.int32), affine=affine, color=None, hole=None)
    moved = jax.jit(one_per_image.apply)(params, ramp)[0, 3, :, 0]
    np.testing.assert_allclose(moved, np.minimum(np.arange(16) + 1.5, 15), atol=1e-5)


def test_matrices_agree_with_nearest_neighbour_map_coordinates():
    images = images_of((9, 9, 1), 12)
    params = drawn(12, ("crop", "rotate", "translate"), side=9)
    out = jax.jit(one_per_image.apply)(params, images)
    nearest = jax.jit(lambda x, at: jax.scipy.ndimage.map_coordinates(x, list(at), order=1, mode="nearest"))
    y, x = np.meshgrid(np.arange(9) - 4.0, np.arange(9) - 4.0, indexing="ij")
    for image, matrix, result in zip(images, np.asarray(params.affine), out, strict=True):
        at = np.einsum("ab,bij->aij", matrix, np.stack([y, x, np.ones_like(y)])) + 4
        at = jnp.asarray(np.clip(at, 0, 8), jnp.float32)
        expected = nearest(image[..., 0], at)
        np.testing.assert_allclose(result[..., 0], expected, atol=1e-5)


def test_images_are_augmented_on_their_own():
    same = jnp.asarray(np.repeat(images_of(n=1), 30, 0))
    out = jax.jit(rcig_augment())(jax.random.key(0), same)
    assert len({image.tobytes() for image in np.asarray(out)}) > 20


def test_gradients_of_every_operation():
    with jax.enable_x64(True):
        images = jnp.asarray(np.random.default_rng(1).normal(size=(24, 6, 6, 2)))
        params = drawn(24, side=6)
        assert set(np.unique(params.op)) == set(range(6))
        apply = jax.jit(lambda x: jnp.sin(one_per_image.apply(params, jnp.asarray(x))))
        assert apply(images).dtype == jnp.float64
        check_grads(apply, (images,), order=1, modes=["rev"], atol=1e-5, rtol=1e-5)


def test_errors():
    with pytest.raises(ValueError, match="Did you mean 'rotate'"):
        rcig_augment(("crop", "rotat"))
    with pytest.raises(ValueError, match="at least one"):
        rcig_augment(())
    with pytest.raises(ValueError, match="each once"):
        rcig_augment(("crop", "crop"))
