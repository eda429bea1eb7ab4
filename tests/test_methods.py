"""Methods beyond distillers in one table: robust rules, cleaning before and after, controls; tiny runs."""

import dataclasses
import functools
from unittest import mock

import numpy as np
import pytest

from ddjax.models.registry import _built
from ddjax.robust import RULES as ROBUST
from ddjax.robust import make_rule
from ddjax.robust.rules.losses import generalised_cross_entropy
from ddjax.robust.table import Published
from experiments.display import tables
from experiments.reporting.rows import read_rows
from experiments.running import full, rules
from experiments.running.config import Experiment, method_config
from experiments.running.distilling import set_of
from experiments.running.methods import CONTROLS, KNOWN, names, parse, sized
from experiments.running.run import run
from experiments.running.shared import Shared, make_ready, pieces
from experiments.sweeping.grid import Grid, cells

TINY = {"epochs": 2, "students": 1, "width": 4, "limit": 150, "holdout": 0.0, "protocol": "quick"}


OWN = Published(generalised_cross_entropy, 120, {"q": 0.7})
WITH_DATA = Published(generalised_cross_entropy, 120, {"q": 0.7}, data="T [k k]")
RULES = ("coteaching", "cleanlab", "kd", "forward", "nested_dropout", "nested_coteaching")


@pytest.fixture(scope="module")
def shared():
    return Shared()


@pytest.fixture(scope="module")
def row_of(shared):
    """A function of the settings that runs them once."""

    @functools.cache
    def row_of(**settings):
        return run(Experiment(**TINY | settings).settled(), shared=shared).row

    return row_of


def test_names_are_read():
    assert parse("elr") == parse("robust:elr") and parse("elr").rule == "elr" and not sized("elr")
    assert parse("forward_known").known and parse("forward_known").rule == "forward"
    own = parse(f"{__name__}:OWN")  # a rule of a fork
    assert own.rule == f"{__name__}:OWN" and own.on_all and own.method.config(q=0.5).q == 0.5
    assert parse("rcig+relabel").relabel == "rcig" and parse("rcig+relabel").on_all and sized("rcig+relabel")
    assert parse("prune+dance").wrapper == "prune" and not parse("prune+dance").on_all
    assert parse("relabel+dance").wrapper == "relabel" and sized("soft_label+random") and not parse("dance").wrapper
    assert parse("cleanlab").weights == "cleanlab" and parse("full").rule is None
    assert {"elr", "rcig", "cleanlab", "coteaching"} <= set(names())
    for wrong, words in [
        ("elrr", "Did you mean 'elr'"),
        ("robust:gcee", "Did you mean 'gce'"),
        ("prune+full", "distils nothing"),
        ("relabel+danse", "Did you mean 'dance'"),
        ("rcg+relabel", "Did you mean 'rcig'"),
        ("weighted", "unknown method"),
        (f"{__name__}:WITH_DATA", r"is a rule that needs data \(T \[k k\]\), which a run does not make"),
    ]:
        with pytest.raises(ValueError, match=words):
            parse(wrong)


def test_settings_of_a_rule_are_options():
    config = parse("elr").method.config
    found = method_config(config, Experiment(method="elr", options=("strength=1", "momentum=0.5")))
    assert (found.strength, found.momentum) == (1.0, 0.5)
    with pytest.raises(ValueError, match="Did you mean 'momentum'"):
        method_config(config, Experiment(method="elr", options=("momentumm=1",)))


