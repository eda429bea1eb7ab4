"""Expert trajectories: training, storage, and the identity that names a buffer."""

import dataclasses
import logging
import threading
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fuzzing import resealed
from jax.flatten_util import ravel_pytree

from ddjax.execution.options import RunOptions
from ddjax.experts import RECIPES, pool_recipe, size, trajectories
from ddjax.experts import buffer as buffers
from ddjax.experts.fleet import programs, train_experts
from ddjax.experts.identity import identity, layout, unraveller
from ddjax.models import build
from ddjax.testing import toy_train
from ddjax.training import Clock, Examples, Recipe, Sharpness, make_trainer, predict
from ddjax.training.losses import cross_entropy

TRAIN = toy_train()
MODEL = build("convnet", (8, 8, 3), 3, depth=1, width=4)
RECIPE = Recipe(epochs=3, batch=10, rate=0.1, sharpness=Sharpness())
EXAMPLES = Examples(TRAIN.images, jax.nn.one_hot(TRAIN.labels, 3))


def made(tmp_path, **changes):
    settings = {"experts": 2, "folder": tmp_path} | changes
    return trajectories(MODEL, settings.pop("recipe", RECIPE), settings.pop("train", TRAIN), **settings)


def trained(total):
    """A report, and the list that its calls are noted in."""
    calls = []
    return calls, lambda done, of, metrics: calls.append((done, of, metrics))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return made(tmp_path_factory.mktemp("experts"))


@pytest.fixture
def stored(whole, tmp_path):
    """A buffer of this test's own that holds both experts, and its folder."""
    buffer = buffers.Buffer(tmp_path, whole.manifest["identity"], whole.array.shape[1:], whole.array.dtype)
    buffer.make(2)
    for number in range(2):
        buffer.write(number, whole.array[number], whole.manifest["experts"][str(number)])
    return buffer


def test_snapshots_are_the_trainers_own(whole):
    assert whole.epochs == (0, 1, 2, 3)
    assert whole.array.shape == (2, 4, sum(x.size for x in jax.tree.leaves(MODEL.init(jax.random.key(0)))))
    members, shared = jax.random.split(jax.random.key(0))
    trainer = make_trainer(MODEL, RECIPE)
    epoch = jax.jit(trainer.epoch)
    state = trainer.init(jax.random.fold_in(members, 1), jnp.float32(RECIPE.rate))
    for number in range(4):
        flat, _ = ravel_pytree(state.params)
        np.testing.assert_allclose(whole.flat(1, number), flat, rtol=1e-4, atol=1e-6)
        state, _ = epoch(state, EXAMPLES, Clock(jnp.int32(number), shared))
    assert (whole.flat(1, 3) != whole.flat(1, 2)).any() and (whole.flat(0, 0) != whole.flat(1, 0)).any()


def test_weights_come_back_as_networks(whole):
    params = jax.jit(whole.unravel)(whole.flat(0, 2))
    chex.assert_trees_all_equal_shapes_and_dtypes(params, MODEL.init(jax.random.key(0)))
    np.testing.assert_array_equal(ravel_pytree(params)[0], whole.flat(0, 2))
    pool = whole.stacked(2)
    chex.assert_trees_all_equal(jax.tree.map(lambda leaf: leaf[0], pool), params)
    assert {len(leaf) for leaf in jax.tree.leaves(pool)} == {2}


def test_running_statistics_are_part_of_the_vector():
    model = build("convnet", (8, 8, 3), 3, depth=1, width=4, norm="batch")
    params = model.init(jax.random.key(0))
    flat, _ = ravel_pytree(params)
    chex.assert_trees_all_equal(unraveller(model)(2 * flat), jax.tree.map(lambda x: 2 * x, params))
    where = [path for path, _, _ in layout(model)]
    assert any(path.startswith("batch_stats/") for path in where)
    assert where == [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in jax.tree.leaves_with_path(params)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_come_back_in_the_dtype_of_the_vector(dtype):
    """Whatever the network starts with, and even where it starts with several."""
    plain = build("mlp", (2, 2, 1), 2, width=3, depth=1)

    def mixed(key):
        params = plain.init(key)
        return params | {"head": jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params["head"])}

    for model in (plain, plain._replace(init=mixed)):
        flat = jnp.arange(23, dtype=dtype)
        params = unraveller(model)(flat)
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
        np.testing.assert_array_equal(ravel_pytree(params)[0], flat)


