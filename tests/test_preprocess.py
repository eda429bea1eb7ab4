import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import preprocess
from ddjax.preprocess import SPECS, Spec, apply, fit, invert, whitening


def random_images(n=200, shape=(2, 2, 3), seed=0):
    """Correlated pixels, so that the covariance has a spectrum to speak of."""
    rng = np.random.default_rng(seed)
    d = int(np.prod(shape))
    mixed = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * 20 + 128
    return np.clip(mixed, 0, 255).astype(np.uint8).reshape(n, *shape)


def eigenpairs(x, ddof):
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False, ddof=ddof))
    return values, vectors


@pytest.mark.parametrize("kind", ["absolute", "relative"])
def test_whitening_is_the_direct_eigendecomposition(kind, cache):
    images = random_images()
    p = fit(Spec("it", zca=kind), images)
    x = images.reshape(200, 12) / 255
    values, vectors = eigenpairs(x, ddof=1 if kind == "absolute" else 0)
    ridge = 0.1 if kind == "absolute" else 0.1 * values.mean()
    expected = vectors @ np.diag((values + ridge) ** -0.5) @ vectors.T
    np.testing.assert_allclose(p.zca, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(p.zca_mean, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(p.zca, p.zca.T, atol=1e-6)
    np.testing.assert_allclose(np.asarray(p.zca, np.float64) @ np.asarray(p.zca_inverse), np.eye(12), atol=1e-5)

    white = np.asarray(apply(p, images), np.float64).reshape(200, 12)
    covariance = np.cov(white, rowvar=False, ddof=1 if kind == "absolute" else 0)
    np.testing.assert_allclose(vectors.T @ covariance @ vectors, np.diag(values / (values + ridge)), atol=1e-5)
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-5)


def test_rcig_standardises_before_whitening(cache):
    images = random_images()
    p = fit("rcig", images, "cifar10")
    channels = (images / 255 - [0.4914, 0.4822, 0.4465]) / [0.2470, 0.2435, 0.2616]
    x = channels.reshape(200, 12)
    values, vectors = eigenpairs(x, ddof=0)
    expected = (x - x.mean(0)) @ vectors @ np.diag((values + 0.1 * values.mean()) ** -0.5) @ vectors.T
    np.testing.assert_allclose(apply(p, images).reshape(200, 12), expected, atol=2e-5)


def test_relative_whitening_leaves_directions_beyond_the_images_alone(cache):
    images = random_images(n=5)
    p = fit(Spec("it", zca="relative"), images)
    values = np.linalg.eigvalsh(np.asarray(p.zca, np.float64))
    assert (np.abs(values - 1) < 1e-5).sum() == 12 - 5
    spectrum = np.linalg.eigvalsh(np.cov(images.reshape(5, 12) / 255, rowvar=False, ddof=0))
    ridge = 0.1 * spectrum.mean()
    for value in (spectrum[-5:] + ridge) ** -0.5:
        assert np.abs(values - value).min() < 1e-4 * value
    absolute = fit(Spec("it", zca="absolute"), images)
    assert np.linalg.eigvalsh(absolute.zca)[-7:] == pytest.approx(0.1**-0.5, rel=1e-5)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("shape", [(4, 4, 3), (8, 8, 1)])
def test_invert_undoes_apply(name, shape, cache):
    images = random_images(100, shape)
    p = fit(name, images)
    space = apply(p, images)
    assert space.dtype == jnp.float32 and space.shape == images.shape
    np.testing.assert_allclose(invert(p, space), images / 255, atol=1e-4)
    np.testing.assert_allclose(jax.jit(invert)(p, space), invert(p, space), atol=1e-6)
    assert p.name == name and p.fingerprint.startswith(name)


def test_invert_passes_gradients(cache):
    p = fit("rcig", random_images())
    inverse = np.asarray(p.zca_inverse) * np.tile(np.asarray(p.std), 4)[None]
    gradient = jax.grad(lambda x: invert(p, x)[0, 1, 0, 2])(jnp.zeros((1, 2, 2, 3)))
    np.testing.assert_allclose(gradient.ravel(), inverse[:, 8], rtol=1e-5, atol=1e-7)


def test_whitening_commutes_with_a_permutation_of_features(cache):
    images = random_images()
    order = np.random.default_rng(1).permutation(12)
    shuffled = images.reshape(200, 12)[:, order].reshape(200, 2, 2, 3)
    plain, moved = fit("datm", images), fit("datm", shuffled)
    expected = apply(plain, images).reshape(200, 12)[:, order]
    np.testing.assert_allclose(apply(moved, shuffled).reshape(200, 12), expected, atol=1e-4)


def test_pieces_change_nothing(cache, monkeypatch, tmp_path):
    images = random_images(101)
    whole = fit("rcig", images, cache=False)
    monkeypatch.setattr(whitening, "_ROWS", 7)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    pieces = fit("rcig", mapped, cache=False)
    assert pieces.fingerprint == whole.fingerprint
    np.testing.assert_allclose(pieces.zca, whole.zca, rtol=1e-6, atol=1e-6)
    expected = apply(whole, images)
    for batch in (1, 10, 100, 101, 500):
        np.testing.assert_allclose(apply(whole, mapped, batch=batch), expected, atol=1e-5)


def test_apply_scales_uint8_and_takes_floats_as_they_are(cache):
    images = random_images()
    p = fit("dance", images, "cifar10")
    np.testing.assert_allclose(apply(p, images), apply(p, (images / 255).astype(np.float32)), atol=1e-6)
    np.testing.assert_allclose(apply(p, images), apply(p, jnp.asarray(images)), atol=0)
    np.testing.assert_allclose(apply(fit("unit", images), images), images / 255, rtol=2e-7)
    assert apply(p, images[:0]).shape == (0, 2, 2, 3)


def test_statistics_are_exact():
    images = random_images(3000, (2, 2, 3))
    mean, std = whitening.channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-12)
    space = apply(fit("standardize", images), images)
    np.testing.assert_allclose(space.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(space.std((0, 1, 2)), 1, atol=1e-5)


def test_constants_by_data_set(cache):
    images = random_images()
    for spec, dataset, mean, std in [
        ("dance", "cifar100", [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),
        ("datm_plain", "tiny_imagenet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("dance", "svhn", [0.4377, 0.4438, 0.4728], [0.1980, 0.2010, 0.1970]),
        ("rcig", "cifar100_n", [0.5071, 0.4866, 0.4409], [0.2673, 0.2564, 0.2762]),
        ("rcig", "tiny_imagenet", [0.4759, 0.4481, 0.3926], [0.2763, 0.2687, 0.2813]),
    ]:
        p = fit(spec, images, dataset)
        np.testing.assert_allclose(p.mean, mean, rtol=1e-6)
        np.testing.assert_allclose(p.std, std, rtol=1e-6)
    grey = random_images(50, (4, 4, 1))
    p = fit("rcig", grey, "fashion_mnist")
    assert p.zca is None and p.fingerprint.startswith("rcig-pixel_std:")
    np.testing.assert_allclose([p.mean[0], p.std[0]], [0.2861, 0.3530], rtol=1e-6)
    p = fit("dance", grey, "digits")
    assert p.fingerprint.startswith("dance-fit:")
    np.testing.assert_allclose(p.mean, [(grey / 255).mean()], rtol=1e-6)


def test_errors_name_the_way_out(cache):
    images = random_images()
    p = fit("rcig", images)
    with pytest.raises(ValueError, match=r"12 values.*\[5, 4, 4, 3\].*48"):
        apply(p, np.zeros((5, 4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"12 values.*48"):
        invert(p, jnp.zeros((5, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"3 channels.*\[5, 2, 2, 1\].*have 1"):
        apply(fit("dance", images), np.zeros((5, 2, 2, 1), np.uint8))
    with pytest.raises(ValueError, match="int32"):
        apply(p, images.astype(np.int32))
    with pytest.raises(ValueError, match="uint8"):
        fit("datm", images / 255)
    with pytest.raises(ValueError, match=r"at least two.*\[1, 2, 2, 3\]"):
        fit("datm", images[:1])
    with pytest.raises(ValueError, match="Did you mean 'datm'"):
        fit("dtam", images)
    with pytest.raises(ValueError, match="'mnist' are for 1 channels"):
        fit("dance", images, "mnist")
    with pytest.raises(ValueError, match="constant"):
        fit("standardize", np.full((3, 2, 2, 1), 7, np.uint8))
    with pytest.raises(ValueError, match="eps=0"):
        fit(Spec("it", zca="absolute", eps=0.0), np.full((3, 2, 2, 1), 7, np.uint8))
    with pytest.raises(ValueError, match="unknown zca"):
        Spec("it", zca="both")
    with pytest.raises(ValueError, match="unknown standardize"):
        Spec("it", standardize="both")


def test_targets():
    labels = np.array([2, 0, 1], np.int32)
    np.testing.assert_array_equal(preprocess.one_hot(labels, 3), np.eye(3)[labels])
    centered = preprocess.centered(jnp.asarray(labels), 3)
    np.testing.assert_allclose(centered, np.eye(3)[labels] - 1 / 3, atol=1e-7)
    np.testing.assert_allclose(centered.sum(1), 0, atol=1e-6)
    np.testing.assert_allclose(centered - centered.min(), np.eye(3)[labels], atol=1e-6)
