"""Labels judged by features and by predictions: tables of scikit-learn with some labels flipped."""

import csv
import re

import jax.numpy as jnp
import numpy as np
import pytest
from reports import read_csv
from sklearn.datasets import load_wine

import ddjax
from ddjax.denoising import automatic, feature_blocks, prototypes, registry
from ddjax.denoising.combining import of_one_scale
from ddjax.denoising.keeping import Stages
from ddjax.denoising.predictor import FeatureSet, Plan, Request
from ddjax.evaluation.detection import detection
from ddjax.kernels.infinite import mlp_kernel
from ddjax.noise import transition
from ddjax.noise.corrupt import corrupt
from ddjax.robust.held_out import stratified_folds
from experiments import denoise as command

METHOD = "prototypes"


@pytest.fixture(scope="module")
def wine():
    features, truth = load_wine(return_X_y=True)
    return features, corrupt(truth.astype(np.int32), transition.symmetric(0.2, 3)), truth


@pytest.fixture(scope="module")
def found(wine):
    features, given, _ = wine
    return ddjax.denoise(features=features, labels=given, class_names=["red", "white", "rose"], method=METHOD)


def test_wrong_labels_of_a_table_are_found(found, wine):
    _, given, truth = wine
    said = detection(found.suspicion, found.flagged, found.cleaned, given, truth)
    assert said["auroc"] > 0.95 and said["f1"] > 0.8 and said["gain"] > 0.1, said
    assert found.method == "prototypes" and abs(found.noise_rate - said["noise_rate"]) < 0.05


def test_the_default_adds_ridge_regression_and_judges_the_mean(found, wine, caplog):
    features, given, truth = wine
    first = []
    with caplog.at_level("INFO", "ddjax.denoising"):
        last = ddjax.denoise(features=features, labels=given, early=first.append)
    assert "prototypes+ridge" in caplog.text and "ridge regression errs elsewhere" in caplog.text
    np.testing.assert_array_equal(first[0].wrong, found.wrong)
    assert detection(last.suspicion, last.flagged, last.cleaned, given, truth)["f1"] > 0.9


def test_members_in_feature_space_become_one(wine):
    features, given, _ = wine
    data = FeatureSet(features.astype(np.float32), given, 3)
    request = Request(data, Plan("auto"), Stages(None), {"data": ""}, registry.choose_predictor)
    members = [request.predict(name).members for name in ("ridge", "knn")]
    expected = of_one_scale(members).mean(axis=0, keepdims=True)
    np.testing.assert_array_equal(request.predict("ridge+knn").members, expected)


def test_the_default_takes_no_eigenvectors_of_a_large_matrix():
    for shape, method in (
        ((9, 2), "prototypes+ridge"),
        ((9_000, 5_000), "prototypes"),
        ((200, 5_000), "prototypes+ridge"),
    ):
        data = FeatureSet(np.broadcast_to(np.float32(0), shape), np.zeros(shape[0], np.int32), 2)
        assert automatic.chosen(data).methods[-1] == method


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"kernels": "rbf", "steps": 60}, {"kernels": "linear+ntk", "steps": 50}])
def test_other_kernels(wine, options):
    features, given, truth = wine
    report = ddjax.denoise(features=features, labels=given, method=METHOD, options=options)
    assert detection(report.suspicion, report.flagged, report.cleaned, given, truth)["auroc"] > 0.85


def test_nobody_judges_what_it_learned_from(wine):
    """A label that is changed changes no prediction of its own fold."""
    features, given, _ = wine
    folds = stratified_folds(given, 3, 0)
    other = given.copy()
    mine = np.flatnonzero(folds == 0)[:20]
    other[mine] = (other[mine] + 1) % 3
    scale = feature_blocks.measured(features)
    config = prototypes.PrototypesConfig(steps=5, batch=64, ipc=2)
    learned = []
    for labels in (given, other):
        data = FeatureSet(features, labels, 3)
        block = feature_blocks.block_of(data, folds, scale, slice(None))
        first = prototypes.first_prototypes(data._replace(labels=given), folds, config, scale, 0)
        learned.append(prototypes.trained(first, iter(lambda block=block: block, None), config, "linear", seed=0))
    np.testing.assert_array_equal(learned[0].points[0], learned[1].points[0])
    assert (np.asarray(learned[0].points[1]) != np.asarray(learned[1].points[1])).any()


