"""The parts that networks are made of."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import close, images_of, ones

from ddjax.models import layers
from ddjax.models.convolution.conv import conv2d
from ddjax.models.networks.resnet import Block


class TestNorms:
    def run(self, name, x, present=None, momentum=0.9):
        class One(nn.Module):
            @nn.compact
            def __call__(self, x, present):
                return layers.normalize(x, present, layers.Style(norm=name, batch_momentum=momentum), "norm")

        @jax.jit
        def run(x):
            variables = One().init(jax.random.key(0), x, None)
            return One().apply(variables, x, present, mutable=["batch_stats"])

        return jax.tree.map(np.asarray, run(x))

    @pytest.mark.parametrize(("name", "axes"), [("instance", (1, 2)), ("layer", (1, 2, 3)), ("batch", (0, 1, 2))])
    def test_mean_zero_variance_one(self, name, axes):
        x = 3 + 2 * images_of((6, 6, 8), n=3)
        y, _ = self.run(name, x, ones(3))
        close(y.mean(axes), 0)
        close(y.var(axes), 1, 1e-4)

    def test_groups(self):
        y, _ = self.run("group", 3 + 2 * images_of((6, 6, 8), n=3))
        y = y.reshape(3, 36, 4, 2)
        close(y.mean((1, 3)), 0)
        close(y.var((1, 3)), 1, 1e-4)

    def test_variance_does_not_cancel(self):
        x = 1000 + images_of((8, 8, 2))
        y, _ = self.run("instance", x)
        close(y.var((1, 2)), 1, 1e-3)

    def test_none(self):
        x = images_of((4, 4, 2))
        np.testing.assert_array_equal(self.run("none", x)[0], x)

    @pytest.mark.parametrize("momentum", [0.9, 0.1])
    def test_batch_statistics_move(self, momentum):
        x = 3 + 2 * images_of((4, 4, 2), n=5)
        _, moved = self.run("batch", x, jnp.ones(5), momentum)
        stats = moved["batch_stats"]["norm"]
        close(stats["mean"], (1 - momentum) * x.mean((0, 1, 2)))
        close(stats["var"], momentum + (1 - momentum) * x.var((0, 1, 2)))


class TestParts:
    @pytest.mark.parametrize("shape", [(6, 6, 3), (7, 5, 3)])
    @pytest.mark.parametrize(
        ("pool", "reference"), [(layers.average_pool, nn.avg_pool), (layers.max_pool, nn.max_pool)]
    )
    def test_pools_and_their_gradients(self, pool, reference, shape):
        def both(f):
            def loss(x):
                y = f(x)
                return (y**3).sum(), y

            return jax.jit(jax.value_and_grad(loss, has_aux=True))(images_of(shape))

        jax.tree.map(close, both(pool), both(lambda x: reference(x, (2, 2), (2, 2))))

    def test_softplus_is_a_smooth_relu(self):
        z = jnp.asarray(np.linspace(-1, 1, 2001, dtype=np.float32))

        @jax.jit
        def values(z):
            curvature = jax.vmap(jax.grad(jax.grad(lambda z: layers.softplus(z, 60.0))))
            return layers.softplus(z, 60.0), layers.Style(activation="softplus", beta=60.0).activate(z), curvature(z)

        smooth, styled, curvature = map(np.asarray, values(z))
        above = smooth - np.maximum(z, 0)
        assert above.min() >= -1e-7
        close(above.max(), np.log(2) / 60, 1e-6)
        assert above.argmax() == 1000
        close(curvature[1000], 60 / 4)
        assert np.isfinite(curvature).all()
        np.testing.assert_array_equal(styled, smooth)

    @pytest.mark.parametrize(
        ("name", "values"),
        [("relu", [0, 0, 2]), ("leaky", [-0.01, 0, 2]), ("sigmoid", [0.26894142, 0.5, 0.880797])],
    )
    def test_activations(self, name, values):
        close(layers.Style(activation=name).activate(jnp.array([-1.0, 0.0, 2.0])), np.array(values))

    def test_relu_is_flat_at_zero(self):
        assert jax.grad(layers.Style().activate)(0.0) == 0

    def test_unit_rows(self):
        rows = jnp.array([[3.0, 4.0], [0.0, 0.0]])
        close(layers.unit(rows), np.array([[0.6, 0.8], [0.0, 0.0]]))
        gradient = jax.grad(lambda x: layers.unit(x)[:, 0].sum())(rows)  # of an image without features it is zero
        close(gradient, np.array([[0.128, -0.096], [0.0, 0.0]]))

    def test_convolution_is_a_correlation_with_zero_padding(self):
        x, kernel = images_of((4, 4, 2)), images_of((3, 2, 5), n=3, seed=2)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (1, 2))
        y = np.einsum("nhwcij,ijco->nhwo", windows, kernel)
        close(conv2d(x, kernel), y)
        close(conv2d(x, kernel, (2, 2), ((1, 1), (1, 1))), y[:, ::2, ::2])
        close(conv2d(x, kernel, padding="VALID"), y[:, 1:-1, 1:-1])


@pytest.mark.parametrize("averaged", [False, True])
def test_a_block_is_its_formula(averaged):
    x, block = images_of((8, 8, 4)), Block(6, 2, averaged, layers.Style(norm="none"))
    params = jax.jit(lambda x: block.init(jax.random.key(0), x, None)["params"])(x)
    first, second, shortcut = (params[name]["kernel"] for name in ("conv_0", "conv_1", "shortcut_conv"))

    @jax.jit
    def formula(x):
        if averaged:
            y = nn.avg_pool(jax.nn.relu(conv2d(x, first)), (2, 2), (2, 2))
            z = nn.avg_pool(conv2d(x, shortcut), (2, 2), (2, 2))
        else:
            y = jax.nn.relu(conv2d(x, first, (2, 2), ((1, 1), (1, 1))))
            z = conv2d(x[:, ::2, ::2], shortcut)
        return jax.nn.relu(conv2d(y, second) + z)

    close(jax.jit(lambda x: block.apply({"params": params}, x, None))(x), formula(x))
