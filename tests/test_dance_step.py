"""A DANCE iteration: published momentum in closed form, and two losses that know one class each."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddjax.distilled import DistilledSet, expand
from ddjax.distillers.dance.config import DanceConfig
from ddjax.distillers.dance.start import Box, from_unit, to_unit
from ddjax.distillers.dance.step import Moving, Views, advance, augmented, descend, drift, shown
from ddjax.types import Model

SHAPE = (4, 4, 2)
REST = [(1, 1), (2, 0), (2, 1), (10, 0), (10, 2)]  # classes, calibrations


def tiny_network():
    """One hidden layer, without any framework, so that it computes in the dtype of its weights."""

    def features(params, images):
        return jnp.tanh(images.reshape(len(images), -1) @ params["in"])

    def init(key):
        raise NotImplementedError("its weights are drawn with the problem")

    return Model(init, lambda p, x: features(p, x) @ p["out"], features, lambda p, x, w: (features(p, x), p))


MODEL = tiny_network()
BOX = Box(low=np.array([-1.0, -0.5]), high=np.array([1.0, 2.0]))


def advanced(views, k):
    """`advance` as one program of (labels, moving, real, present, key)."""
    return jax.jit(lambda labels, *rest: advance(views, k, labels, *rest))


def problem(k, config, dtype=jnp.float64, rows=6):
    rng = np.random.default_rng(k)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    box = jax.tree.map(lambda x: jnp.asarray(x, dtype), BOX)
    encoder, judge = ({"in": normal(32, 5) / 4, "out": normal(5, 10)} for _ in range(2))
    moving = Moving(
        images=jnp.asarray(rng.uniform(-0.1, 1.1, (k, config.ipc, *SHAPE)), dtype),
        velocity=normal(k, config.ipc, *SHAPE),
    )
    return Views(config, MODEL, box, encoder, judge), moving, normal(k, rows, *SHAPE), jnp.ones((k, rows))


def published_loop(views, k, moving, real, present, key):
    """One iteration as published: momentum SGD on the tensor of all classes after each class's gradient."""
    config, optimiser = views.config, optax.sgd(views.config.image_rate(), momentum=views.config.momentum)
    images, state = jnp.clip(moving.images, 0, 1), (optax.TraceState(moving.velocity), optax.ScaleState())

    def of_class(label, view):
        return jax.random.fold_in(jax.random.fold_in(key, label), view)

    def inner(images, label):
        return views.inner(
            images[label], views.real(real[label], present[label], of_class(label, 0)), of_class(label, 0)
        )

    def calibration(images, label, turn):
        return views.calibration(images[label], label, of_class(label, 1 + turn))[0]

    for loss in [inner, *(functools.partial(calibration, turn=turn) for turn in range(config.calibrations))]:

        def after_class(label, carry, loss=loss):
            images, state = carry
            updates, state = optimiser.update(jax.grad(loss)(images, label), state)
            return images + updates, state

        images, state = jax.lax.fori_loop(0, k, after_class, (images, state))
    return Moving(images=images, velocity=state[0].trace)


def settings(**fields):
    return DanceConfig(**{"ipc": 2, "rate": 0.3, "factor": 2, "augment": "cutout", **fields})


@pytest.mark.parametrize(("k", "passes"), [(3, 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)])
def test_all_classes_at_once_are_the_published_loop(k, passes):
    with jax.enable_x64(True):
        config = settings(calibrations=passes)
        views, ours, real, present = problem(k, config)
        theirs, labels = ours, jnp.arange(k, dtype=jnp.int32)
        step = advanced(views, k)
        loop = jax.jit(lambda m, key: published_loop(views, k, m, real, present, key))
        for number in range(4):
            key = jax.random.fold_in(jax.random.key(7), number)
            ours, report = step(labels, ours, real, present, key)
            theirs = loop(theirs, key)
            np.testing.assert_allclose(ours.images, theirs.images, rtol=0, atol=1e-12)
            np.testing.assert_allclose(ours.velocity, theirs.velocity, rtol=0, atol=1e-12)
            assert float(report.outside.max()) > 0.01  # the clamp has work to do


