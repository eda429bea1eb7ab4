"""Buffers of expert trajectories: completion, damage, locks, and the identity that names a buffer."""

import dataclasses
import functools
import logging
import threading
import time

import experts_problem
import jax
import numpy as np
import pytest
from experts_problem import MODEL, RECIPE, TRAIN, made, trained
from fuzzing import resealed

from ddjax.execution.options import RunOptions
from ddjax.experts import buffer as buffers
from ddjax.experts import size
from ddjax.experts.identity import identity
from ddjax.models import build
from ddjax.storage.checkpoints import Checkpoints
from ddjax.training import Sharpness


@pytest.fixture
def whole():
    return experts_problem.whole()


@pytest.fixture
def stored(whole, tmp_path):
    """A buffer of this test's own that holds both experts, and its folder."""
    buffer = buffers.Buffer(tmp_path, whole.manifest["identity"], whole.array.shape[1:], whole.array.dtype)
    buffer.make(2)
    for number in range(2):
        buffer.write(number, whole.array[number], whole.manifest["experts"][str(number)])
    return buffer


def test_a_buffer_grows_and_serves_fewer_experts(whole, stored, tmp_path):
    calls, report = trained()
    three = made(tmp_path, experts=3, options=RunOptions(report=report))
    assert [(done, of) for done, of, _ in calls] == [(1, 3), (2, 3), (3, 3)] and calls[-1][2]["loss"] > 0
    np.testing.assert_array_equal(three.array[:2], whole.array)
    one = made(tmp_path, experts=1, options=RunOptions(report=report))
    np.testing.assert_array_equal(one.array, whole.array[:1])
    assert len(calls) == 3 and list(one.manifest["experts"]) == ["0"]
    with pytest.raises(ValueError, match="read-only"):
        one.array[0, 0, 0] = 1


def test_interrupted_training_resumes(whole, tmp_path):
    def report(done, of, metrics):
        if done > RECIPE.epochs:  # in the midst of the second expert
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, options=RunOptions(report=report))
    calls, report = trained()
    again = made(tmp_path, options=RunOptions(report=report))
    assert calls[-1][:2] == (3, 3)
    np.testing.assert_array_equal(again.array, whole.array)


def test_a_stored_expert_leaves_no_checkpoint(tmp_path, monkeypatch):
    """They hold all snapshots once more: those of every group would take as much space as the buffer."""
    monkeypatch.setattr(
        buffers.Buffer, "checkpoints", lambda self: Checkpoints(self.folder / "unfinished", {}, seconds=0.0)
    )
    left = []

    def report(done, of, metrics):
        if done == RECIPE.epochs + 1:  # the second expert
            left.extend(path.parent.name for path in tmp_path.rglob("step-*"))

    made(tmp_path, options=RunOptions(report=report))
    assert len(set(left)) == 1


def damage_a_number(buffer):
    with open(buffer.file, "r+b") as file:
        file.seek(buffer.block_bytes + 7)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def damage_the_end(buffer):
    with open(buffer.file, "r+b") as file:
        file.truncate(2 * buffer.block_bytes - 1)


def damage_the_manifest(buffer):
    buffer.manifest_file.write_text(buffer.manifest_file.read_text()[:-20])


@pytest.mark.parametrize(
    ("damage", "lost"),
    [(damage_a_number, 1), (damage_the_end, 1), (damage_the_manifest, 2)],
    ids=["a number", "the end", "the manifest"],
)
def test_damaged_experts_are_trained_again(whole, stored, tmp_path, caplog, damage, lost):
    damage(stored)
    calls, report = trained()
    again = made(tmp_path, options=RunOptions(report=report))
    assert calls[-1][:2] == (3 * lost, 3 * lost)
    assert any("trained again" in record.message for record in caplog.records if record.levelno == logging.WARNING)
    np.testing.assert_array_equal(again.array, whole.array)
    assert sorted(stored.intact(range(2))) == [0, 1]


def test_a_block_is_hashed_once_until_its_file_changes(stored, monkeypatch):
    other = buffers.Buffer(stored.folder.parent, stored.identity, stored.block, stored.dtype)  # another member's
    now, sha256, hashed = time.time_ns, buffers.hashlib.sha256, []

    def counted(data):
        if isinstance(data, np.memmap):  # a block, not a manifest
            hashed.append(0)
        return sha256(data)

    monkeypatch.setattr(buffers.hashlib, "sha256", counted)

    def found():
        return [sorted(buffer.intact(range(2))) for buffer in (stored, other)]

    assert found() == [[0, 1], [0, 1]] and len(hashed) == 4  # a change of so new a file could go unseen
    monkeypatch.setattr(buffers.time, "time_ns", lambda: now() + 3600 * 10**9)
    assert found() == [[0, 1], [0, 1]] and len(hashed) == 6
    damage_a_number(stored)
    assert found() == [[0], [0]] and len(hashed) == 8


