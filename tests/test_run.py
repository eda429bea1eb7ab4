"""The recipe `run_method`, its options, and the size of networks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddjax
from ddjax import preprocess, run, testing
from ddjax.data import prepare, synthetic, to_space
from ddjax.distilled import check
from ddjax.execution.guard import Diverged
from ddjax.execution.mesh import mesh_of
from ddjax.execution.options import RunOptions
from ddjax.models import build_sized
from ddjax.noise import NoiseSpec
from ddjax.storage.checkpoints import Checkpoints

METHOD = ddjax.DISTILLERS["dm"]
QUICK = {"ipc": 1, "steps": 3, "width": 4, "depth": 1, "batch": 4, "augment": "flip"}


@pytest.fixture(scope="module")
def data():
    return prepare(synthetic(3, 8, (8, 8, 1)), NoiseSpec("symmetric", 0.4))


def key(seed=0):
    return jax.random.key(seed)


@pytest.fixture(scope="module")
def by_hand(data):
    """The recipe step by step, once for each seed and shift of the labels."""

    @functools.cache
    def by_hand(seed, shift=0):
        train = shifted(data.train, shift)
        transform = preprocess.fit(METHOD.space, train.images)
        train, config = to_space(train, transform), METHOD.config(**QUICK)
        model = METHOD.model(config, train.images.shape[1:], 3)
        prepare_key, init_key = jax.random.split(key(seed))
        start, feed = METHOD.prepare(config, train, model, prepare_key)
        distiller = METHOD.build(config, model)
        state, log = ddjax.distill(distiller, feed, distiller.init(init_key, start), steps=3)
        return dataclasses.replace(distiller.extract(state), preprocess=transform), log

    return by_hand


def shifted(train, shift):
    return dataclasses.replace(train, labels=np.roll(train.labels, shift))


def test_run_method_is_the_recipe(data, by_hand):
    reports = []
    options = RunOptions(lambda done, total, metrics: reports.append((done, total)))
    outcome = ddjax.run_method("dm", data.train, key(), options=options, **QUICK)
    expected, log = by_hand(0)
    metric = next(iter(log))
    np.testing.assert_array_equal(outcome.distilled.images, expected.images)
    assert outcome.distilled.preprocess.fingerprint == expected.preprocess.fingerprint == outcome.distilled.space
    np.testing.assert_array_equal(outcome.log[metric], log[metric])
    assert outcome.skipped == 0 and outcome.seconds > 0
    assert reports[0] == (0, 3) and reports[-1] == (3, 3)


@pytest.mark.slow
def test_a_method_is_a_name_a_record_or_an_attribute_and_a_config_takes_fields(data, by_hand):
    config = METHOD.config(**QUICK)
    ways = [
        ddjax.run_method(METHOD, data.train, key(), config),
        ddjax.run_method("ddjax.distillers.dm:METHOD", data.train, key(), dataclasses.replace(config, ipc=2), ipc=1),
    ]
    expected, _ = by_hand(0)
    for outcome in ways:
        np.testing.assert_array_equal(outcome.distilled.images, expected.images)


def test_images_in_a_space_stay_there(data):
    transform = preprocess.fit("unit", data.train.images)
    inside = to_space(data.train, transform)
    assert to_space(inside, transform) is inside
    alone = ddjax.run_method("random", inside, key(), ipc=1)
    attached = ddjax.run_method("random", inside, key(), ipc=1, transform=transform)
    assert alone.distilled.preprocess is None and attached.distilled.preprocess is transform
    assert alone.distilled.space == attached.distilled.space == transform.fingerprint


@pytest.mark.slow
def test_a_list_runs_as_a_fleet(data, by_hand):
    outcomes = ddjax.run_method("dm", [data.train, shifted(data.train, 1)], [key(0), key(1)], **QUICK)
    for outcome, member in zip(outcomes, [(0, 0), (1, 1)], strict=True):
        alone, _ = by_hand(*member)
        np.testing.assert_allclose(outcome.distilled.images, alone.images, atol=1e-4)
    [one] = ddjax.run_method("dm", [data.train], key(0), **QUICK)
    np.testing.assert_array_equal(one.distilled.images, by_hand(0)[0].images)


def test_the_whole_set_runs_as_a_fleet():
    train = testing.toy_train()
    outcomes = ddjax.run_method("full", [train, shifted(train, 1)], key())
    for outcome, shift in zip(outcomes, (0, 1), strict=True):
        np.testing.assert_array_equal(outcome.distilled.labels, np.roll(train.labels, shift))


def test_each_member_of_a_fleet_is_in_the_space_of_its_own_images(data):
    other = dataclasses.replace(data.train, images=255 - data.train.images)
    outcomes = ddjax.run_method("random", [data.train, other], key(), ipc=1)
    first, second = (check(outcome.distilled).space for outcome in outcomes)
    assert first != second


@pytest.mark.slow
def test_a_mesh_runs_members_in_turn_each_with_its_checkpoints(data, by_hand, tmp_path):
    method = METHOD._replace(split=("images",))
    kept = Checkpoints(tmp_path / "run", {}, seconds=0.0)
    mesh, options = mesh_of(jax.devices()[:1]), RunOptions(checkpoints=kept)
    outcomes = ddjax.run_method(method, [data.train] * 2, [key(0), key(1)], mesh=mesh, options=options, **QUICK)
    for outcome, seed in zip(outcomes, (0, 1), strict=True):
        np.testing.assert_allclose(outcome.distilled.images, by_hand(seed)[0].images, atol=1e-5)


@pytest.mark.slow
def test_a_member_that_diverges_does_not_stop_the_others(data, by_hand):
    other = dataclasses.replace(data.train, ids=data.train.ids[::-1].copy())

    def prepare_some(config, train, *rest):
        if train.ids[0] != 0:
            raise Diverged("an expert of this member diverged")
        return METHOD.prepare(config, train, *rest)

    method = METHOD._replace(prepare=prepare_some)
    lost, made = ddjax.run_method(method, [other, data.train], [key(1), key(0)], **QUICK)
    assert isinstance(lost, Diverged)
    np.testing.assert_array_equal(made.distilled.images, by_hand(0)[0].images)
    with pytest.raises(Diverged, match="an expert of this member"):
        ddjax.run_method(method, other, key(), **QUICK)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "dmm"}, "unknown method 'dmm'.*Did you mean 'dm'"),
        ({"key": [key(), key()]}, "key must be one value or a list of 1; got a list of 2"),
        ({"ipcs": 1}, "unknown field of the method's configuration 'ipcs'.*Did you mean 'ipc'"),
        ({"train": []}, "got an empty list"),
        ({"train": testing.toy_train(num_classes=1)}, "needs two classes or more; train.num_classes is 1"),
        ({"config": 3}, "config must be a DmConfig; got int 3"),
        ({"method": METHOD._replace(split=()), "mesh": mesh_of()}, "this method names none: leave out mesh"),
        ({"model": ddjax.build("mlp", (8, 8, 1), 3)}, "this method builds one .* leave out model"),
    ],
)
def test_wrong_arguments_are_named(data, change, words):
    arguments = {"method": "dm", "train": data.train, "key": key(), **QUICK, **change}
    with pytest.raises(ValueError, match=words):
        run.run_method(**arguments)


def test_sets_of_a_fleet_have_one_shape(data):
    smaller = testing.toy_train(side=4)
    with pytest.raises(ValueError, match="have one shape"):
        ddjax.run_method("random", [data.train, smaller], key(), ipc=1)


def narrow(image_shape, num_classes, width=4):
    return ddjax.build("mlp", image_shape, num_classes, width=width)


def test_sizes_apply_to_every_network_that_has_them():
    shape = (8, 8, 1)
    assert "width=5, depth=1," in build_sized("mlp", shape, 3, width=5, depth=1).spec
    assert "width=6" in build_sized("resnet18_rcig", shape, 3, width=6).spec
    assert "width=32" in build_sized("convnet", shape, 3).spec
    assert "width=64" in build_sized("convnet", (32, 32, 3), 3, usual=64).spec
    assert "width=128" in build_sized("convnet", (32, 32, 3), 3).spec
    assert "width=128" in build_sized("mlp", shape, 3).spec
    assert "width=7" in build_sized(f"{__name__}:narrow", shape, 3, width=7).spec
    for name, size in (("resnet18", "depth"), ("lenet", "width"), (f"{__name__}:narrow", "depth")):
        with pytest.raises(ValueError, match=f"network '{name}' has no {size}: leave {size} out"):
            build_sized(name, shape, 3, **{size: 2})


def test_a_size_that_a_network_lacks_is_an_error_before_any_work():
    from experiments.running.config import Experiment
    from experiments.running.shared import pieces

    pieces(Experiment(network="mlp", width=8).settled())
    with pytest.raises(ValueError, match="network 'resnet18' has no depth"):
        pieces(Experiment(network="resnet18", depth=2).settled())
    with pytest.raises(ValueError, match="network 'lenet' has no width"):
        ddjax.denoise(jnp.zeros((4, 8, 8, 1)), [0, 0, 1, 1], network="lenet", width=8)


def test_a_wrong_network_is_an_error_before_pixels_are_preprocessed(data, monkeypatch):
    monkeypatch.setattr(preprocess, "fit", None)
    with pytest.raises(ValueError, match="unknown norm 'bach'"):
        ddjax.run_method("rcig", data.train, key(), norm="bach")
