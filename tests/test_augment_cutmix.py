import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from ddjax.augment.cutmix import cutmix, partners, paste

jitted_paste = jax.jit(paste)
always = jax.jit(functools.partial(cutmix, probability=1.0))


def batch(n=6, shape=(8, 8, 3), k=4, seed=0):
    rng = np.random.default_rng(seed)
    images, targets = rng.normal(size=(n, *shape)), np.eye(k)[np.arange(n) % k]
    return jnp.asarray(images, jnp.float32), jnp.asarray(targets, jnp.float32)


def ids(n, side=8):
    """Images and targets that say which row they are."""
    rows = np.broadcast_to(np.arange(n)[:, None, None, None], (n, side, side, 1))
    return jnp.asarray(rows, jnp.float32), jnp.asarray(np.eye(n), jnp.float32)


def test_nothing_and_everything():
    images, targets = batch()
    partner = jnp.array([3, 4, 5, 0, 1, 2], jnp.int32)
    half = jnp.full(2, 0.5)
    same, kept = jitted_paste(images, targets, partner, jnp.float32(0), half)
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(kept, targets)
    pasted, exchanged = jitted_paste(images, targets, partner, jnp.float32(1), half)
    np.testing.assert_array_equal(pasted, images[partner])
    np.testing.assert_array_equal(exchanged, targets[partner])


@pytest.mark.parametrize(
    "cut, centre, box", [(0.7, (0.5, 0.5), (4, 4)), (0.7, (0.0, 0.99), (2, 3)), (0.1, (0.5, 0.5), (0, 0))]
)
def test_box_is_even_sided_and_clipped(cut, centre, box):
    images, targets = ids(2)
    pasted, mixed = jitted_paste(images, targets, jnp.array([1, 0], jnp.int32), jnp.float32(cut), jnp.array(centre))
    rows, columns = (pasted[0, ..., 0] == 1).any(1), (pasted[0, ..., 0] == 1).any(0)
    assert (int(rows.sum()), int(columns.sum())) == box
    np.testing.assert_allclose(mixed[0], [1 - np.prod(box) / 64, np.prod(box) / 64], atol=1e-6)


def test_targets_weigh_the_pixels():
    images, targets = ids(5)
    seen = 0
    for seed in range(40):
        pasted, mixed = always(jax.random.key(seed), images, targets)
        share = np.stack([(np.asarray(pasted) == i).mean((1, 2, 3)) for i in range(5)], 1)
        np.testing.assert_allclose(mixed, share, atol=1e-6)
        boxes = [
            frozenset(zip(*np.nonzero(image != own), strict=True))
            for own, image in enumerate(np.asarray(pasted)[..., 0])
        ]
        assert len({box for box in boxes if box}) <= 1  # one box for the batch
        seen += bool(np.asarray(mixed != targets).any())
    assert seen > 20


def test_probability():
    images, targets = ids(4)

    def changed(probability):
        run = jax.vmap(lambda k: (cutmix(k, images, targets, probability=probability)[1] != targets).any())
        return float(jax.jit(run)(jax.random.split(jax.random.key(0), 600)).mean())

    assert changed(0.0) == 0
    half, full = changed(0.5), changed(1.0)
    assert abs(half - full / 2) < 0.08 and full > 0.6


def test_padding_never_enters_a_real_row():
    images, targets = ids(8)
    weights = jnp.array([1.0, 0, 1, 1, 0, 1, 1, 0])
    real = np.asarray(weights) > 0
    for seed in range(30):
        pasted, mixed = always(jax.random.key(seed), images, targets, weights)
        assert not np.isin(np.asarray(pasted)[real], np.flatnonzero(~real)).any()
        assert not np.asarray(mixed)[real][:, ~real].any()
        np.testing.assert_allclose(mixed.sum(1), 1, atol=1e-6)


def test_partners_are_a_uniform_permutation_of_the_real_rows():
    weights = jnp.array([1.0, 1, 0, 1, 0])
    drawn = np.asarray(jax.vmap(lambda k: partners(k, weights))(jax.random.split(jax.random.key(0), 3000)))
    assert (np.sort(drawn, 1) == np.arange(5)).all()
    assert np.isin(drawn[:, [0, 1, 3]], [0, 1, 3]).all() and np.isin(drawn[:, [2, 4]], [2, 4]).all()
    _, counts = np.unique(drawn[:, [0, 1, 3]], axis=0, return_counts=True)
    assert len(counts) == 6 and np.abs(counts / 3000 - 1 / 6).max() < 4 * np.sqrt(5 / 36 / 3000)


def test_a_padded_batch_mixes_like_the_short_one():
    images, targets = batch(8)
    weights = (jnp.arange(8) < 5).astype(jnp.float32)
    for seed in range(5):
        padded = always(jax.random.key(seed), images, targets, weights)
        short = always(jax.random.key(seed), images[:5], targets[:5])
        np.testing.assert_array_equal(padded[0][:5], short[0])
        np.testing.assert_allclose(padded[1][:5], short[1], atol=1e-7)


def test_mixed_targets_give_the_two_term_loss():
    images, targets = batch()
    logits = jax.random.normal(jax.random.key(1), targets.shape)
    partner = jnp.array([1, 2, 3, 4, 5, 0], jnp.int32)
    _, mixed = jitted_paste(images, targets, partner, jnp.float32(0.6), jnp.array([0.3, 0.6]))
    ratio = float(mixed[0, 0])
    assert 0 < ratio < 1
    two = ratio * optax.softmax_cross_entropy(logits, targets)
    two += (1 - ratio) * optax.softmax_cross_entropy(logits, targets[partner])
    np.testing.assert_allclose(optax.softmax_cross_entropy(logits, mixed), two, rtol=1e-5)


def test_size_of_the_boxes():
    # lam uniform and the side floor(32 sqrt(1 - lam)): before clipping the box covers half the image on average
    images, targets = jnp.zeros((2, 32, 32, 1)), jnp.eye(2)
    run = jax.jit(jax.vmap(lambda k: cutmix(k, images, targets, probability=1.0)[1]))
    moved = np.asarray(run(jax.random.split(jax.random.key(0), 2000)))[:, 0, 1]
    partner_differs = 0.5
    rng = np.random.default_rng(0)
    half = (32 * np.sqrt(rng.uniform(size=100_000))).astype(int) // 2
    sides = [np.minimum(c + half, 32) - np.maximum(c - half, 0) for c in rng.integers(0, 32, (2, 100_000))]
    expected = (sides[0] * sides[1]).mean() / 1024 * partner_differs
    assert abs(moved.mean() - expected) < 4 * moved.std() / np.sqrt(2000)


def test_compiled_or_not():
    images, targets = batch()
    out = always(jax.random.key(0), images, targets)
    assert out[0].dtype == images.dtype and out[1].dtype == targets.dtype
    for one, other in zip(out, cutmix(jax.random.key(0), images, targets, probability=1.0), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_gradient():
    with jax.enable_x64(True):
        images = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4, 4, 1)))

        def mixed(x):
            pasted, labels = always(jax.random.key(3), jnp.asarray(x), jnp.eye(3, dtype=jnp.float64))
            return jnp.sin(pasted) * labels[:, :1, None, None]

        check_grads(mixed, (images,), order=1, atol=1e-5, rtol=1e-5)