def test_a_manifest_of_other_experts_is_refused(stored, tmp_path):
    resealed(stored.manifest_file, identity=stored.identity | {"space": "other"})
    with pytest.raises(ValueError, match="describes other experts"):
        made(tmp_path)


def test_a_second_process_waits_and_trains_nothing(whole, stored, tmp_path, caplog):
    stored.manifest_file.rename(tmp_path / "manifest")  # as if the first had not finished yet
    calls, report = trained()
    found = []
    second = threading.Thread(target=lambda: found.append(made(tmp_path, options=RunOptions(report=report))))
    with stored.alone():
        second.start()
        while not any("waiting" in record.message for record in caplog.records):
            second.join(0.01)
        assert second.is_alive()
        (tmp_path / "manifest").rename(stored.manifest_file)
    second.join()
    assert not calls
    np.testing.assert_array_equal(found[0].array, whole.array)


def described(**changes):
    settings = {"kept": (0, 1), "seed": 0, "storage": "float32"} | changes
    return identity(
        settings.pop("model", MODEL), settings.pop("recipe", RECIPE), settings.pop("train", TRAIN), **settings
    )


@functools.cache
def usual():
    return buffers.fingerprint(described())


@pytest.mark.parametrize(
    "changes",
    [
        {"train": dataclasses.replace(TRAIN, labels=TRAIN.labels.at[5].set(0))},
        {"train": dataclasses.replace(TRAIN, images=TRAIN.images.at[5, 0, 0, 0].add(1))},
        {"train": dataclasses.replace(TRAIN, ids=TRAIN.ids.at[5].set(99))},
        {"train": dataclasses.replace(TRAIN, space="other")},
        {"recipe": dataclasses.replace(RECIPE, sharpness=Sharpness(alpha=0.4))},
        {"recipe": dataclasses.replace(RECIPE, rate=0.2)},
        {"model": build("convnet", (8, 8, 3), 3, depth=1, width=5)},
        {"model": build("convnet", (8, 8, 3), 3, depth=1, width=4, norm="group")},
        {"model": MODEL._replace(spec="another")},
        {"kept": (0, 2)},
        {"seed": 1},
        {"storage": "bfloat16"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_setting_that_changes_the_numbers_changes_the_fingerprint(changes):
    assert TRAIN.labels[5] != 0
    assert buffers.fingerprint(described(**changes)) != usual()


def test_the_precision_of_products_is_part_of_the_identity():
    with jax.default_matmul_precision("bfloat16"):
        rounded = described()
    assert buffers.fingerprint(rounded) != usual() == buffers.fingerprint(described())


def test_the_size_is_logged_and_checked_before_training(whole, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="ddjax.experts")
    monkeypatch.setattr(buffers.shutil, "disk_usage", lambda path: buffers.shutil._ntuple_diskusage(9, 9, 1000))
    calls, report = trained()
    with pytest.raises(ValueError, match=r"do not fit.*bfloat16"):
        made(tmp_path, options=RunOptions(report=report))
    monkeypatch.undo()
    made(tmp_path, options=RunOptions(report=lambda *_: calls.append(caplog.text)))
    assert f"{size(MODEL, RECIPE, 2) / 1e9:.3f} GB" in calls[0] and "2 experts to be trained" in calls[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storage": "float16"}, "unknown storage 'float16'"),
        ({"keep": "everything"}, "unknown keep 'everything'"),
        ({"keep": [0, 4]}, r"to 3 \(recipe.epochs\); got \[0, 4\]"),
        ({"keep": []}, r"got \[\]"),
        (
            {"recipe": dataclasses.replace(RECIPE, schedule="warmup_cosine", warmup_steps=50)},
            "recipe.warmup_steps must be fewer than the",
        ),
        ({"train": dataclasses.replace(TRAIN, space="pixels")}, "train.images has the space 'pixels'"),
        ({"train": dataclasses.replace(TRAIN, labels=TRAIN.labels.at[5].set(3))}, "labels must lie in 0..2.*row 5"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_invalid_arguments_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        made(tmp_path, **changes)
    assert not list(tmp_path.rglob("*.bin"))


def test_diverged_experts_are_not_stored(tmp_path):
    with pytest.raises(ValueError, match="expert 0 diverged"):
        made(tmp_path, recipe=dataclasses.replace(RECIPE, rate=1e30, sharpness=None, epochs=1))
    assert not list(tmp_path.rglob("*.bin"))
