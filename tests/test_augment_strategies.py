import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ddjax.augment import AUGMENTATIONS, OPS, crop_flip, diffaug, dsa
from ddjax.models.specification import equations

EVERY = "color_crop_cutout_flip_scale_rotate"


def images_of(shape=(8, 8, 3), n=6, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_keeps_shape_and_is_a_function_of_its_keys(name):
    augment, images = AUGMENTATIONS[name](), images_of((8, 8, 1), 3)
    augment = jax.jit(chex.assert_max_traces(lambda k, x, o, f=augment: f(k, x, o), n=1))

    def run(seed, op_seed):
        return augment(jax.random.key(seed), images, jax.random.key(op_seed))

    out = run(0, 1)
    assert out.shape == images.shape and out.dtype == jnp.float32 and bool(jnp.isfinite(out).all())
    np.testing.assert_array_equal(out, run(0, 1))
    assert (name == "none") != any(bool((run(seed, 1) != out).any()) for seed in range(1, 6))


@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 64, 3)])
@pytest.mark.parametrize("name", ["dsa", "dance_eval", "rcig", "crop_flip"])
def test_shapes_of_other_sizes(name, shape):
    out = jax.eval_shape(AUGMENTATIONS[name](), jax.random.key(0), images_of(shape, 3))
    assert out.shape == (3, *shape) and out.dtype == jnp.float32


@pytest.mark.slow
def test_compiled_or_not_and_padded_or_not():
    augment = dsa()
    out = jax.jit(augment)(jax.random.key(0), images_of())
    np.testing.assert_allclose(augment(jax.random.key(0), images_of()), out, atol=1e-4)
    padded = jax.jit(augment)(jax.random.key(0), jnp.concatenate([images_of(), jnp.zeros((2, 8, 8, 3))]))
    np.testing.assert_allclose(padded[:6], out, atol=1e-5)  # rows keep their draws in a padded batch


def test_gradients_reach_the_images():
    augment = AUGMENTATIONS["dance_eval"]()
    with jax.enable_x64(True):
        images = jnp.asarray(np.random.default_rng(1).normal(size=(2, 6, 6, 2)))
        run = jax.jit(lambda x: jnp.sin(augment(jax.random.key(0), jnp.asarray(x))))
        check_grads(run, (images,), order=1, modes=["rev"], atol=1e-5, rtol=1e-5)


def branches(jaxpr, count):
    """What chooses among `count` alternatives: the primitive and the shape of the index."""
    found = []
    for equation in equations(jaxpr):
        name, index = equation.primitive.name, equation.invars[0].aval.shape if equation.invars else ()
        if name == "cond" and len(equation.params["branches"]) == count:
            found.append((name, index))
        if name == "select_n" and len(equation.invars) == count + 1:
            found.append((name, index))
    return found


def switch_of(augment, shared):
    def run(keys, op_key, images):
        axes = (0, None if shared else 0, None)
        return jax.vmap(lambda k, o, x: augment(k, x, o), axes)(keys, op_key, images)

    op_key = jax.random.key(1) if shared else jax.random.split(jax.random.key(1), 4)
    return jax.make_jaxpr(run)(jax.random.split(jax.random.key(0), 4), op_key, images_of()).jaxpr


@pytest.mark.parametrize("augment, count", [(dsa(), 6), (diffaug(EVERY, per_sample=True), 3)])
def test_only_the_drawn_operation_runs_under_a_vmap_over_students(augment, count):
    assert branches(switch_of(augment, shared=True), count) == [("cond", ())]
    unshared = branches(switch_of(augment, shared=False), count)  # or the line above could not fail
    assert unshared and {name for name, _ in unshared} == {"select_n"}


def test_a_shared_operation_key_means_one_operation_with_parameters_per_student():
    keys, images, augment = jax.random.split(jax.random.key(0), 3), images_of(n=4), dsa("crop_flip_scale")
    together = jax.jit(jax.vmap(lambda k, o: augment(k, images, o), (0, None)))(keys.copy(), jax.random.key(2))
    apart = [jax.jit(augment)(k, images, jax.random.key(2)) for k in keys]
    np.testing.assert_allclose(together, jnp.stack(apart), atol=1e-5)
    assert bool((together[0] != together[1]).any())


def test_a_vmap_over_operation_keys_agrees_with_single_calls():
    augment, images = dsa(), images_of(n=4)
    draws = jax.random.split(jax.random.key(0), 12).reshape(2, 6)
    together = jax.jit(jax.vmap(lambda k, o: augment(k, images, o)))(*draws.copy())
    apart = [jax.jit(augment)(k, images, o) for k, o in zip(*draws, strict=True)]
    np.testing.assert_allclose(together, jnp.stack(apart), atol=1e-5)


