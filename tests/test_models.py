"""What the networks compute, on sizes that take no time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import models, trees
from ddjax.models import layers

TINY = {"width": 4}
# most of the time here goes into compiling, and it is halved without LLVM's optimisations
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
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


@functools.cache
def small(name="convnet", shape=(8, 8, 3), classes=3, **options):
    """A network with parameters of the right scale; compiling one's own initialisers takes longer than its gradient."""
    model = models.build(name, shape, classes, **options)
    draw = np.random.default_rng(0)

    def fill(path, leaf):
        if path[0].key == "batch_stats" or path[-1].key == "scale":
            return jnp.asarray(np.full(leaf.shape, 0.0 if path[-1].key == "mean" else 1.0, np.float32))
        fan_in = np.prod(leaf.shape[:-1]) if path[-1].key == "kernel" else 100
        return jnp.asarray(draw.normal(0, fan_in**-0.5, leaf.shape), jnp.float32)

    return model, jax.tree.map_with_path(fill, jax.eval_shape(model.init, jax.random.key(0)))


def images_of(shape, n=2, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)), jnp.float32)


def ones(n):
    return jnp.asarray(np.ones(n, np.float32))


def close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "shape", "options"), FAMILIES, ids=[f[0] for f in FAMILIES])
def test_each_family(name, shape, options):
    (model, params), images = small(name, shape, **options), images_of(shape)

    @jit
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


def test_images_do_not_see_each_other():
    model, params = small(**TINY)
    images = images_of((8, 8, 3), n=4)
    apply = jit(model.apply)
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


def test_a_pool_is_a_vmap():
    model, params = small(**TINY)
    pool, images = trees.stack([params, jax.tree.map(lambda p: 2 * p, params)]), images_of((8, 8, 3))
    together = jit(jax.vmap(model.apply, (0, None)))(pool, images)
    close(together, np.stack([jit(model.apply)(trees.take(pool, i), images) for i in range(2)]))
    assert not np.allclose(together[0], together[1])


def test_double_precision_when_given():
    with jax.enable_x64(True):
        model, params = small(activation="softplus", **TINY)
        images = images_of((8, 8, 3)).astype(jnp.float64)
        double, apply = jax.tree.map(lambda p: p.astype(jnp.float64), params), jit(model.apply)
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


def test_a_bias_before_instance_norm_is_lost():
    model, params = small(**TINY)
    images = images_of((8, 8, 3))
    features = jit(model.features)
    for layer in ("conv_0", "conv_1"):
        moved = {**params, layer: {**params[layer], "bias": params[layer]["bias"] + 0.7}}
        close(features(moved, images), features(params, images))


def test_grey_28_is_padded_to_32():
    images = images_of((28, 28, 1))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for name, options in [("convnet", {**TINY, "norm": "none"}), ("lenet", {}), ("alexnet", TINY)]:
        model, params = small(name, (28, 28, 1), **options)
        wide, _ = small(name, (32, 32, 1), **options)
        close(jit(model.features)(params, images), jit(wide.features)(params, jnp.asarray(padded)))


@pytest.mark.parametrize(("side", "same"), [(32, True), (64, False)])
def test_vgg_keeps_a_corner_or_the_mean(side, same):
    shape, images = (side, side, 3), images_of((side, side, 3))
    (corner, params), (mean, _) = (small("vgg11", shape, width=2, last=last) for last in ("corner", "mean"))
    # a 1x1 map is its corner and its mean
    assert np.allclose(jit(corner.features)(params, images), jit(mean.features)(params, images)) == same


def test_wrong_images_are_refused():
    model, params = small(**TINY)
    with pytest.raises(ValueError, match=r"shape \['n', 8, 8, 3\]; got float32\[2, 8, 8, 1\]"):
        model.apply(params, images_of((8, 8, 1)))
    with pytest.raises(ValueError, match=r"got uint8.*Preprocess"):
        model.train(params, jnp.zeros((2, 8, 8, 3), jnp.uint8), ones(2))


