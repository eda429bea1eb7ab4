"""Reading and validation of result rows."""

import json

import pytest
from report_study import Outline, row, saved_set, study_rows

from ddjax.storage.rows import append
from experiments.report import report
from experiments.reporting.rows import read_rows


def test_the_last_of_several_rows_with_one_fingerprint_counts(tmp_path):
    append(tmp_path / "results.jsonl", row(0.5))
    append(tmp_path / "results.jsonl", row(0.6))
    append(tmp_path / "results.jsonl", row(0.7, seed=1))
    assert [r["last_acc"] for r in read_rows(tmp_path).done] == [0.6, 0.7]
    assert read_rows(tmp_path / "results.jsonl").done == read_rows(tmp_path).done


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "does not exist"), ("", "no result rows"), ("{broken\n", "line 1"), ('{"dataset": "x"}\n', "lacks noise")],
)
def test_errors_name_the_file(tmp_path, content, words):
    file = tmp_path / "rows.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=words) as error:
        report(file)
    assert "rows.jsonl" in str(error.value)


GOOD = json.dumps(row(0.5))


def changed(**fields):
    return json.dumps(row(0.7, seed=1) | fields)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GOOD[:-20], "is not JSON"),
        ("[1,2]", "not an object"),
        ("3", "not an object"),
        ("[" * 100_000, "is not JSON"),
        (changed(last_acc=float("nan")), "last_acc must be a finite number from 0 to 1; got nan"),
        (changed(last_acc="0.7"), "last_acc must be a finite number from 0 to 1; got '0.7'"),
        (changed(last_acc=True), "last_acc must be a finite number from 0 to 1; got True"),
        (changed(best_acc=70.0), "best_acc must be a finite number from 0 to 1; got 70.0"),
        (changed(last_acc=10**400), "last_acc must"),
        (changed(ipc="ten"), "ipc must be a whole number from 1 to 1e+18; got 'ten'"),
        (changed(config=None), "config must be a dict; got None"),
        (changed(config={"imbalance": "long"}), "config.imbalance must be a finite number from 0"),
        (changed(config={"precision": ["float32"]}), "config.precision must be text; got ['float32']"),
        (changed(operations={"distil": 1.0}), "operations are distil, not distil, train and shared"),
        (changed(operations={"train": 0.0}), "operations.train must be a finite number above 0"),
        (changed(space_s=[1.0]), "space_s must be a finite number from 0"),
        (changed(noise_checksum=7), "noise_checksum must be text; got 7"),
        (changed(recall=["high"]), "recall[0] must be a finite number from 0 to 1; got 'high'"),
        (changed(recall=[0.5], class_names=["a", "b"]), "recall has 1 entries for 2 class_names"),
        (changed(confusion=[[1, 2], [3]], class_names=["a", "b"]), "confusion is not 2 x 2"),
        (changed(ipc=None), "ipc is null, but method toy makes a set"),
        (changed(membership={"auc": "high"}), "membership['auc'] must be a finite number"),
        (changed(seeds=None), "seeds must be a dict; got None"),
        (changed(train_s=0.0), "train_s must be a finite number above 0"),
        (changed(command="\ud800"), "half of a surrogate pair"),
        (changed(status="failed", fingerprint=None), "fingerprint must be text; got None"),
    ],
)
def test_a_bad_row_is_named_and_left_out(tmp_path, line, words):
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{GOOD}\n\n{line}")
    found = read_rows(tmp_path)
    assert [made["last_acc"] for made in found.done] == [0.5] and not found.failed
    [bad] = map(str, found.bad)
    assert bad.startswith("rows.jsonl, line 3: ") and words in bad and len(bad) < 300


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_unicode_encodings_are_read(tmp_path, encoding):
    file, name = tmp_path / "rows.jsonl", "Größe"
    lines = json.dumps(row(0.5) | {"dataset": name}, ensure_ascii=False) + "\r\n" + changed()
    file.write_bytes(lines.encode(encoding))
    found = read_rows(file)
    assert {made["dataset"] for made in found.done} == {name, "digits"} and not found.bad
    file.write_bytes(lines.encode(encoding)[:-5])
    cut = read_rows(file)
    assert [made["dataset"] for made in cut.done] == [name] and [bad.line for bad in cut.bad] == [2]


