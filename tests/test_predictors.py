"""Predictors by name: combinations, features without training, neighbours, and the default."""

import numpy as np
import pytest

import ddjax
from ddjax.denoising import automatic, costs, proximity
from ddjax.denoising.combining import Part, of_one_scale, parts_of
from ddjax.denoising.keeping import Stages
from ddjax.denoising.patches import ATOMS, features_of, patch_features, patch_size, shrunk
from ddjax.denoising.predictor import FeatureSet, Plan, Predictions, Predictor, Request
from ddjax.denoising.registry import PREDICTORS, choose_predictor
from ddjax.evaluation.measures import auc
from ddjax.kernels.left_out import left_out
from ddjax.types import TrainSet

QUICK = {"network": "mlp", "width": 64, "plain_epochs": 100, "flip": False}

FOUND = [
    ("plain@ridge", 0.95),
    ("ridge@ridge", 0.97),
    ("cross_validated", 0.85),
    ("aum", 0.85),
    ("simifeat", 0.85),
    ("elr@folds", 0.8),
]


@pytest.fixture(scope="module")
def noisy():
    """300 digits, 30 % of them with another label."""
    made = ddjax.prepare(ddjax.load("digits"), ddjax.NoiseSpec("symmetric", rate=0.3), limit=300)
    return made.train.images, np.asarray(made.train.labels), np.asarray(made.audit.labels)


def ranked(report, clean):
    wrong = report.given != clean
    return auc(report.suspicion[wrong], report.suspicion[~wrong])


def test_rows_are_predicted_as_if_they_had_been_left_out():
    rng = np.random.default_rng(0)
    for n, d in ((12, 30), (30, 5)):
        x, y = rng.standard_normal((n, d)).astype("f"), rng.standard_normal((n, 2)).astype("f")
        found = left_out(x, y, ridges=[0.3])
        z = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6 * x.var(0).mean())
        ridge = 0.3 * (z**2).sum() / n
        for i in range(3):
            rest = np.arange(n) != i
            # centred features, and a free constant in place of the targets' mean
            design = np.c_[z, np.ones(n)]
            penalty = ridge * np.diag([*np.ones(d), 0.0])
            solved = np.linalg.solve(design[rest].T @ design[rest] + penalty, design[rest].T @ y[rest])
            np.testing.assert_allclose(found.predictions[i], design[i] @ solved, atol=2e-3)


def test_members_that_no_seed_tells_apart_are_refused():
    features, labels = np.random.default_rng(0).standard_normal((30, 4)).astype("f"), np.arange(30) % 2
    with pytest.raises(ValueError, match=r"ridge\*3: ridge predicts the same with every seed here; write ridge"):
        ddjax.denoise(features=features, labels=labels, method="ridge*3")


def test_a_ridge_is_chosen_by_the_rows_left_out():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 40)).astype("f")
    clear, noise = x[:, :1] * 3, rng.standard_normal((200, 1))
    assert left_out(x, clear).ridge < left_out(x, noise).ridge
    with pytest.raises(ValueError, match="three rows or more"):
        left_out(x[:2], clear[:2])


def test_patches_of_mirror_images_are_the_same_features():
    images = np.random.default_rng(0).integers(256, size=(6, 12, 12, 3)).astype(np.uint8)
    both = np.concatenate([images, images[:, :, ::-1]])
    found = patch_features(both, 0, atoms=8)
    assert found.shape == (12, features_of(12, (12, 12, 3)) * 8 // ATOMS)
    np.testing.assert_allclose(found[:6], found[6:], atol=1e-5)
    assert np.abs(patch_features(both, 0, atoms=8, flip=False)[:6] - found[6:]).max() > 1e-3
    assert patch_size((1, 9)) == 1 and features_of(5, (1, 9, 3)) == 2 * ATOMS  # a row of pixels
    large = np.full((2, 100, 70, 3), 51, np.uint8)
    assert shrunk(large).shape == (2, 50, 35, 3) and np.allclose(shrunk(large), 0.2)


def test_neighbours_vote_without_the_row_itself():
    x = np.repeat(np.eye(3, dtype="f"), 11, axis=0) + np.random.default_rng(0).normal(0, 0.01, (33, 3)).astype("f")
    labels = np.repeat(np.arange(3), 11)
    labels[0] = 2
    found = proximity.votes(x, labels, 3, 0)
    assert found[0].tolist() == [1, 0, 0]
    np.testing.assert_allclose(found[1], [9 / 10, 0, 1 / 10], atol=1e-6)


def test_names_are_sums_of_parts():
    assert parts_of("plain*3 + elr@folds") == [Part("plain", 3), Part("elr@folds", 1)]
    assert parts_of("plain@(plain*2+ridge)*4+knn") == [Part("plain@(plain*2+ridge)", 4), Part("knn", 1)]
    assert choose_predictor("knn+ridge").takes == ("images", "features")
    for name, words in [
        ("plain*0", "must be a sum of NAME, "),
        ("plain*2+", "must be a sum"),
        ("plain+ridge+plain*2", "has the part 'plain' twice"),
        ("plain@(plain", "must be a sum"),
        ("plian*2", "Did you mean 'plain'"),
        ("full", "unknown method 'full'"),
        ("plain@fold", "unknown method 'fold'"),
        ("knn@folds", "unknown rule 'knn'"),
        ("knn@rounds", "unknown method that learns from soft labels"),
    ]:
        with pytest.raises(ValueError, match=words):
            choose_predictor(name)


def test_seeds_of_members_stay_seeds(monkeypatch):
    features, labels = np.random.default_rng(0).standard_normal((30, 4)).astype("f"), np.arange(30) % 2
    seeds = []

    def predict(request):
        seeds.append(request.plan.seed)
        return Predictions(np.random.default_rng(request.plan.seed).standard_normal((1, 30, 2)))

    monkeypatch.setitem(globals(), "OWN", Predictor(predict, ("features",), ("seed",)))
    ddjax.denoise(features=features, labels=labels, method=f"{__name__}:OWN*2", seed=2**32 - 1)
    assert seeds == [2**32 - 1, 999]


def test_what_a_predictor_of_a_fork_predicts_is_checked(monkeypatch):
    features, labels = np.random.default_rng(0).standard_normal((30, 4)).astype("f"), np.arange(30) % 2
    name = f"{__name__}:OWN"
    for made, words in [
        (Predictions(np.full((1, 30, 2), np.nan)), f"members predicted by method='{name}' are not finite"),
        (Predictions(np.zeros((30, 2))), rf"method='{name}' must be \[s n k\], here \[s 30 2\]; got \[30, 2\]"),
        (np.zeros((1, 30, 2)), f"what method='{name}' predicts must be a Predictions"),
    ]:
        own = Predictor(lambda request, made=made: made, ("features",), ())
        monkeypatch.setitem(globals(), "OWN", own)
        with pytest.raises(ValueError, match=words):
            ddjax.denoise(features=features, labels=labels, method=name)


def test_members_are_brought_to_one_scale():
    rng = np.random.default_rng(0)
    loud, quiet = 50 * rng.standard_normal((1, 9, 4)) + 3, rng.standard_normal((1, 9, 4))
    found = of_one_scale([loud, quiet])
    np.testing.assert_allclose((found**2).mean(axis=(1, 2)), 1, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "least"), FOUND)