class TestInit:
    @staticmethod
    @functools.cache
    def params(name, **options):
        params = jit(models.build(name, (8, 8, 3), 10, **options).init)(jax.random.key(0))
        return jax.tree.map(np.asarray, params)

    @pytest.mark.parametrize("layer", ["conv_0", "conv_1", "head"])
    def test_torch(self, layer):
        params = self.params("convnet", width=64)
        kernel, bias = params[layer]["kernel"], params[layer]["bias"]
        bound = kernel[..., 0].size ** -0.5
        for values in (kernel, bias):
            assert np.abs(values).max() <= bound
            assert np.abs(values).max() > 0.6 * bound
        close(kernel.std() / bound, 3**-0.5, 0.03)

    def test_norm_starts_as_identity(self):
        params = self.params("convnet", width=64)
        assert (params["norm_0"]["scale"] == 1).all()
        assert (params["norm_0"]["bias"] == 0).all()

    @pytest.mark.parametrize("layer", ["conv_0", "conv_1", "head"])
    def test_lecun(self, layer):
        params = self.params("convnet_rcig", width=32)
        kernel = params[layer]["kernel"]
        close(kernel.std() * kernel[..., 0].size ** 0.5, 1, 0.1)
        assert not params[layer]["bias"].any()

    def test_he_counts_the_fan_out(self):
        params = layers.Conv(64, 3, use_bias=False, scheme="he").init(jax.random.key(0), jnp.zeros((1, 4, 4, 32)))
        assert set(params["params"]) == {"kernel"}
        close(params["params"]["kernel"].std() * (9 * 64 / 2) ** 0.5, 1, 0.03)

    def test_members_of_a_pool_differ(self):
        model = models.build("mlp", (2, 2, 1), 3, width=4, depth=1)
        pool = jax.tree.map(np.asarray, jax.vmap(model.init)(jax.random.split(jax.random.key(3), 2)))
        assert (pool["head"]["kernel"][0] != pool["head"]["kernel"][1]).all()
        alone = model.init(jax.random.split(jax.random.key(3), 2)[0])
        jax.tree.map(np.testing.assert_array_equal, trees.take(pool, 0), alone)


class TestBatchNorm:
    shape = (8, 8, 3)

    @pytest.fixture
    def net(self):
        return small("convnet", self.shape, norm="batch", **TINY)

    def test_padding_is_not_seen(self, net):
        model, params = net
        images, train = images_of(self.shape, n=4), jit(model.train)
        logits, moved = train(params, images[:3], ones(3))
        padded, moved_padded = train(params, images.at[3].set(1e3), jnp.array([1.0, 1, 1, 0]))
        close(padded[:3], logits)
        jax.tree.map(close, moved_padded, moved)

    def test_training_moves_only_statistics(self, net, compiled):
        model, params = net
        _, moved = compiled(model.train)(params, images_of(self.shape), ones(2))
        assert jax.tree.structure(moved) == jax.tree.structure(params)
        (before, stats), (after, new) = models.split_stats(params), models.split_stats(moved)
        jax.tree.map(np.testing.assert_array_equal, before, after)
        pairs = zip(jax.tree.leaves(stats), jax.tree.leaves(new), strict=True)
        assert all((np.asarray(a) != np.asarray(b)).any() for a, b in pairs)
        assert set(before) == {"conv_0", "norm_0", "conv_1", "norm_1", "head"}

    def test_test_mode_reads_the_statistics(self, net):
        model, params = net
        images, train, apply = images_of(self.shape), jit(model.train), jit(model.apply)
        before = np.asarray(apply(params, images))
        close(before, np.concatenate([apply(params, images[i : i + 1]) for i in range(2)]))
        for _ in range(100):  # the running statistics settle on this batch
            logits, params = train(params, images, ones(2))
        close(apply(params, images), logits, 1e-2)
        assert not np.allclose(before, logits, atol=1e-2)

    def test_nothing_but_padding_changes_nothing(self, net):
        model, params = net
        logits, moved = jit(model.train)(params, images_of(self.shape), 0 * ones(2))
        assert np.isfinite(logits).all()
        jax.tree.map(np.testing.assert_array_equal, moved, params)

    def test_statistics_carry_no_gradient(self, net):
        model, params = net
        images = images_of(self.shape)

        def of_statistics(params, images):
            _, moved = model.train(params, images, ones(2))
            return sum(leaf.sum() for leaf in jax.tree.leaves(models.split_stats(moved)[1]))

        def of_logits(params, images):
            return (model.train(params, images, ones(2))[0] ** 2).sum()

        def gradients(loss):
            return jax.tree.map(np.asarray, jit(jax.grad(loss, (0, 1)))(params, images))

        assert not any(g.any() for g in jax.tree.leaves(gradients(of_statistics)))
        grads, image_grads = gradients(of_logits)
        trained, stats = models.split_stats(grads)
        assert not any(g.any() for g in jax.tree.leaves(stats))
        assert trained["conv_0"]["kernel"].any()
        assert image_grads.any()

    def test_split_and_merge_are_inverse(self, net):
        trainable, stats = models.split_stats(net[1])
        assert "batch_stats" not in trainable
        assert jax.tree.structure(models.merge_stats(trainable, stats)) == jax.tree.structure(net[1])
