"""What the networks compute, on sizes that take no time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import TINY, close, images_of, ones, small

from ddjax import models, trees

# one small member of each family: name, image shape, options
FAMILIES = [
    ("convnet", (8, 8, 3), TINY),
    ("convnet_rcig", (8, 8, 1), {**TINY, "activation": "softplus"}),
    ("resnet10_dance", (8, 8, 3), TINY),
    ("resnet_ap10", (16, 16, 3), TINY),
    ("vgg11", (32, 32, 3), {"width": 2}),
    ("alexnet", (8, 8, 3), TINY),
    ("densenet", (8, 8, 3), {"blocks": (1, 2), "growth": 2}),
    ("mlp", (8, 8, 3), {"width": 16}),
    ("lenet", (28, 28, 1), {}),
]


@pytest.mark.parametrize(("name", "shape", "options"), FAMILIES, ids=[f[0] for f in FAMILIES])
def test_each_family(name, shape, options):
    (model, params), images = small(name, shape, **options), images_of(shape)

    @jax.jit
    def everything(params, images):
        def loss(params, images):
            logits, features = model.apply(params, images), model.features(params, images)
            return (logits**2).sum(), (logits, features)

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, images)

    (_, (logits, features)), (grads, image_grads) = jax.tree.map(np.asarray, everything(params, images))
    head = jax.tree.map(np.asarray, params["head"])
    close(logits, features @ head["kernel"] + head["bias"])
    assert all(np.isfinite(g).all() for g in jax.tree.leaves((grads, image_grads)))
    assert np.abs(image_grads).sum((1, 2, 3)).all()  # each image counts
    trainable, stats = models.split_stats(grads)
    assert not any(s.any() for s in jax.tree.leaves(stats))
    assert all(g.any() for path, g in jax.tree.leaves_with_path(trainable) if path[-1].key == "kernel")


def test_convnet_is_its_formula(compiled):
    model, params = small(depth=1, **TINY)
    images = images_of((8, 8, 3))
    params = {**params, "norm_0": {"scale": jnp.array([1.5, 1, -1, 2]), "bias": jnp.array([0.3, 0, 0.5, -1])}}
    conv, norm, head = (jax.tree.map(np.asarray, params[name]) for name in ("conv_0", "norm_0", "head"))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (1, 2))
    z = np.einsum("nhwcij,ijco->nhwo", windows, conv["kernel"]) + conv["bias"]
    z = (z - z.mean((1, 2), keepdims=True)) / np.sqrt(z.var((1, 2), keepdims=True) + 1e-5)
    z = np.maximum(z * norm["scale"] + norm["bias"], 0)
    z = z.reshape(2, 4, 2, 4, 2, 4).mean((2, 4)).reshape(2, -1)
    close(compiled(model.features)(params, images), z)
    close(compiled(model.apply)(params, images), z @ head["kernel"] + head["bias"])


def test_images_of_a_batch_are_independent():
    model, params = small(**TINY)
    images = images_of((8, 8, 3), n=4)
    apply = jax.jit(model.apply)
    close(apply(params, images), np.concatenate([apply(params, images[i : i + 1]) for i in range(4)]), 1e-6)


def test_train_is_apply_without_batch_norm():
    model, params = small(**TINY)
    images = images_of((8, 8, 3))
    logits, after = model.train(params, images, jnp.array([1.0, 0.0]))
    close(logits, model.apply(params, images), 1e-6)
    assert after is params
    trainable, stats = models.split_stats(params)
    assert stats == {}
    assert models.merge_stats(trainable, stats) is params


def test_a_vmapped_pool_equals_its_members():
    model, params = small(**TINY)
    pool, images = trees.stack([params, jax.tree.map(lambda p: 2 * p, params)]), images_of((8, 8, 3))
    together = jax.jit(jax.vmap(model.apply, (0, None)))(pool, images)
    close(together, np.stack([jax.jit(model.apply)(trees.take(pool, i), images) for i in range(2)]))
    assert not np.allclose(together[0], together[1])


def test_double_precision_when_given():
    with jax.enable_x64(True):
        model, params = small(activation="softplus", **TINY)
        images = images_of((8, 8, 3)).astype(jnp.float64)
        double, apply = jax.tree.map(lambda p: p.astype(jnp.float64), params), jax.jit(model.apply)
        logits = apply(double, images)
        assert logits.dtype == jnp.float64
        close(apply(params, images), logits, 1e-12)  # the wider of the two dtypes decides
        single = apply(params, images.astype(jnp.float32))
        assert single.dtype == jnp.float32
        close(single, logits, 1e-4)


@pytest.mark.parametrize(("name", "shape", "options"), FAMILIES)
@pytest.mark.parametrize("norm", [None, "batch"])
def test_parameters_are_float32_also_where_jax_knows_doubles(name, shape, options, norm):
    """All of them: a network whose biases are of another dtype than its kernels has no flat vector."""
    if norm and name in ("mlp", "lenet", "alexnet"):
        pytest.skip("has no norm")
    model = models.build(name, shape, 3, **options, **({"norm": norm} if norm else {}))
    with jax.enable_x64(True):
        params = jax.eval_shape(model.init, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_instance_norm_cancels_a_convolution_bias():
    model, params = small(**TINY)
    images = images_of((8, 8, 3))
    features = jax.jit(model.features)
    for layer in ("conv_0", "conv_1"):
        moved = {**params, layer: {**params[layer], "bias": params[layer]["bias"] + 0.7}}
        close(features(moved, images), features(params, images))


def test_grey_28_is_padded_to_32():
    images = images_of((28, 28, 1))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for name, options in [("convnet", {**TINY, "norm": "none"}), ("lenet", {}), ("alexnet", TINY)]:
        model, params = small(name, (28, 28, 1), **options)
        wide, _ = small(name, (32, 32, 1), **options)
        close(jax.jit(model.features)(params, images), jax.jit(wide.features)(params, jnp.asarray(padded)))


@pytest.mark.slow
@pytest.mark.parametrize(("side", "same"), [(32, True), (64, False)])
def test_vgg_keeps_a_corner_or_the_mean(side, same):
    shape, images = (side, side, 3), images_of((side, side, 3))
    (corner, params), (mean, _) = (small("vgg11", shape, width=2, last=last) for last in ("corner", "mean"))
    # a 1x1 map is its corner and its mean
    assert np.allclose(jax.jit(corner.features)(params, images), jax.jit(mean.features)(params, images)) == same


def test_wrong_images_are_refused():
    model, params = small(**TINY)
    with pytest.raises(ValueError, match=r"shape \['n', 8, 8, 3\]; got float32\[2, 8, 8, 1\]"):
        model.apply(params, images_of((8, 8, 1)))
    with pytest.raises(ValueError, match=r"got uint8.*Preprocess"):
        model.train(params, jnp.zeros((2, 8, 8, 3), jnp.uint8), ones(2))