def test_the_optimiser_whole_is_one_step_of_momentum_sgd_for_each_loss():
    with jax.enable_x64(True):
        views, moving, real, present = problem(3, settings(optimiser="whole", calibrations=0))
        labels, key = jnp.arange(3, dtype=jnp.int32), jax.random.key(1)
        after, _ = advanced(views, 3)(labels, moving, real, present, key)
        images = jnp.clip(moving.images, 0, 1)

        def loss(images):
            def one(label, images, real):
                k = jax.random.fold_in(jax.random.fold_in(key, label), 0)
                return views.inner(images, views.real(real, present[0], k), k)

            return jax.vmap(one)(labels, images, real).sum()

        expected = descend(Moving(images=images, velocity=moving.velocity), jax.jit(jax.grad(loss))(images), 0.3, 0.5)
        np.testing.assert_allclose(after.images, expected.images, atol=1e-12)


@pytest.mark.slow
def test_chunks_and_shares_of_classes_change_nothing():
    with jax.enable_x64(True):
        views, moving, real, present = problem(4, settings(cap=6, class_chunk=4, block=99))
        labels, key = jnp.arange(4, dtype=jnp.int32), jax.random.key(2)
        step = advanced(views, 4)
        whole, report = step(labels, moving, real, present, key)
        chunked = views._replace(config=dataclasses.replace(views.config, class_chunk=3, block=4))
        again, report_again = advanced(chunked, 4)(labels, moving, real, present, key)
        halves = [jax.tree.map(lambda x, p=p: x[p], (labels, moving, real, present)) for p in (slice(2), slice(2, 4))]
        shares = [step(*half, key)[0].images for half in halves]
        for other in (again.images, jnp.concatenate(shares)):
            np.testing.assert_allclose(other, whole.images, atol=1e-13)
        np.testing.assert_allclose(report_again.calibration, report.calibration, atol=1e-13)


def test_momentum_goes_on_while_other_classes_are_due():
    moving = descend(Moving(images=jnp.zeros(()), velocity=jnp.zeros(())), jnp.ones(()), 0.3, 0.5)
    for steps, expected in ((0, -0.3), (1, -0.45), (2, -0.525), (3, -0.5625)):
        found = drift(moving, jnp.int32(steps), 0.3, 0.5)
        np.testing.assert_allclose(found.images, expected, rtol=1e-6)
    twice = drift(drift(moving, jnp.int32(2), 0.3, 0.5), jnp.int32(5), 0.3, 0.5)
    once = drift(moving, jnp.int32(7), 0.3, 0.5)
    np.testing.assert_allclose([twice.images, twice.velocity], [once.images, once.velocity], rtol=1e-6)
    np.testing.assert_allclose(drift(moving, jnp.int32(200), 0.3, 0.5).images, -0.6, rtol=1e-6)
    still = drift(moving, jnp.int32(0), 0.3, 0.0)
    assert float(still.images) == pytest.approx(-0.3) and float(still.velocity) == 1


@pytest.mark.slow
def test_momentum_is_twice_the_rate_where_classes_are_many():
    """The gap to plain SGD at rate / (1 - momentum), without clamp and with the drift that is due played out."""

    def gap(k):
        config = settings(unit_box=False, rate=0.1)
        views, moving, real, present = problem(k, config)
        moving = dataclasses.replace(moving, velocity=jnp.zeros_like(moving.velocity))
        plain = views._replace(config=dataclasses.replace(config, rate=0.2, momentum=0.0))
        labels, ours, theirs = jnp.arange(k, dtype=jnp.int32), moving, moving
        steps = [advanced(v, k) for v in (views, plain)]
        for number in range(3):
            key = jax.random.fold_in(jax.random.key(3), number)
            (ours, _), (theirs, _) = (
                f(labels, m, real, present, key) for f, m in zip(steps, (ours, theirs), strict=True)
            )
        settled = drift(ours, jnp.int32(200), 0.1, 0.5).images
        return jnp.linalg.norm(settled - theirs.images) / jnp.linalg.norm(theirs.images - moving.images)

    with jax.enable_x64(True):
        assert gap(10) < 2e-3 < gap(2)