def test_the_manifest_speaks_of_the_last_weights(whole):
    assert sorted(whole.manifest["experts"]) == ["0", "1"]
    for number in range(2):
        logits = predict(MODEL, whole.unravel(whole.flat(number, 3)), TRAIN.images)
        said = whole.manifest["experts"][str(number)]
        assert said["accuracy"] == pytest.approx(np.mean(np.argmax(logits, 1) == TRAIN.labels))
        assert said["loss"] == pytest.approx(float(cross_entropy(logits, EXAMPLES.targets).mean()), rel=1e-4)
        assert said["versions"]["jax"] == jax.__version__
    assert whole.manifest["identity"]["space"] == "toy"


def test_any_block_of_epochs_is_one_program(whole):
    assert programs(MODEL, RECIPE, "map", 1, np.dtype("float32")).advance._cache_size() == 1


def test_an_expert_is_a_function_of_seed_and_number(whole):
    settings = {"kept": (0, 1, 2, 3), "dtype": np.dtype("float32")}
    (alone,) = train_experts(MODEL, RECIPE, EXAMPLES, seed=0, numbers=[1], **settings)
    assert alone.number == 1
    np.testing.assert_array_equal(alone.snapshots, whole.array[1])
    (other,) = train_experts(MODEL, RECIPE, EXAMPLES, seed=1, numbers=[1], **settings)
    assert (other.snapshots != alone.snapshots).mean() > 0.5
    side_by_side = train_experts(
        MODEL, RECIPE, EXAMPLES, seed=0, numbers=[0, 1], options=RunOptions(how="vmap"), **settings
    )
    np.testing.assert_allclose(np.stack([e.snapshots for e in side_by_side]), whole.array, rtol=1e-3, atol=1e-5)


def test_no_file_is_the_same_numbers(whole, cache):
    again = made(None, store=False)
    np.testing.assert_array_equal(again.array, whole.array)
    assert again.manifest["identity"] == whole.manifest["identity"] and not cache.exists()
    for number, record in again.manifest["experts"].items():
        assert record["sha256"] == whole.manifest["experts"][number]["sha256"]


def test_windows_and_halves_are_parts_of_the_whole(whole, tmp_path):
    ends, window = made(tmp_path, keep="ends"), made(tmp_path, keep=[2, 1])
    np.testing.assert_array_equal(ends.array, whole.array[:, [0, 3]])
    np.testing.assert_array_equal(window.array, whole.array[:, [1, 2]])
    assert (ends.epochs, window.epochs) == ((0, 3), (1, 2))
    half = made(tmp_path, storage="bfloat16")
    assert half.array.dtype == jnp.bfloat16 and half.flat(0, 1).dtype == np.float32
    np.testing.assert_array_equal(half.array, whole.array.astype(jnp.bfloat16))
    assert jax.tree.leaves(half.stacked(0))[0].dtype == jnp.float32
    for found, settings in [(ends, {"keep": "ends"}), (window, {"keep": [1, 2]}), (half, {"storage": "bfloat16"})]:
        assert size(MODEL, RECIPE, 2, **settings) == found.array.nbytes
    assert len(list(tmp_path.iterdir())) == 3


def test_more_are_added_and_fewer_are_served(whole, stored, tmp_path):
    calls, report = trained(3)
    three = made(tmp_path, experts=3, options=RunOptions(report=report))
    assert [(done, of) for done, of, _ in calls] == [(1, 3), (2, 3), (3, 3)] and calls[-1][2]["loss"] > 0
    np.testing.assert_array_equal(three.array[:2], whole.array)
    one = made(tmp_path, experts=1, options=RunOptions(report=report))
    np.testing.assert_array_equal(one.array, whole.array[:1])
    assert len(calls) == 3 and list(one.manifest["experts"]) == ["0"]
    with pytest.raises(ValueError, match="read-only"):
        one.array[0, 0, 0] = 1


