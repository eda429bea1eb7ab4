"""Expert trajectories: training, storage, and the identity that names a buffer."""

import chex
import experts_problem
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experts_problem import EXAMPLES, MODEL, RECIPE, TRAIN, made
from jax.flatten_util import ravel_pytree

from ddjax.execution.options import RunOptions
from ddjax.experts import RECIPES, pool_recipe, size
from ddjax.experts.fleet import programs, train_experts
from ddjax.experts.identity import layout, unraveller
from ddjax.models import build
from ddjax.training import Clock, Recipe, Sharpness, make_trainer, predict
from ddjax.training.losses import cross_entropy


@pytest.fixture
def whole():
    return experts_problem.whole()


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


def test_the_manifest_records_the_last_epoch(whole):
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


def test_experts_without_a_file_are_equal(whole, cache):
    again = made(None, store=False)
    np.testing.assert_array_equal(again.array, whole.array)
    assert again.manifest["identity"] == whole.manifest["identity"] and not cache.exists()
    for number, record in again.manifest["experts"].items():
        assert record["sha256"] == whole.manifest["experts"][number]["sha256"]


def test_a_search_for_nan_finds_none():
    plain = Recipe(epochs=1, batch=24, rate=0.1)
    with jax.debug_nans(True):
        more = {"seed": 0, "numbers": [0], "kept": (0, 1), "dtype": np.float32}
        [expert] = train_experts(build("mlp", (8, 8, 3), 3, width=4), plain, EXAMPLES, **more)
    assert np.isfinite(expert.snapshots).all()


def test_kept_epochs_and_bfloat16_are_taken_from_all_snapshots(whole, tmp_path):
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
    with pytest.raises(ValueError, match="unknown storage 'int8'"):
        size(MODEL, RECIPE, 2, storage="int8")


def test_missing_snapshots_and_experts_are_named(whole):
    with pytest.raises(ValueError, match=r"epoch 4; kept: \[0, 1, 2, 3\]"):
        whole.flat(0, 4)
    with pytest.raises(ValueError, match="0 to 1; got 2"):
        whole.flat(2, 0)


def test_published_recipes():
    for name, epochs, sharp in [("mtt", 50, None), ("ftd", 50, Sharpness()), ("datm", 100, Sharpness(0.01, 0.3, True))]:
        recipe = Recipe(epochs=epochs, batch=256, rate=0.01, augment="dsa", sharpness=sharp)
        assert RECIPES[name] == recipe
    pool = RECIPES["dance"]
    assert (pool.epochs, pool.batch, pool.drop_epochs, pool.augment) == (60, 64, (40, 50), "dance_pretrain")
    assert (pool.momentum, pool.weight_decay, pool.drop, pool.cutmix) == (0.9, 5e-4, 0.2, 0.5)
    assert RECIPES["dance_128"].drop_epochs == (53, 66) and RECIPES["dance_128"].batch == 128
    assert pool_recipe(3).drop_epochs == (2, 2)