def test_real_and_learned_images_share_their_augmentation():
    config = settings(factor=1, augment="color_crop_cutout")
    images = jax.random.uniform(jax.random.key(0), (5, 8, 8, 3))
    key = jax.random.key(4)
    augment = jax.jit(augmented, static_argnums=0)
    together, alone = (augment(config, x, key) for x in (images, images[3:]))
    assert jnp.array_equal(together[3:], alone)
    assert not jnp.array_equal(alone, augment(config, images[3:], jax.random.key(5)))
    unit = Box(low=jnp.zeros(3), high=jnp.ones(3))
    np.testing.assert_allclose(jax.jit(shown, static_argnums=0)(config, unit, images[3:], key), alone, atol=1e-6)


def test_networks_see_the_cells_that_students_see():
    config, key = settings(augment="cutout"), jax.random.key(4)
    images, box = jax.random.uniform(jax.random.key(0), (2, 5, 5, 2)), jax.tree.map(jnp.asarray, BOX)  # 5 is padded
    made = DistilledSet(images=from_unit(box, images), labels=jnp.zeros(2, int), num_classes=1, space="toy", factor=2)
    found, students = shown(config, box, images, key), augmented(config, expand(made).images, key)
    np.testing.assert_allclose(found, students, atol=1e-6)


def test_the_inner_view_is_zero_on_the_real_images_themselves():
    with jax.enable_x64(True):
        config = settings(ipc=6, factor=1)
        views, _, real, present = problem(1, config)
        key, images = jax.random.key(0), to_unit(views.box, real[0])
        inner, real_view = jax.jit(views.inner), jax.jit(views.real)
        target = real_view(real[0], present[0], key)
        assert float(inner(images[::-1], target, key)) < 1e-25
        assert float(inner(images, target + 0.5, key)) == pytest.approx(0.25 * len(target))
        half = real_view(real[0], jnp.array([1.0, 1, 1, 0, 0, 0]), key)  # what is not present does not count
        np.testing.assert_allclose(half, real_view(real[0, :3], present[0, :3], key), atol=1e-14)


@pytest.mark.slow
def test_calibration_is_cross_entropy_and_its_gradient():
    with jax.enable_x64(True):
        views, moving, _, _ = problem(2, settings(block=3))
        key = jax.random.key(6)
        images = moving.images[0]

        def written_out(images):
            logits = MODEL.apply(views.judge, shown(views.config, views.box, images, key))
            return -jax.nn.log_softmax(logits)[:, 1].mean()

        loss, gradient = jax.jit(views.calibration)(images, jnp.int32(1), key)
        expected, its_gradient = jax.jit(jax.value_and_grad(written_out))(images)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
        np.testing.assert_allclose(gradient, its_gradient, atol=1e-13)
        silent = views._replace(judge=jax.tree.map(jnp.zeros_like, views.judge))
        assert float(jax.jit(silent.calibration)(images, jnp.int32(1), key)[0]) == pytest.approx(np.log(10))


@pytest.mark.slow
def test_a_class_is_moved_by_its_own_images_alone():
    views, moving, real, present = problem(3, settings(), jnp.float32)
    labels, key = jnp.arange(3, dtype=jnp.int32), jax.random.key(0)

    def first(images, real):
        new = Moving(images=images, velocity=moving.velocity)
        return advance(views, 3, labels, new, real, present, key)[0].images[0].sum()

    of_images, of_real = jax.jit(jax.grad(first, (0, 1)))(moving.images, real)
    assert jnp.all(of_images[1:] == 0) and jnp.any(of_images[0] != 0) and jnp.all(of_real[1:] == 0)