def test_dsa_draws_one_operation_per_batch_uniformly():
    # ones: crop leaves zeros at the border only, cutout inside too, brightness moves every pixel, flip moves none
    images = jnp.ones((8, 8, 8, 1))
    augment, draws = dsa("color_cutout_flip"), jax.random.split(jax.random.key(0), 6000).reshape(2, 3000)
    out = np.asarray(jax.jit(jax.vmap(lambda k, o: augment(k, images, o)))(*draws))
    cut = (out == 0).any((2, 3, 4))
    color = (np.abs(out - 1) > 1e-6).all((2, 3, 4))
    assert (cut == cut[:, :1]).all() and (color == color[:, :1]).all()  # the operation is the batch's
    rates = np.array([cut[:, 0].mean(), color[:, 0].mean(), 1 - cut[:, 0].mean() - color[:, 0].mean()])
    assert np.abs(rates - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 3000)
    colored = out[color[:, 0]]
    assert (colored[:, 0].mean((1, 2, 3)) != colored[:, 1].mean((1, 2, 3))).all()  # the parameters are not


def test_strategies_are_read():
    both = diffaug("color_crop_cutout")
    assert both.always == ("color", "cutout") and both.choices == ("crop",)
    full = diffaug(EVERY)
    assert full.always == ("flip", "color", "cutout") and full.choices == ("crop", "scale", "rotate")
    for wrong, message in [("color_corp", "Did you mean 'crop'"), ("", "''"), ("crop_crop", "twice")]:
        with pytest.raises(ValueError, match=message):
            diffaug(wrong)
        with pytest.raises(ValueError, match=message):
            dsa(wrong)


@pytest.mark.parametrize(
    "strategy, tolerance",
    [("crop_cutout_flip", 0), ("color_scale_rotate", 1e-5)],
)
def test_siamese_draw_treats_both_batches_alike(strategy, tolerance):
    # where pixels only move the two are bitwise equal; sums and products XLA rounds by the length of the batch
    augment = diffaug(strategy)
    apply = jax.jit(augment.apply)
    real, distilled = images_of((16, 16, 3), 7), images_of((16, 16, 3), 3, seed=1)
    both = jnp.concatenate([real, distilled])
    params = jax.jit(augment.draw, static_argnums=(1, 2))(jax.random.key(0), 1, (16, 16))
    assert all(leaf.shape[:1] in [(), (1,)] for leaf in jax.tree.leaves(params))
    for choice in range(len(augment.choices)):
        shared = params | {"choice": jnp.int32(choice)}
        together = apply(shared, both)
        np.testing.assert_allclose(together[7:], apply(shared, distilled), atol=tolerance, rtol=0)
        np.testing.assert_allclose(together[:7], apply(shared, real), atol=tolerance, rtol=0)


@pytest.mark.parametrize("per_sample", [False, True])
def test_one_row_for_the_batch_or_one_per_sample(per_sample):
    augment, same = diffaug("color_scale", per_sample), jnp.asarray(np.repeat(images_of(n=1), 6, 0))
    called = jax.jit(augment)(jax.random.key(0), same)
    assert bool(jnp.allclose(called, called[:1], atol=1e-5)) != per_sample


def test_diffaug_applies_its_operations_in_order():
    augment = diffaug("cutout_crop_color_flip", per_sample=True)

    def both(key, images):
        params = augment.draw(key, 6, (8, 8))
        expected = images
        for name in ("flip", "color", "crop", "cutout"):
            expected = OPS[name].apply(params[name], expected)
        return augment.apply(params, images), expected

    np.testing.assert_allclose(*jax.jit(both)(jax.random.key(0), images_of()), atol=1e-6)


def test_one_choice_per_batch_uniformly():
    augment = diffaug("crop_scale_rotate", per_sample=True)
    draw, apply = jax.jit(augment.draw, static_argnums=(1, 2)), jax.jit(augment.apply)
    keys = jax.random.split(jax.random.key(0), 3000)
    choice = jax.jit(jax.vmap(lambda k: augment.draw(k, 1, (8, 8))["choice"]))(keys)
    rates = np.bincount(choice, minlength=3) / 3000
    assert len(rates) == 3 and np.abs(rates - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 3000)
    params = draw(jax.random.key(1), 6, (8, 8))
    for i, name in enumerate(augment.choices):
        expected = jax.jit(OPS[name].apply)(params[name], images_of())
        np.testing.assert_allclose(apply(params | {"choice": jnp.int32(i)}, images_of()), expected, atol=1e-6)


def test_zeros_stay_zeros_where_only_zeros_move_in():
    augment = jax.jit(diffaug("crop_cutout_scale_rotate", True))
    for seed in range(5):
        assert not augment(jax.random.key(seed), jnp.zeros((5, 8, 8, 3))).any()


@pytest.mark.parametrize("flip", [True, False])
def test_crop_flip(flip):
    images = jnp.broadcast_to(jnp.arange(1.0, 33.0)[None, None, :, None], (64, 32, 32, 1))
    out = np.asarray(jax.jit(crop_flip(flip=flip))(jax.random.key(0), images))
    rising = np.array([np.diff(row[row > 0]).mean() > 0 for row in out[:, 16, :, 0]])
    assert 0.25 < rising.mean() < 0.75 if flip else rising.all()
    outside = (out == 0).sum((1, 2, 3))
    assert outside.max() <= 32 * 32 - 28 * 28 and outside.min() < outside.max()
