"""Images stored as bytes, on the device and on the host, give the same bits as each other."""

import dataclasses
import functools
import logging

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddjax
from ddjax import machine, preprocess, rows
from ddjax.distillers import DISTILLERS
from ddjax.distillers.setup import set_up
from ddjax.execution import proxies
from ddjax.execution.distill import distill
from ddjax.execution.fleet import init_members
from ddjax.execution.options import RunOptions
from ddjax.execution.reading import read_ahead
from ddjax.storage.checkpoints import Checkpoints
from ddjax.trees import raw
from ddjax.types import Feed

SMALL = {"steps": 2, "width": 2, "depth": 1, "batch": 6}
METHODS = {
    "dm": SMALL | {"augment": "flip"},
    "kip": {"steps": 2, "batch": 6, "kernel": "conjugate", "solve": "float32", "ridge": 0.1},
    "frepo": SMALL | {"pool_size": 2},
    "rcig": SMALL | {"pool_size": 2, "inner_steps": 2, "hinv_steps": 2, "pool_most_steps": 1},
}
METHODS["rcig"] |= {"inner_rate": 1e-3, "hinv_rate": 1e-3}
TRAINED = {  # methods that train networks first
    "dance": SMALL | {"members": 1, "pool_epochs": 1, "keep_pool": False, "augment": "flip", "calibrations": 1},
    "datm": {key: SMALL[key] for key in ("steps", "width", "depth")}
    | {"experts": 1, "expert_epochs": 2, "last_start": 1, "growth_steps": 0, "match_epochs": 1, "inner_steps": 1}
    | {"threshold": 1e9, "store": False},
    "rdc_reconstructed": SMALL | {"members": 1, "pool_epochs": 1, "keep_pool": False, "warmup": 1},
}


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def pixels():
    return ddjax.prepare(ddjax.synthetic(3, 24, (8, 8, 3)), ddjax.NoiseSpec("symmetric", rate=0.3)).train


def of_spec(pixels, name):
    return preprocess.fit(name, pixels.images, cache=False)


def placed(pixels, place, spec="standardize"):
    return ddjax.to_space(pixels, of_spec(pixels, spec), place)


def ready(name, train, key=1):
    method = DISTILLERS[name]
    model = ddjax.build("convnet", train.images.shape[1:], train.num_classes, depth=1, width=2)
    return set_up(method, method.config(**METHODS[name]), train, jax.random.key(key), model)


@pytest.fixture(scope="module")
def shared(pixels):
    """A method on the images in a place, set up once: its programs are compiled once."""
    return functools.cache(lambda name, place, spec: ready(name, placed(pixels, place, spec)))


def run(setup, **more):
    state = jax.jit(setup.distiller.init)(jax.random.key(2), setup.start)
    return distill(setup.distiller, setup.feed, state, steps=more.pop("steps", setup.steps), **more)


def same(one, other):
    chex.assert_trees_all_equal(raw(one), raw(other))


@pytest.mark.parametrize("spec", ["unit", "standardize", "datm"])
def test_rows_have_the_bits_of_preprocessing_in_advance(pixels, spec):
    transform = of_spec(pixels, spec)
    advance = np.asarray(preprocess.apply(transform, pixels.images))
    device, host = (preprocess.stored(transform, pixels.images, place) for place in ("device", "host"))
    for chosen in (np.array([[3, 1], [5, 5]]), slice(2, 4), np.int32(7)):
        np.testing.assert_array_equal(device[chosen], host[chosen])
        np.testing.assert_array_equal(device[chosen], advance[chosen])
    assert device.shape == host.shape == advance.shape and len(host) == len(advance)
    np.testing.assert_array_equal(host.part(np.array([4, 2])).part(np.array([1]))[:], host[2:3])
    np.testing.assert_array_equal(np.asarray(device), device[:])
    np.testing.assert_array_equal(rows.as_floats(device), rows.as_floats(device[:]))
    for images in (device, host):
        assert all(np.array_equal(*pair) for pair in zip(images, advance, strict=True))  # it ends with the last image


