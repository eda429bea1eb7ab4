"""One run over several devices gives the numbers of one device; eight devices are simulated in a process of its own."""

import json
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import processes
import pytest

from ddjax.distilled.saving import load_distilled
from ddjax.distillers import datm
from ddjax.distillers.datm.feed import Segments
from ddjax.distillers.shared.feeds import Batch
from ddjax.execution import mesh


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes", "parts"),
    [("rcig", 3, "('parts',)"), ("datm", 3, "('parts',)"), ("dance", 3, "(None, 'parts')"), ("dance", 8, "('parts',)")],
    ids=["rcig: images", "datm: segments", "dance: images of a class", "dance: classes"],
)
def test_eight_devices_give_the_numbers_of_one(name, classes, parts):
    found = processes.answer(processes.HERE / "mesh_problem.py", name, classes, **processes.devices(8))
    assert found["devices"] == 8 and all(spec.endswith(parts) for spec in found["parts"].values()), found["parts"]
    assert found["apart"] < 1e-4 * max(1.0, found["moved"]) < found["moved"]
    for key, (one, eight) in found["metrics"].items():
        assert one == pytest.approx(eight, rel=1e-4, abs=1e-6), key


def images_of(out):
    return np.asarray(load_distilled(next(out.glob("digits-dance-*")) / "distilled").images)


def finished(out):
    """The row, the distilled images and each step's metrics of a run."""
    [log] = out.glob("digits-dance-*/log.csv")
    return json.loads((out / "results.jsonl").read_text()), images_of(out), np.loadtxt(log, delimiter=",", skiprows=1)


@pytest.mark.slow
def test_two_hosts_give_the_set_of_one(tmp_path):
    port = processes.free_port()
    words = ["-m", "experiments.one", "--method", "dance", "--ipc", "1", "--limit", "150", "--quiet"]
    words += ["--width", "2", "--depth", "1", "--epochs", "2", "--students", "1", "--protocol", "dance"]
    words += ["--options", "batch=4", "pool_epochs=1", "members=2", "factor=1", "rate=1"]
    own = processes.devices(2) | {"DDJAX_CACHE": tmp_path / "cache"}
    for name, steps in (("start", "0"), ("one", "3")):
        processes.ended(processes.start(*words, "--steps", steps, "--out", tmp_path / name, **own))
    hosts = []
    for number in range(2):
        who = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(number)}
        both = [*words, "--steps", "3", "--out", tmp_path / f"host{number}", "--over", "hosts"]
        hosts.append(processes.start(*both, **own | who))
    for host in hosts:
        processes.ended(host)
    assert not (tmp_path / "host1").exists()
    (row, images, log), (its_row, its_images, its_log) = (finished(tmp_path / name) for name in ("one", "host0"))
    assert its_row["hardware"].startswith("4 x ")
    moved = np.abs(images - images_of(tmp_path / "start")).max()
    assert np.abs(its_images - images).max() < 1e-4 * max(1.0, moved) < 1e-2 * moved
    np.testing.assert_allclose(its_log, log, rtol=1e-3, atol=1e-6)
    assert abs(its_row["last_acc"] - row["last_acc"]) < 0.005  # one test image of 360 near a border at most


def test_batches_that_cannot_be_split_are_refused():
    batch = Batch(jnp.zeros((3, 5, 4, 1)), jnp.zeros(3, jnp.int32))
    one = mesh.mesh_of(jax.devices()[:1])
    assert mesh.shard_batch(one, batch, ("images", "labels")).images.shape == (3, 5, 4, 1)
    two = mock.Mock(spec=jax.sharding.Mesh, size=2)
    with pytest.raises(ValueError, match=r"2 devices divide neither.*images \[3, 5, 4, 1\], labels \[3\]"):
        mesh.shard_batch(two, batch, ("images", "labels"))
    weights = jnp.zeros((1, 4))
    segments = Segments(weights, weights, jnp.zeros(1, jnp.int32), jax.random.key(0))
    with pytest.raises(ValueError, match=r"2 devices divide neither.*epochs \[1\]"):  # nor are weights divided
        mesh.shard_batch(two, segments, datm.METHOD.split)
    with pytest.raises(ValueError, match="no fields of its Batch"):
        mesh.shard_batch(one, batch, ())
