"""Label errors found by students of distilled images, by cleanlab, and by young networks; digits, small."""

import dataclasses

import numpy as np
import pytest

import ddjax
from ddjax.denoising import SCORES, DenoiseReport, registry

QUICK = {"method": "herding", "ipc": 10, "width": 8, "students": 2, "epochs": 60, "protocol": "quick"}
QUICK |= {"flip": False}
QUICK |= {"options": {"features": "pixels"}}


def digits(noise=None, limit=500):
    spec = ddjax.NoiseSpec("symmetric", rate=noise) if noise else ddjax.NoiseSpec()
    made = ddjax.prepare(ddjax.load("digits"), spec, limit=limit)
    return made.train.images, np.asarray(made.train.labels), np.asarray(made.audit.labels)


@pytest.fixture(scope="module")
def noisy():
    return digits(0.3)


@pytest.fixture(scope="module")
def found(noisy, tmp_path_factory):
    images, given, _ = noisy
    root = tmp_path_factory.mktemp("stages")
    words = np.array([f"digit {c}" for c in range(10)])
    ids = [f"scan-{i}.png" for i in range(len(given))]
    return root, ddjax.denoise(images, words[given], ids=ids, keep=root, **QUICK)


def test_wrong_labels_are_found_and_put_right(found, noisy):
    _, report = found
    _, given, clean = noisy
    from ddjax.evaluation.detection import detection

    said = detection(report.suspicion, report.flagged, report.cleaned, given, clean)
    assert said["auroc"] > 0.93 and said["recall"] > 0.7 and said["false_flags"] < 0.1, said
    assert said["gain"] > 0.15
    assert abs(report.noise_rate - said["noise_rate"]) < 0.1
    # the promise: as many of the flagged are wrong as was said, within what 150 flags can show
    assert abs(report.expected_precision - said["precision"]) < 0.1
    assert (report.suggested != report.given)[report.flagged].all()
    assert (report.suggested == report.given)[~report.flagged].all()


def test_the_table_is_one_for_people(found):
    _, report = found
    pandas = pytest.importorskip("pandas")
    table = report.table
    assert isinstance(table, pandas.DataFrame)
    assert list(table) == ["id", "given_label", "suggested_label", "score", "rank", "flagged"]
    words = np.vectorize(lambda c: f"digit {c}")
    top = table.sort_values("rank").iloc[0]
    assert top["score"] == table["score"].max() and top["given_label"].startswith("digit ")
    issues = report.get_issues("label")
    assert list(issues) == ["is_label_issue", "label_score", "given_label", "predicted_label"]
    assert issues["label_score"][issues["is_label_issue"]].max() < issues["label_score"].median()
    text = report.report(most=3)
    assert f"flagged: {report.flagged.sum()}" in text and "expected to be wrong" in text
    assert text.count("scan-") == 3 and str(top["id"]) in text and "a lower precision flags more" not in text
    count = round(len(report.given) * report.noise_rate)
    few = dataclasses.replace(report, flagged=np.zeros_like(report.flagged), expected_precision=float("nan"))
    assert f"about {count} labels are estimated to be wrong" in few.report()
    assert "a lower precision flags more" in few.report()
    np.testing.assert_array_equal(few.get_issues()["predicted_label"], words(report.truth.argmax(axis=1)))


def test_a_report_comes_back_as_it_was(found, tmp_path):
    _, report = found
    again = DenoiseReport.load(report.save(tmp_path / "kept"))
    for name in ("ids", "given", "suggested", "suspicion", "truth", "flagged"):
        np.testing.assert_array_equal(getattr(again, name), getattr(report, name))
    assert again.scores.keys() == report.scores.keys() == set(SCORES)
    assert again.report() == report.report()
    np.testing.assert_array_equal(again.distilled.images, report.distilled.images)
    (tmp_path / "kept" / "report.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="damaged or replaced"):
        DenoiseReport.load(tmp_path / "kept")


@pytest.mark.slow
def test_finished_stages_are_not_done_again(found, noisy, monkeypatch):
    root, report = found
    images, given, _ = noisy

    def never(*args, **kwargs):
        raise AssertionError("this stage is there already")

    monkeypatch.setattr(registry, "distilled_set", never)
    with monkeypatch.context() as inner:
        inner.setattr(registry, "predict_students", never)
        again = ddjax.denoise(images, given, keep=root, precision=0.99, score="hybrid", **QUICK)
    assert again.flagged.sum() < report.flagged.sum() and again.score == "hybrid"
    assert again.seconds["distil"] == pytest.approx(report.seconds["distil"], abs=1e-3)
    asked = []
    monkeypatch.setattr(registry, "predict_students", lambda *a, **k: asked.append(1) or np.zeros((1, 500, 10), "f4"))
    ddjax.denoise(images, given, keep=root, **(QUICK | {"students": 1}))
    assert asked  # other students, the same distilled set
    with pytest.raises(AssertionError, match="there already"):
        ddjax.denoise(images, np.roll(given, 1), keep=root, **QUICK)


@pytest.mark.slow
def test_right_labels_are_left_alone():
    """Measured: no flag among 1442 digits at width 16, 3 students."""
    images, given, _ = digits(limit=None)
    report = ddjax.denoise(images, given, **QUICK | {"protocol": "common"})
    assert report.flagged.mean() < 0.005 and report.noise_rate < 0.02


@pytest.mark.parametrize(
    ("method", "epochs"), [pytest.param("cleanlab", 20, marks=pytest.mark.slow), ("small_loss", 100)]
)
def test_other_detectors_have_the_same_interface(noisy, method, epochs):
    images, given, clean = noisy
    pytest.importorskip("cleanlab")
    from ddjax.evaluation.detection import detection

    report = ddjax.denoise(
        images, given, **(QUICK | {"method": method, "options": None, "folds": 3, "plain_epochs": epochs})
    )
    said = detection(report.suspicion, report.flagged, report.cleaned, given, clean)
    assert said["auroc"] > 0.8 and said["precision"] > 0.5, said
    assert report.distilled is None and report.seconds.keys() >= {"judge"}


def test_cleanlab_is_asked_for_before_networks_are_trained(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("ddjax.denoising.training.held_out_probabilities", None)
    with pytest.raises(ValueError, match="method 'cleanlab' needs cleanlab"):
        ddjax.denoise(np.zeros((6, 4, 4), np.uint8), [0, 1] * 3, method="cleanlab", folds=2)


@pytest.mark.slow
def test_cleanlab_itself_flags():
    from ddjax.denoising.judging import judge, through_cleanlab

    filters = pytest.importorskip("cleanlab.filter")
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=300)
    given = np.where(rng.random(300) < 0.2, rng.integers(4, size=300), truth)
    logits = (rng.standard_normal((300, 4)) + 3 * np.eye(4)[truth]).astype(np.float32)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found = through_cleanlab(judge(logits[None], given, precision=0.8), logits[None], given)
    np.testing.assert_array_equal(found.flagged, filters.find_label_issues(given, np.exp(logits), n_jobs=1))


def test_what_cannot_be_read_is_said(noisy):
    images, given, _ = noisy
    for wrong, words in [
        ({"options": {"featurs": "pixels"}}, "Did you mean 'features'"),
        ({"ids": ["one"]}, "ids must have an entry for each of .* examples; got <U3"),
        ({"class_names": ["a", "b"]}, "holds class 9"),
    ]:
        with pytest.raises(ValueError, match=words):
            ddjax.denoise(images, given, **(QUICK | wrong))
