"""Initial parameters, and batch norm with its statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import TINY, close, images_of, ones, small

from ddjax import models, trees
from ddjax.models import layers


class TestInit:
    @staticmethod
    @functools.cache
    def params(name, **options):
        params = jax.jit(models.build(name, (8, 8, 3), 10, **options).init)(jax.random.key(0))
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

    def test_batch_statistics_ignore_padding(self, net):
        model, params = net
        images, train = images_of(self.shape, n=4), jax.jit(model.train)
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
        images, train, apply = images_of(self.shape), jax.jit(model.train), jax.jit(model.apply)
        before = np.asarray(apply(params, images))
        close(before, np.concatenate([apply(params, images[i : i + 1]) for i in range(2)]))
        for _ in range(100):  # the running statistics settle on this batch
            logits, params = train(params, images, ones(2))
        close(apply(params, images), logits, 1e-2)
        assert not np.allclose(before, logits, atol=1e-2)

    def test_a_batch_of_padding_changes_nothing(self, net):
        model, params = net
        logits, moved = jax.jit(model.train)(params, images_of(self.shape), 0 * ones(2))
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
            return jax.tree.map(np.asarray, jax.jit(jax.grad(loss, (0, 1)))(params, images))

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