def test_an_interrupted_fleet_goes_on(whole, tmp_path):
    def report(done, of, metrics):
        if done > RECIPE.epochs:  # in the midst of the second expert
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, options=RunOptions(report=report))
    calls, report = trained(2)
    again = made(tmp_path, options=RunOptions(report=report))
    assert calls[-1][:2] == (3, 3)
    np.testing.assert_array_equal(again.array, whole.array)


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
def test_damage_is_found_and_mended(whole, stored, tmp_path, caplog, damage, lost):
    damage(stored)
    calls, report = trained(2)
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


def test_a_strangers_manifest_is_refused(stored, tmp_path):
    resealed(stored.manifest_file, identity=stored.identity | {"space": "other"})
    with pytest.raises(ValueError, match="describes other experts"):
        made(tmp_path)


def test_a_second_process_waits_and_trains_nothing(whole, stored, tmp_path, caplog):
    stored.manifest_file.rename(tmp_path / "manifest")  # as if the first had not finished yet
    calls, report = trained(2)
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
def test_whatever_decides_the_numbers_decides_the_name(changes):
    assert TRAIN.labels[5] != 0
    assert buffers.fingerprint(described(**changes)) != buffers.fingerprint(described())
    assert buffers.fingerprint(described()) == buffers.fingerprint(described())


def test_rounded_products_have_a_name_of_their_own():
    with jax.default_matmul_precision("bfloat16"):
        rounded = described()
    assert rounded != described()


def test_the_size_is_told_before_anything_is_trained(whole, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="ddjax.experts")
    monkeypatch.setattr(buffers.shutil, "disk_usage", lambda path: buffers.shutil._ntuple_diskusage(9, 9, 1000))
    calls, report = trained(2)
    with pytest.raises(ValueError, match=r"do not fit.*bfloat16"):
        made(tmp_path, options=RunOptions(report=report))
    monkeypatch.undo()
    made(tmp_path, options=RunOptions(report=lambda *_: calls.append(caplog.text)))
    assert f"{size(MODEL, RECIPE, 2) / 1e9:.3f} GB" in calls[0] and "2 experts to be trained" in calls[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experts": 0}, "experts must be a whole number, at least 1; got 0"),
        ({"storage": "float16"}, "unknown storage 'float16'"),
        ({"keep": "everything"}, "unknown keep 'everything'"),
        ({"keep": [0, 4]}, r"to 3 \(recipe.epochs\); got \[0, 4\]"),
        ({"keep": []}, r"got \[\]"),
        ({"train": dataclasses.replace(TRAIN, space="pixels")}, "raw pixels"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_mistakes_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        made(tmp_path, **changes)
    assert not list(tmp_path.rglob("*.bin"))


def test_missing_snapshots_and_experts_are_named(whole):
    with pytest.raises(ValueError, match=r"epoch 4; kept: \[0, 1, 2, 3\]"):
        whole.flat(0, 4)
    with pytest.raises(ValueError, match="0 to 1; got 2"):
        whole.flat(2, 0)


def test_what_diverged_is_not_stored(tmp_path):
    with pytest.raises(ValueError, match="expert 0 diverged"):
        made(tmp_path, recipe=dataclasses.replace(RECIPE, rate=1e30, sharpness=None, epochs=1))
    assert not list(tmp_path.rglob("*.bin"))


def test_published_recipes():
    for name, epochs, sharp in [("mtt", 50, None), ("ftd", 50, Sharpness()), ("datm", 100, Sharpness(0.01, 0.3, True))]:
        recipe = Recipe(epochs=epochs, batch=256, rate=0.01, augment="dsa", sharpness=sharp)
        assert RECIPES[name] == recipe
    pool = RECIPES["dance"]
    assert (pool.epochs, pool.batch, pool.drop_epochs, pool.augment) == (60, 64, (40, 50), "dance_pretrain")
    assert (pool.momentum, pool.weight_decay, pool.drop, pool.cutmix) == (0.9, 5e-4, 0.2, 0.5)
    assert RECIPES["dance_128"].drop_epochs == (53, 66) and RECIPES["dance_128"].batch == 128
    assert pool_recipe(3).drop_epochs == (2, 2)