def test_other_encodings_are_rejected(tmp_path):
    lines = json.dumps(row(0.5, seed=1) | {"dataset": "Größe"}, ensure_ascii=False) + "\n" + GOOD
    (tmp_path / "rows.jsonl").write_bytes(lines.encode("latin-1"))
    [bad] = read_rows(tmp_path).bad
    assert bad.line == 1 and "bytes that are not text" in bad.reason


def test_the_page_and_stderr_list_unusable_rows(tmp_path, capsys):
    for made in study_rows()[:12]:
        append(tmp_path / "rows.jsonl", made)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "row.json").write_text(changed(last_acc="<b>high</b>"))
    (tmp_path / "plan.json").write_text("[1, 2]")
    assert report(tmp_path, quiet=True) == 0
    text = (tmp_path / "report" / "report.html").read_text()
    top = text.split("<main>")[0]
    assert "2 records cannot be used and are left out:" in top and not Outline(text).open
    assert "runs/a/row.json: last_acc must be a finite number from 0 to 1; got &#39;&lt;b&gt;high" in top
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.splitlines()[0] == "2 records cannot be used and are left out:"
    assert (
        printed.err.splitlines()[1].startswith("runs/a/row.json: last_acc must") and "plan.json: is not" in printed.err
    )


def test_a_damaged_set_has_no_pictures(tmp_path, caplog):
    for made in (made for made in study_rows()[:12] if made["method"] == "toy"):
        append(tmp_path / "rows.jsonl", made)
        if made["seed"] == 0:
            saved_set(tmp_path / "runs" / made["fingerprint"] / "distilled")
            damaged = tmp_path / "runs" / made["fingerprint"] / "distilled.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert report(tmp_path, quiet=True) == 0
    [line] = [line for line in caplog.messages if line.startswith("no pictures of toy, seed 0: ")]
    assert str(damaged) in line


def test_a_long_list_of_bad_rows_is_counted(tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(["[]"] * 30))
    with pytest.raises(ValueError, match=r"(?s)30 records cannot be used.*and 20 more") as error:
        report(tmp_path)
    assert str(error.value).count(", line ") == 10


def test_rows_of_several_commits_are_announced(tmp_path, capsys):
    for seed, commit in enumerate(("a1", "a1", "b2")):
        append(tmp_path / "rows.jsonl", row(0.5, seed=seed) | {"commit": commit})
    report(tmp_path)
    words = "The rows are of 2 commits: a1 (2), b2 (1)."
    assert words in capsys.readouterr().out and words in (tmp_path / "report" / "report.html").read_text()


def test_tables_of_an_earlier_report_in_other_formats_are_removed(tmp_path):
    append(tmp_path / "rows.jsonl", row(0.5))
    for formats in (("csv", "md"), ("md",)):
        report(tmp_path / "rows.jsonl", tmp_path / "out", formats=formats, quiet=True)
    assert [file.name for file in sorted(tmp_path.glob("out/cells.*"))] == ["cells.md"]


def test_invalid_arguments_raise_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    append(tmp_path / "rows.jsonl", row(0.5))
    with pytest.raises(ValueError, match="Did you mean 'csv'"):
        report(tmp_path / "rows.jsonl", formats=("cvs",))
    assert not (tmp_path / "runs").exists()
    append(tmp_path / "attacks.jsonl", row(0.5) | {"membership": {"auc": 0.5, "tpr_at_1": 0.01, "shadows": 8}})
    with pytest.raises(ValueError, match="only rows of experiments"):
        report(tmp_path / "attacks.jsonl")
    append(tmp_path / "bad.jsonl", row(0.5) | {"status": "failed", "reason": "no"})
    with pytest.raises(ValueError, match="all 1 runs"):
        report(tmp_path / "bad.jsonl")
