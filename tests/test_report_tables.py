"""Tables and descriptions of claims as text."""

import re

import numpy as np
import pandas
import pytest
from report_study import row, seeds

from experiments.reporting import export, overview, published
from experiments.reporting.claims import Study
from experiments.reporting.page import TEMPLATES
from experiments.reporting.verdicts import judge
from experiments.running import classes


def test_the_text_table_has_methods_in_rows_and_labels_in_columns():
    rows = [*seeds(0.9, method="full", picked=0.95, best=0.96), *seeds(0.8, noise="clean", rate=0.0), row(0.7, ipc=1)]
    study = Study.of(rows)
    title, head, *lines = overview.table(study.cells).splitlines()
    assert "mean of 1 to 3 seed(s)" in title and head.split("  ")[-1].strip() == "symmetric 0.4"
    assert [" ".join(line.split()) for line in lines] == [
        "toy, 10 per class 80.0 +- 0.6 -",
        "full (B-PLAIN), last epoch - 90.0 +- 0.6",
        "full (B-PLAIN), picked on hold-out - 95.0 +- 0.6",
        "toy, 1 per class - 70.0",
    ]
    words = overview.claims(judge(study))
    assert "C1  undecided" in words and "Not tested by these rows: " in words and "C4" in words.splitlines()[-1]


def test_variants_are_named_by_the_settings_that_differ():
    same = {"width": 4, "options": ("batch=16",)}
    rows = [row(0.5, epochs=3, steps=5, **same), row(0.6, epochs=4, steps=5, **same), row(0.7, ipc=1, epochs=3, **same)]
    assert {cell.name for cell in Study.of([*rows, row(0.8, steps=5, **same)]).cells} == {
        "toy, 10 per class",
        "toy (epochs=3), 10 per class",
        "toy (epochs=4), 10 per class",
        "toy (epochs=3), 1 per class",
    }
    assert [cell.name for cell in Study.of([rows[0], rows[2]]).cells] == ["toy, 10 per class", "toy, 1 per class"]


def test_labels_corrected_by_students_of_several_protocols_are_apart():
    rows = [row(0.5, method="toy+relabel", protocol=name) | {"protocol": "B-DANCE"} for name in ("dance", "ncfm")]
    names = [f"toy+relabel (protocol={name}), 10 per class" for name in ("dance", "ncfm")]
    assert [cell.name for cell in Study.of(rows).cells] == names


def test_seeds_of_machines_with_different_precisions_are_one_cell():
    rows = [row(0.5, seed=0, precision="tensorfloat32"), row(0.6, seed=1, precision="float32"), row(0.7, seed=2)]
    study = Study.of(rows)
    assert [(cell.name, len(cell.rows)) for cell in study.cells] == [("toy, 10 per class", 3)]
    assert export.summary(study)[0]["precision"] == "float32, tensorfloat32"
    compared = Study.of([*rows, row(0.8, seed=0, precision="bfloat16")])
    assert {cell.name for cell in compared.cells} == {
        "toy, 10 per class",
        "toy (precision=bfloat16), 10 per class",
        "toy (precision=tensorfloat32), 10 per class",
    }


def test_special_characters_in_tables():
    special = pandas.DataFrame([{"a": "50 % of a_b & c\\d", "b": None, "c": 0.12344}])
    assert r"50 \% of a\_b \& c\textbackslash d &  & 0.1234 \\" in export.as_latex(special)
    pipes = pandas.DataFrame([{"a": "x|y", "b": None, "c": 0.12344, "d": "1e5"}])
    assert export.as_markdown(pipes).splitlines()[2].split() == ["|", "x\\|y", "|", "|", "0.1234", "|", "1e5", "|"]


def test_published_values_are_compared_with_full_size_cells_only():
    clean = {"noise": "clean", "rate": 0.0, "dataset": "cifar10", "method": "datm", "ipc": 50}
    found = published.published_for(row(0.7, **clean))
    assert found.accuracy == pytest.approx(0.761) and "DATM" in found.source
    assert published.published_for(row(0.7, **clean, limit=10000)) is None
    assert published.published_for(row(0.7, **clean, width=32)) is None
    assert published.published_for(row(0.7, **(clean | {"noise": "symmetric", "rate": 0.4}))) is None
    assert published.published_for(row(0.8, **(clean | {"method": "full"}))).accuracy == pytest.approx(0.848)
    record = export.summary(Study.of([row(0.72, **clean)]))[0]
    assert record["delta_published"] == pytest.approx(-0.041) and export.fails_clean(record)
    assert not export.fails_clean(export.summary(Study.of([row(0.74, **clean)]))[0])


def test_absorbed_noise_is_counted_by_class():
    clean = np.repeat(np.arange(3), 10)
    given = clean.copy()
    given[:4] = 1  # class 0 becomes 1; class 2 becomes 0 or 1 alike
    given[20:22], given[22:24] = 0, 1
    assert classes.flip_targets(given, clean, 3) == {0: 1}
    counts = np.array([[6, 4, 0], [0, 10, 0], [5, 0, 5]])
    found = classes.by_class(counts, given, clean, ("a", "b", "c"))
    assert found["absorbed"] == 0.4 and found["recall"] == [0.6, 1.0, 0.5]
    assert classes.by_class(counts, clean, clean, ("a", "b", "c"))["absorbed"] is None


def test_an_undecided_claim_states_its_detectable_effect():
    (few,) = (
        one
        for one in judge(Study.of(seeds(0.5, method="full", rate=0.6) + seeds(0.5, rate=0.6)))
        if one.claim.name == "C6"
    )
    assert few.words.startswith(
        "Undecided in the one comparison (digits: toy): +0.0 points (detectable with 80 % power: 3.1)."
    )


def test_a_claim_that_holds_in_one_setting_and_fails_in_another_has_a_table():
    rows = []
    for dataset, gain in (("one", 0.2), ("two", -0.2), ("three", 0.0)):
        where = {"rate": 0.6, "dataset": dataset}
        rows += seeds(0.5, method="full", **where) + seeds(0.5 + gain, **where)
    (few,) = (one for one in judge(Study.of(rows)) if one.claim.name == "C6")
    shown = TEMPLATES.get_template("verdicts.html").render(verdicts=[few]).partition("<details>")[0]
    assert few.words.startswith("It holds in 1, fails in 1 and is undecided in 1 of 3 comparisons.")
    lines = [re.sub(r"<[^>]*>", " ", line) for line in re.findall(r"<tr>.*?</tr>", shown)]
    assert [line.split() for line in lines] == [
        ["one:", "toy", "+20.0", "±", "0.8", "points", "●", "holds"],
        ["two:", "toy", "-20.0", "±", "0.8", "points", "✕", "fails"],
    ]
    assert "1 further comparisons" not in shown and "1 further comparison is below" in shown


def test_comparisons_name_the_reference_that_decides_and_the_last_epoch():
    rows = []
    for rate in (0.6, 0.8):
        rows += seeds(0.5, method="full", rate=rate, best=0.9, picked=0.85) + seeds(0.7, rate=rate)
    verdicts = [one for one in judge(Study.of(rows)) if one.claim.name in ("C1", "C10")]
    shown = TEMPLATES.get_template("verdicts.html").render(verdicts=verdicts)
    assert verdicts[0].headline == "fails"
    assert "<p>Against the epoch picked on a noisy hold-out: Fails in the one comparison" in shown
    assert shown.count(" Against the last epoch: Holds in the one comparison") == 1