@pytest.mark.parametrize("name", ["dm", *map(slow, ("frepo", "kip", "rcig"))])
def test_a_method_has_the_same_bits_with_images_on_the_device_and_on_the_host(shared, name):
    spec = "datm" if name == "frepo" else "standardize"  # one of them with a whitening
    found = run(shared(name, "device", spec))
    same(found, run(shared(name, "host", spec)))
    if name == "dm":
        same(found, run(shared(name, None, spec)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dance", "datm", "rdc_reconstructed"])
def test_a_method_trains_its_networks_on_images_in_either_place(pixels, name):
    device, host = (
        ddjax.run_method(name, pixels, jax.random.key(0), images=place, **TRAINED[name]) for place in ("device", "host")
    )
    same((device.distilled, device.log), (host.distilled, host.log))


def test_a_run_continues_in_another_place(shared, tmp_path):
    kept = RunOptions(checkpoints=Checkpoints(tmp_path / "run", {}, seconds=0.0))
    first, second = (shared("dm", place, "standardize") for place in ("host", "device"))
    run(first, steps=1, options=kept)
    same(run(second, options=kept), run(second))


@pytest.mark.slow
def test_members_with_other_labels_read_their_own_rows(pixels):
    def together(place):
        train = placed(pixels, place)
        other = dataclasses.replace(train, labels=np.roll(train.labels, 1))
        setups = [ready("dm", each, key) for key, each in enumerate([train, other])]
        keys = list(jax.random.split(jax.random.key(2), 2))
        states = init_members(setups[0].distiller, keys, [setup.start for setup in setups])
        return distill(setups[0].distiller, [setup.feed for setup in setups], states, steps=2)

    same(together("device"), together("host"))


def test_the_place_of_the_same_images_is_logged_once(caplog):
    transform = preprocess.Preprocess(name="unit", fingerprint="unit:0")
    with caplog.at_level(logging.INFO, "ddjax.images"), preprocess.placing("host"), preprocess.placing("auto"):
        for count in (3, 3, 2):
            preprocess.stored(transform, np.zeros((count, 2, 2, 1), np.uint8))
    assert [record.message[:24] for record in caplog.records] == [
        "images: on the device, 3",
        "images: on the device, 2",
    ]


@pytest.mark.slow
def test_run_method_keeps_pixels_where_it_is_told(pixels, monkeypatch, caplog):
    def outcome(**place):
        return ddjax.run_method("dm", pixels, jax.random.key(0), **METHODS["dm"], **place)

    device = outcome(images="device")
    monkeypatch.setattr(machine, "memory", lambda: 4 * pixels.images.size - 1)
    with caplog.at_level(logging.INFO, "ddjax.images"):
        host = outcome()
    assert "images: on the host, 72 of 8 x 8 x 3" in caplog.text
    same((device.distilled, device.log), (host.distilled, host.log))
    with pytest.raises(ValueError, match="unknown place of images 'gpu'; known: auto, device, host"):
        outcome(images="gpu")


@pytest.mark.parametrize("name", ["random", *map(slow, ("herding", "kcenter"))])
def test_a_selection_takes_the_same_images_in_either_place(pixels, name):
    device, host = (
        ddjax.run_method(name, pixels, jax.random.key(0), ipc=2, feature_epochs=1, images=place)
        for place in ("device", "host")
    )
    same((device.distilled, device.log), (host.distilled, host.log))


def test_a_selection_by_pixels_says_that_it_needs_all_of_them(pixels):
    with pytest.raises(ValueError, match='72 images on the host are all images as floats: take features="trained"'):
        ddjax.run_method("herding", pixels, jax.random.key(0), features="pixels", images="host")


def test_what_cannot_be_read_says_so(pixels):
    host = placed(pixels, "host").images
    with pytest.raises(TypeError, match=r"72 images are kept on the host .* Ask for some of them, by images\[rows\]"):
        rows.as_floats(host)
    with pytest.raises(TypeError, match=r"read by row, images\[rows\]; got images\[\(slice"):
        host[:, ::-1]
    with pytest.raises(TypeError, match=r"read by row, images\[rows\]; got images\[array\(\[ True"):
        host[np.arange(72) == 0]
    with pytest.raises(TypeError, match="a compiled program cannot read them"):
        proxies.with_proxies(host)[0]
    with pytest.raises(ValueError, match="only uint8 pixels are stored as bytes; got float32"):
        preprocess.stored(of_spec(pixels, "unit"), np.zeros((1, 8, 8, 3), np.float32))

    def at(images, step):
        return images[images[step[None]].sum((1, 2, 3)).astype(jnp.int32) + jnp.arange(2)]

    with pytest.raises(ValueError, match="rows that a step asks for depend on the images"):
        read_ahead(Feed(host, at))


def test_a_step_may_ask_for_a_slice(pixels):
    def at(images, step):
        return images[2:5] + step

    for place in ("device", "host"):
        feed = read_ahead(Feed(placed(pixels, place).images, at))
        data = (feed.data, feed.fetch(4, 1)) if feed.fetch else feed.data
        np.testing.assert_array_equal(feed.at(data, jnp.int32(4)), placed(pixels, "device").images[2:5] + 4)


def test_pages_of_a_file_are_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MAPPED_BYTES", 0)
    np.save(tmp_path / "images.npy", np.arange(64 * 3072, dtype=np.uint32).astype(np.uint8).reshape(64, 32, 32, 3))
    images = np.asarray(np.load(tmp_path / "images.npy", mmap_mode="r"))
    host = rows.HostRows(images, lambda pixels: pixels)
    whole = np.array(images)
    for _ in range(2):
        np.testing.assert_array_equal(host.read(np.array([3, 60])), whole[[3, 60]])
    rows.release(whole)
    np.testing.assert_array_equal(host.part(np.array([5, 1])).read(slice(0, 2)), whole[[5, 1]])
