"""The likelihood-ratio attack finds what it should, and nothing where there is nothing."""

import json
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from scipy import stats

from ddjax.evaluation import membership
from ddjax.evaluation.measures import auc
from ddjax.execution.guard import Diverged
from ddjax.models import build
from ddjax.precision import asked
from ddjax.training import Examples, Recipe, fit, predict
from experiments import membership as command
from experiments.reporting.claims import Study
from experiments.reporting.rows import read_rows
from experiments.running.config import Experiment
from experiments.running.shared import Shared, make_ready


def simulated(gain, shadows=64, n=400, spread=1.0):
    """Scores of models: each example has a level of its own, and is `gain` higher for models that saw it."""
    rng = np.random.default_rng(0)
    inside = membership.halves(n, shadows, 0)
    level = 5 * rng.normal(size=n)
    return level + gain * inside + spread * rng.normal(size=(shadows, n)), inside


def test_a_shadow_that_diverges_says_so(monkeypatch):
    monkeypatch.setattr(command, "distill_cells", lambda *args: [Diverged("NaN in the images")])
    cell = mock.Mock(parsed=mock.Mock(on_all=False))
    with pytest.raises(Diverged, match="NaN in the images"):
        command.answers(cell, None, None)


def test_every_example_is_in_half_of_the_shadows():
    inside = membership.halves(101, 8, 3)
    assert inside.shape == (8, 101) and set(inside.sum(axis=0)) == {4}
    assert set(inside.sum(axis=1)) == {50, 51}
    assert (membership.halves(101, 8, 4) != inside).any()


def test_log_odds_are_those_of_the_labels_probability():
    logits = np.random.default_rng(0).normal(size=(2, 5, 3)) * 3
    labels = np.array([0, 1, 2, 0, 1])
    p = np.take_along_axis(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), labels[None, :, None], -1)[..., 0]
    np.testing.assert_allclose(membership.log_odds(logits, labels), np.log(p / (1 - p)))
    assert np.isfinite(membership.log_odds(1e4 * logits, labels)).all()  # where p is 1 to the last bit


@pytest.mark.parametrize("shadows", [16, 64])
def test_a_shift_is_detected_near_the_optimum(shadows):
    """Two unit normals at a distance d: no attack has a larger AUC than Phi(d / sqrt 2)."""
    scores, inside = simulated(1.5, shadows)
    best, found = stats.norm.cdf(1.5 / np.sqrt(2)), membership.attack(scores, inside)
    assert best - 0.06 < found.auc <= best + 0.01 and found.shadows == shadows
    assert 0.1 < found.tpr < stats.norm.sf(stats.norm.isf(0.01) - 1.5) + 0.02
    plain = np.mean([auc(s[m], s[~m]) for s, m in zip(scores, inside, strict=True)])
    assert plain < 0.65 < found.auc  # one threshold for all examples sees their levels, not who was in the data


def test_without_leakage_the_attack_is_at_chance():
    found = membership.attack(*simulated(0.0))
    assert found.auc == pytest.approx(0.5, abs=0.02) and found.tpr == pytest.approx(0.01, abs=0.01)


def test_the_attacked_model_is_excluded_from_its_reference_distributions():
    """Its own score, however far off, moves no distribution that it is judged by."""
    scores, inside = simulated(1.0, 16, 30)
    moved = scores.copy()
    moved[3] += 100.0
    ours, theirs = (membership.likelihood_ratios(s, inside) for s in (scores, moved))
    assert not np.allclose(ours[3], theirs[3])
    rest = np.arange(16) != 3
    alone = membership.likelihood_ratios(np.delete(scores, 5, 0), np.delete(inside, 5, 0))
    again = membership.likelihood_ratios(np.delete(moved, 5, 0), np.delete(inside, 5, 0))
    assert not np.allclose(ours[rest], theirs[rest]) and not np.allclose(alone[3], again[3])
    mean, variance = membership._normal(scores[rest], inside[rest])
    other_mean, other_variance = membership._normal(moved[rest], inside[rest])
    np.testing.assert_array_equal(mean, other_mean)
    np.testing.assert_array_equal(variance, other_variance)