def test_every_predictor_finds_wrong_digits(noisy, method, least):
    images, given, clean = noisy
    report = ddjax.denoise(images, given, method=method, folds=3, **QUICK)
    assert ranked(report, clean) > least, ranked(report, clean)
    assert np.isfinite(report.suspicion).all() and report.method == method


@pytest.mark.slow
def test_the_default_is_quick_on_few_images_and_says_why(noisy, caplog):
    images, given, clean = noisy
    with caplog.at_level("INFO", "ddjax.denoising"):
        report = ddjax.denoise(images, given, flip=False)
    assert report.method == "auto" and ranked(report, clean) > 0.97
    assert "300 images teach a network from scratch little" in caplog.text and "about " in caplog.text


def test_the_default_tells_a_quick_ranking_first_and_trained_networks_find_wrong_digits(noisy, monkeypatch):
    images, given, clean = noisy
    choice = automatic.Choice(("ridge", "plain"), "a test")
    monkeypatch.setattr(automatic, "chosen", lambda data: choice)
    first = []
    last = ddjax.denoise(images, given, early=first.append, **QUICK)
    assert len(first) == 1 and first[0].seconds.keys() == {"ridge", "judge"}
    assert np.abs(first[0].wrong - last.wrong).max() > 0 and ranked(last, clean) > 0.9


def test_the_default_is_kept_under_all_that_decides_it():
    inputs = [FeatureSet(np.zeros((9, 2)), range(9), 3)]
    inputs += [TrainSet(images=None, labels=range(n), ids=None, num_classes=3) for n in (9, 9000)]
    for data in inputs:
        for method in automatic.chosen(data).methods:
            assert {*choose_predictor(method).decides, "options"} <= {*PREDICTORS["auto"].decides, "options"}


def test_time_grows_with_what_is_done(monkeypatch):
    monkeypatch.setattr(costs, "measured_rate", lambda: 1e11)

    def spent(n, *methods):
        labels = np.arange(n) % 10
        data = TrainSet(images=np.zeros((n, 32, 32, 3), np.uint8), labels=labels, ids=labels, num_classes=10)
        request = Request(data, Plan("auto"), Stages(None), {"data": ""}, choose_predictor)
        return automatic.forecast(request, methods)

    # measured on two quiet cores: 235 s for one network of width 64 on 10,000 images
    [one] = spent(10_000, "plain")
    assert 235 / 1.5 < one < 235 * 1.5
    assert spent(20_000, "plain")[0] > 1.8 * one and spent(10_000, "plain*2")[0] > 1.8 * one
    assert spent(10_000, "plain@plain")[0] > 1.8 * one
    # the ensemble reuses the answer of its part
    assert spent(10_000, "ridge", "plain+ridge")[1] < spent(10_000, "plain+ridge")[0] + 1
    assert choose_predictor("dance").cost is None
    assert [name for name, predictor in PREDICTORS.items() if predictor.cost is None] == ["auto"]
    features = FeatureSet(np.zeros((1000, 8), np.float32), np.arange(1000) % 10, 10)
    prototypes = choose_predictor("prototypes").cost(features, Plan("prototypes", options={"kernels": "linear+rbf"}))
    assert prototypes.flop > 1.9 * choose_predictor("prototypes").cost(features, Plan("prototypes")).flop