@pytest.mark.slow
def test_blocks_are_read_from_a_mapped_file(wine, tmp_path, monkeypatch):
    features, given, _ = wine
    np.save(tmp_path / "x.npy", features.astype(np.float32))
    whole = ddjax.denoise(features=tmp_path / "x.npy", labels=given, method=METHOD)
    monkeypatch.setattr(feature_blocks, "BLOCK", 4 * 13 * 100)
    monkeypatch.setattr(prototypes, "BLOCK", 4 * 13 * 50)
    parts = ddjax.denoise(features=tmp_path / "x.npy", labels=given, method=METHOD, options={"batch": 64})
    assert parts.flagged.any() and (whole.flagged == parts.flagged).mean() > 0.9


def test_the_scale_of_the_columns(wine):
    features, _, _ = wine
    features = np.c_[features, np.full(len(features), 1e4)]
    scale = feature_blocks.measured(features)
    np.testing.assert_allclose(scale.mean, features.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale.deviation[:-1], features.std(axis=0)[:-1], rtol=1e-4)
    assert scale.deviation[-1] == 1 and np.abs(scale(features)).max() <= feature_blocks.CLIP


@pytest.mark.slow
def test_the_kernel_of_a_multilayer_perceptron_is_that_of_its_formula():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3)), jnp.float32)
    base = 2 * (x @ x.T) / 3 + 0.01
    size = jnp.sqrt(jnp.diag(base))
    angle = jnp.arccos(jnp.clip(base / size[:, None] / size[None], -1, 1))
    hidden = size[:, None] * size[None] / np.pi * (jnp.sin(angle) + (np.pi - angle) * jnp.cos(angle)) + 0.01
    np.testing.assert_allclose(mlp_kernel("nngp", 1)(x, x), hidden, rtol=1e-3, atol=1e-4)
    for kind, depth in (("ntkk", 1), ("ntk", 0)):
        with pytest.raises(ValueError, match=r"kind of kernel|depth must be at least 1"):
            mlp_kernel(kind, depth)


def test_predictions_are_judged_as_they_are(wine):
    _, given, truth = wine
    probs = np.where(np.eye(3)[truth] > 0, 0.9, 0.05).astype(np.float32)
    report = ddjax.denoise(pred_probs=probs, labels=given)
    np.testing.assert_array_equal(report.flagged, given != truth)
    np.testing.assert_array_equal(report.flagged, ddjax.judge(probs, given).flagged)
    several = ddjax.denoise(pred_probs=np.stack([probs] * 3), labels=np.array(["a", "b", "c"])[given])
    assert several.class_names == ("a", "b", "c") and (several.flagged == report.flagged).all()


def test_the_command_reads_files(wine, tmp_path, capsys):
    features, given, truth = wine
    np.savez(tmp_path / "emb.npz", embeddings=features, other=np.zeros(3))
    names = np.array(["red", "white", "rosé"])
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        rows = [(f"bottle {i}", names[label], f"tastes of {i}") for i, label in enumerate(given)]
        csv.writer(file).writerows([("id", "label", "text"), *rows])
    files = {"features": tmp_path / "emb.npz", "labels": tmp_path / "labels.csv"}
    settings = command.Settings(**files, method=METHOD, out=tmp_path / "out")
    assert command.denoise(settings) == 0
    assert "judged by prototypes" in capsys.readouterr().out
    cleaned = read_csv(tmp_path / "out" / "cleaned.csv")
    after = np.mean([row["label"] == names[label] for row, label in zip(cleaned, truth, strict=True)])
    assert after > (given == truth).mean() + 0.1 and cleaned[3]["text"] == "tastes of 3"
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert "tastes of" in page and "bottle" in page and "<img" not in page.partition("<main>")[2]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("dance", "judges images, not features"),
        ("prototypes+plain", "has parts that judge different kinds of data"),
        ("plain@prototypes", "has parts that judge different kinds of data"),
    ],
)
def test_a_method_says_what_it_can_judge(method, words):
    message = re.escape(f"method={method!r} {words}; for features use auto, ridge, knn, simifeat, prototypes")
    with pytest.raises(ValueError, match=message):
        ddjax.denoise(features=np.zeros((4, 2)), labels=[0, 1, 0, 1], method=method)