def test_methods_without_a_size_have_one_cell():
    grid = Grid(methods=("elr", "random", "random+relabel"), ipc=(1, 10), seeds=(0,))
    assert [(cell.method, cell.ipc) for cell in cells(grid)] == [
        ("elr", 10),
        ("random", 1),
        ("random", 10),
        ("random+relabel", 1),
        ("random+relabel", 10),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("method", RULES)
def test_rules_make_rows_like_the_others(row_of, method):
    pytest.importorskip("cleanlab")
    row = row_of(method=method, holdout=0.2)
    assert row["ipc"] is None and row["protocol"] == "B-COSINE" and len(row["recall"]) == 10
    assert row["moments"].keys() == {"last", "best", "picked"}
    assert 0 <= row["last_acc"] <= 1 and row["denoising"]["relabel_acc"] <= 1
    if method == "coteaching":  # it takes the true share of wrong labels, and says so
        assert row["told"] == ["noise rate"] and row["rule_settings"]["forget"] == row["effective_rate"]
    assert method in tables.describe(row)


@pytest.mark.slow
def test_distil_then_clean(row_of):
    row = row_of(method="random+relabel", noise="symmetric", ipc=1)
    assert row["ipc"] == 1 and row["relabelling"]["noise_rate"] == pytest.approx(row["effective_rate"])
    assert "labels corrected first" in tables.describe(row)


@pytest.mark.parametrize(("options", "told"), [((), ["noise rate"]), (("forget=0.2",), [])])
def test_a_share_of_wrong_labels_that_the_user_gives_is_not_told(monkeypatch, options, told):
    monkeypatch.setattr(full, "score_full", lambda *args: [(None, {})])
    monkeypatch.setattr(full, "needs", lambda *args: rules.Needs(None, {"forget": 0.2}, None, False))
    cell = mock.Mock(parsed=parse("coteaching"), experiment=Experiment(method="coteaching", options=options))
    assert full._by_rule(cell, None, None)[1]["told"] == told


def test_no_cells_have_no_outcomes():
    assert run([]) == []


@pytest.mark.slow
def test_clean_then_distil(row_of):
    pytest.importorskip("cleanlab")
    row = row_of(method="prune+random", ipc=1, limit=300)
    assert row["images"] == 10 and row["train_images"] == 300 and row["ipc"] == 1


def test_a_cleaned_set_belongs_to_what_cleaned_it(shared):
    """cleanlab's networks train by the recipe of the baseline; those of other wrappers and plain sets do not."""

    ready = make_ready(Experiment(method="full", **TINY).settled(), shared)

    def named(method, **more):
        cell = Experiment(**TINY | {"method": method} | more).settled()
        chosen = pieces(cell)
        parts = {name: getattr(chosen, name) for name in ("parsed", "protocol", "baseline", "config")}
        return set_of(ready._replace(experiment=cell, **parts))

    for method, same in (("random", True), ("relabel+random", True), ("prune+random", False)):
        assert (named(method) == named(method, epochs=3)) == (named(method) == named(method, protocol="common")) == same
    assert named("relabel+random") != named("relabel+random", baseline="B-RCIG*")


def test_a_pruned_image_has_no_weight_and_class_weights_follow_the_counts(shared, monkeypatch):
    pytest.importorskip("cleanlab")
    ready = make_ready(Experiment(method="cleanlab", **TINY).settled(), shared)
    given, clean = (np.asarray(part.labels) for part in (ready.prepared.train, ready.prepared.audit))
    probabilities = 0.9 * np.eye(10)[clean] + 0.01
    monkeypatch.setattr(rules, "held_out", lambda *args: probabilities)
    monkeypatch.setattr(rules, "pruned", lambda *args: given != clean)
    found = rules.weights(ready, shared)
    np.testing.assert_array_equal(found == 0, given != clean)


def test_the_oracle_drops_wrong_labels_and_chance_as_many(shared):
    ready = make_ready(Experiment(method="oracle", **TINY).settled(), shared)
    given, clean = (np.asarray(part.labels) for part in (ready.prepared.train, ready.prepared.audit))
    oracle = ready._replace(parsed=parse("oracle"))
    np.testing.assert_array_equal(rules.weights(oracle, shared), given == clean)
    chance = rules.weights(ready._replace(parsed=parse("random_prune")), shared)
    assert chance.sum() == (given == clean).sum() and (chance != (given == clean)).any()


def test_held_out_predictions_are_shared_by_equal_networks_alone(shared, monkeypatch):
    calls = []
    monkeypatch.setattr(rules, "held_out_probabilities", lambda model, *rest, **more: calls.append(model) or len(calls))
    ready = make_ready(Experiment(method="cleanlab", **TINY).settled(), shared)
    elsewhere = make_ready(Experiment(method="cleanlab", preprocess="unit", **TINY).settled(), shared)
    plain, again, other = (_built.__wrapped__("mlp", (8, 8, 1), 10, width=w) for w in (4, 4, 5))
    assert plain is not again
    cases = [(ready, plain), (ready, again), (ready, other), (elsewhere, plain)]
    networks = iter(network for _, network in cases)
    monkeypatch.setattr("experiments.running.shared.network", lambda *unused: next(networks))
    assert [rules.held_out(cell, shared) for cell, _ in cases] == [1, 1, 2, 3]


@pytest.mark.parametrize("method", [name for name in (*ROBUST, *KNOWN, "cleanlab", *CONTROLS) if name != "weighted"])
def test_plans_count_folds_for_the_methods_that_ask_for_them(shared, monkeypatch, method):
    if method == "cleanlab":
        pytest.importorskip("cleanlab")
    experiment = Experiment(method=method, noise="symmetric", rate=0.2, **TINY).settled()
    ready = make_ready(experiment, shared)
    probabilities = np.full((len(ready.prepared.train.labels), 10), 0.01)
    probabilities[np.arange(len(probabilities)), ready.prepared.train.labels] = 0.91
    asked = []
    monkeypatch.setattr(rules, "held_out", lambda *args: asked.append(method) or probabilities)
    rules.needs(ready, shared)
    assert bool(asked) == rules.asks_folds(ready.parsed)


def test_rows_of_a_hold_out_keep_their_own_data():
    seen = {}

    def fake(model, recipe, examples, keys, *, rule, data, **more):
        seen["data"] = data

    needs = rules.Needs(make_rule("ce"), {}, np.arange(5.0), True)
    original, rules.fit = rules.fit, fake
    try:
        rules.trainer(needs)(np.array([4, 1]))(None, None, None, [0, 1, 2])
    finally:
        rules.fit = original
    np.testing.assert_array_equal(seen["data"], [[4, 1]] * 3)


def test_the_known_matrix_is_the_noises_own(shared):
    ready = make_ready(Experiment(method="forward_known", rate=0.3, **TINY).settled(), shared)
    matrix = rules.known_matrix(ready)
    np.testing.assert_allclose(np.diag(matrix), 0.7)
    human = ready._replace(experiment=dataclasses.replace(ready.experiment, noise="worst"))
    with pytest.raises(ValueError, match="no known transition matrix"):
        rules.known_matrix(human)


@pytest.mark.slow
def test_a_long_tail_shows_in_counts_and_recall(row_of):
    from experiments.reporting.cells import gather
    from experiments.reporting.tables import recalls

    row = row_of(method="random", ipc=1, imbalance=10.0, limit=None)
    assert row["class_counts"][0] > 8 * row["class_counts"][9] > 0
    (table,) = recalls(gather([row]))
    assert table["lines"][9]["images"] == row["class_counts"][9] and "long tail 10" in table["title"]
    assert recalls(gather([{**row, "recall": [0.5] * 30}])) == []


@pytest.mark.slow
def test_the_report_takes_them_beside_distillers(row_of, tmp_path):
    from ddjax.storage.rows import append
    from experiments.report import report

    for method in ("full", "gce", "random", "random+relabel"):
        for noise in ("clean", "symmetric"):
            append(tmp_path / "rows.jsonl", row_of(method=method, noise=noise, ipc=1))
    assert row_of(method="full", noise="clean", ipc=1)["moments"].keys() == {"last", "best"}  # without a hold-out
    assert report(tmp_path, quiet=True) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "gce" in page and "random+relabel" in page and "None per class" not in page
    assert len(read_rows(tmp_path).done) == 8
    recall = page.split('<section id="recall">')[1].split("</section>")[0]
    assert recall.count("<summary>digits, first 150") == 2 and recall.count('<th scope="row">') == 20