def test_share_found_at_few_false_alarms():
    others = np.arange(200.0)
    assert membership.found_at(np.array([197.0, 197.5, 198.0, 500.0]), others) == 0.75  # 198 and 199 may be false
    assert membership.found_at(np.full(3, 197.0), others) == 0.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: membership.halves(10, 9, 0), "even"),
        (lambda: membership.halves(10, 4, 0), "at least 8"),
        (lambda: membership.attack(np.full((8, 3), np.nan), membership.halves(3, 8, 0)), "diverged"),
        (lambda: membership.attack(np.zeros((8, 3)), np.zeros((8, 3), bool)), "three"),
    ],
)
def test_invalid_arguments_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.slow
def test_memorising_networks_are_detected_and_untrained_ones_are_not():
    """Random labels, which can only be learned by heart; all shadow models as one program."""
    rng, n, shadows = np.random.default_rng(0), 40, 8
    images, labels = rng.normal(size=(n, 2, 2, 1)).astype(np.float32), rng.integers(0, 3, n)
    inside = membership.halves(n, shadows, 0)
    rows = np.stack([np.flatnonzero(mask) for mask in inside])
    model = build("mlp", (2, 2, 1), 3, width=32, depth=1)
    examples = Examples(jnp.asarray(images[rows]), jax.nn.one_hot(labels[rows], 3))

    def found(rate):
        recipe = Recipe(epochs=150, batch=16, rate=rate, momentum=0.9)
        params = fit(model, recipe, examples, jax.random.split(jax.random.key(0), shadows)).params
        logits = jax.vmap(lambda one: predict(model, one, jnp.asarray(images)))(params)
        return membership.attack(membership.log_odds(np.asarray(logits), labels), inside)

    assert found(0.1).auc > 0.75
    assert found(1e-9).auc == pytest.approx(0.5, abs=0.1)


SMALL = {"limit": 200, "width": 4, "epochs": 2, "students": 1, "rate": 0.4, "ipc": 1}


@pytest.mark.slow
def test_a_shadow_model_sees_its_half_and_is_asked_about_all():
    cell = make_ready(Experiment(method="full", **SMALL), Shared())
    mask = membership.halves(200, 8, 0)[3]
    shadow, pool = command.half(cell, mask, 17), cell.prepared.train
    seen = command.everything(shadow, Shared())
    np.testing.assert_array_equal(seen.labels, np.asarray(pool.labels)[mask])
    np.testing.assert_array_equal(shadow.prepared.train.images, np.asarray(pool.images)[mask])
    np.testing.assert_array_equal(shadow.prepared.audit.labels, np.asarray(cell.prepared.audit.labels)[mask])
    assert shadow.experiment.seed == 17 and seen.images.shape == (100, 8, 8, 1)
    logits, accuracy = command.answers(shadow, pool, cell.prepared.test)
    assert logits.shape == (1, 200, 10) and np.isfinite(logits).all() and 0 <= accuracy <= 1


def test_the_command_leaves_a_row_for_each_side_of_the_claim(tmp_path, capsys, monkeypatch):
    """The report keeps such rows apart from those of whole sets."""
    out, rng, precisions = tmp_path / "rows.jsonl", np.random.default_rng(0), []

    def answers(cell, pool, *_):
        precisions.append(asked())
        return rng.normal(size=(1, len(pool.labels), 10)), 0.5

    monkeypatch.setattr(command, "answers", answers)
    for method in ("random", "full"):
        flags = [f"--{name}={value}" for name, value in {**SMALL, "method": method, "out": out, "shadows": 8}.items()]
        assert tyro.cli(command.membership_of, args=[*flags, "--quiet", "--precision=bfloat16"]) == 0
    assert set(precisions) == {"bfloat16"}
    assert "accuracy 50.0 %" in capsys.readouterr().out
    random, full = map(json.loads, out.read_text().splitlines())
    assert random["ipc"] == 1 and full["ipc"] is None and random["protocol"] == full["protocol"] == "common"
    for row in (random, full):
        assert row["membership"]["auc"] == pytest.approx(0.5, abs=0.05) and row["train_images"] == 100
    study = Study.of(read_rows(out).done)
    assert len(study.attacked) == 2 and not study.cells and not study.compared
    with pytest.raises(ValueError, match="distils nothing"):
        command.membership_of(command.Settings(method="elr", out=out, **SMALL))
