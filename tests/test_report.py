"""Rows to tables, figures and the page's text: everything that needs no browser."""

import csv
import dataclasses
import html.parser
import itertools
import json
import pathlib
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter

import numpy as np
import pandas
import pytest
from report_study import extras, row, seeds, study_rows
from scipy import stats

from ddjax import preprocess
from ddjax.distilled import DistilledSet
from ddjax.distilled.saving import load_distilled, save_distilled
from ddjax.storage.rows import append
from experiments.report import report
from experiments.reporting import bars, export, overview, pictures, published, svg
from experiments.reporting.cells import gather
from experiments.reporting.claims import Study
from experiments.reporting.figures import all_figures, phenomenon
from experiments.reporting.opening import _main, interval
from experiments.reporting.page import TEMPLATES, page
from experiments.reporting.rows import read_rows
from experiments.reporting.verdicts import judge
from experiments.running import classes
from experiments.running.config import Experiment
from experiments.sweeping.store import Store

VOID = {"meta", "link", "img", "input", "br", "hr"}


def saved_set(path, value=0.5, classes=10, ipc=1):
    """A set of flat grey images, each class of its own brightness."""
    train = np.full((4, 4, 4, 1), 255, np.uint8)
    transform = preprocess.fit("unit", train)
    labels = np.repeat(np.arange(classes), ipc)
    images = np.ones((len(labels), 4, 4, 1), np.float32) * (value * (labels + 1) / classes)[:, None, None, None]
    save_distilled(
        DistilledSet(
            images=images.astype(np.float32),
            labels=labels.astype(np.int32),
            preprocess=transform,
            space=transform.fingerprint,
            num_classes=classes,
        ),
        path,
    )


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep's directory: rows, two saved sets, and a failure."""
    root = tmp_path_factory.mktemp("sweep")
    for made in study_rows():
        folder = root / "runs" / made["fingerprint"]
        folder.mkdir(parents=True)
        (folder / "row.json").write_text(json.dumps(made | {"status": "done", "seconds": 1.0}))
        if (made["method"], made["ipc"], made["seed"], made["rate"]) == ("toy", 1, 0, 0.4):
            saved_set(folder / "distilled")
    failure = row(0.0, method="broken<b>", seed=7)
    (root / "runs" / "bad").mkdir()
    (root / "runs" / "bad" / "row.json").write_text(
        json.dumps(failure | {"status": "failed", "reason": "out of memory </script><script>alert(1)</script>"})
    )
    assert report(root, quiet=True) == 0
    return root


@pytest.fixture(scope="module")
def document(sweep):
    return (sweep / "report" / "report.html").read_text()


class Outline(html.parser.HTMLParser):
    """Every start tag with its attributes; mismatched end tags are an error."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_the_network_for_nothing(document):
    outline = Outline(document)
    assert not outline.open
    for tag, attributes in outline.tags:
        for name in ("src", "href", "srcset", "action"):
            if tag != "a":  # a link is followed by who clicks on it, and by nobody else
                assert not re.match(r"(https?:)?//", attributes.get(name) or ""), (tag, attributes)
        assert tag not in ("iframe", "object", "embed")
        if tag == "img" and "hidden" not in attributes:
            assert attributes["src"].startswith("data:image/png;base64,") and attributes["alt"]
        if tag == "svg":
            assert attributes["role"] == "img" and attributes["aria-label"]
    assert "@import" not in document and "url(" not in document


def test_the_page_is_one_outline(document):
    outline = Outline(document)
    ids = Counter(a["id"] for _, a in outline.tags if "id" in a)
    assert set(ids.values()) == {1}
    links = {a["href"][1:] for tag, a in outline.tags if tag == "a" and a["href"].startswith("#")}
    assert links and links <= set(ids)
    site = {a["href"] for tag, a in outline.tags if tag == "a"} - {f"#{name}" for name in links}
    page = (pathlib.Path(__file__).parents[1] / ".docs" / "pages" / "verdicts.md").read_text()
    for address in site:  # each verdict's own part of the page on how they are made
        assert address.startswith("https://ddjax.github.io/ddjax/verdicts/#")
        assert f"{{ #{address.split('#')[1]} }}" in page
    assert len(site) >= 5
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    heads = [a for tag, a in outline.tags if tag == "th" and "aria-sort" in a]
    assert len(heads) >= 10 and {a["scope"] for a in heads} == {"col"}


def test_names_from_data_cannot_break_out(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "<script>alert" not in document and "out of memory &lt;/script&gt;" in document
    nasty = '</script><img src=x onerror="alert(1)">'
    rows = [
        made | {"dataset": nasty, "class_names": [nasty] * 10, "command": nasty}
        for made in seeds(0.5, method="full", **extras(60)) + seeds(0.6, method=nasty, **extras(80))
    ]
    for made in rows:
        append(tmp_path / "rows.jsonl", made)
    report(tmp_path / "rows.jsonl", quiet=True)
    text = (tmp_path / "runs" / "report" / "rows" / "report.html").read_text()  # nothing is written beside the rows
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["rows.jsonl", "runs"]
    assert "<img src=x" not in text and 'onerror="' not in text
    Outline(text)
    inside = text.split('id="confusions">')[1].split("</script>")[0]
    assert json.loads(inside)[0]["classes"][0] == nasty


def test_tables_hold_every_run_and_every_cell(sweep):
    rows = list(csv.DictReader((sweep / "report" / "runs.csv").read_text().splitlines()))
    wanted = (
        "dataset, noise, level, effective_rate, method, ipc, seed, last_acc, best_acc, baseline_id, baseline_last, "
    )
    assert set((wanted + "baseline_best, delta_last, delta_best").split(", ")) <= set(rows[0])
    assert len(rows) == len(study_rows())
    one = next(
        r
        for r in rows
        if (r["method"], r["noise"], r["level"], r["ipc"], r["seed"]) == ("toy", "symmetric", "0.4", "10", "0")
    )
    assert float(one["last_acc"]) == pytest.approx(0.73) and float(one["baseline_last"]) == pytest.approx(0.64)
    assert float(one["delta_last"]) == pytest.approx(0.09) and one["baseline_id"] == "B-PLAIN"
    cells = pandas.read_parquet(sweep / "report" / "cells.parquet")
    assert len(cells) == len(gather(study_rows()))
    same = pandas.read_csv(sweep / "report" / "cells.csv")
    assert same["last_acc"].to_numpy() == pytest.approx(cells["last_acc"].to_numpy())
    markdown = (sweep / "report" / "cells.md").read_text().splitlines()
    assert len(markdown) == len(cells) + 2 and len({line.count("|") for line in markdown}) == 1
    latex = (sweep / "report" / "cells.tex").read_text()
    assert latex.count(r" \\") == len(cells) + 1 and r"last\_acc" in latex


def test_the_page_says_what_of_the_plan_is_missing(tmp_path, capsys):
    there, absent = [row(0.5, seed=s) for s in (0, 1)], [row(0.5, ipc=50, seed=s) for s in (0, 1, 2)]
    for made in there:
        append(tmp_path / "results.jsonl", made)
    cells = [Experiment(**{**made["config"], "options": ()}) for made in (*there, *absent)]
    Store(tmp_path).plan(cells)
    assert report(tmp_path) == 0
    text = (tmp_path / "report" / "report.html").read_text()
    assert "Of 5 planned runs" in text and "symmetric 0.4: toy, 50 per class, common: 3 seeds" in text
    assert "5 runs are planned: 3 are missing, 0 failed" in capsys.readouterr().out
    assert 'id="missing"' in text and not Outline(text).open


def test_a_terminal_shows_methods_down_and_labels_across():
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


def test_special_characters_in_tables():
    special = pandas.DataFrame([{"a": "50 % of a_b & c\\d", "b": None, "c": 0.12344}])
    assert r"50 \% of a\_b \& c\textbackslash d &  & 0.1234 \\" in export.as_latex(special)
    pipes = pandas.DataFrame([{"a": "x|y", "b": None, "c": 0.12344, "d": "1e5"}])
    assert export.as_markdown(pipes).splitlines()[2].split() == ["|", "x\\|y", "|", "|", "0.1234", "|", "1e5", "|"]


def numbers(panel, name):
    """The numbers of one series, as the panel says them to those who cannot see it."""
    said = ElementTree.fromstring(panel).attrib["aria-label"]
    part = next(p for p in said.split("; ") if p.split(". ")[-1].startswith(f"{name}: "))
    return [float(x) for x in re.findall(r"([-\d.]+) at", part)], said


def test_figures_say_what_the_rows_say():
    drawn = {figure.key: figure for figure in all_figures(Study.of(study_rows()))}
    assert drawn.keys() == {"figure2", "figure4", "rates", "labels"}
    panel = next(p for p in drawn["figure2"].panels if ">digits: toy<" in p)
    assert numbers(panel, "0.4")[0] == pytest.approx([66.0, 74.0, 77.0])
    assert "dashed at 64.0" in numbers(panel, "0.4")[1]
    gain = next(p for p in drawn["rates"].panels if ">digits, symmetric, toy: advantage<" in p)
    assert numbers(gain, "10 per class")[0] == pytest.approx([-10.0, 0.0, 10.0, 20.0, 30.0])
    first = phenomenon(Study.of(study_rows())).panels
    assert ">digits, clean<" in first[0]
    assert "all, last epoch: 64.0 %" in first[1] and "all, hold-out's pick: 83.2 %" in first[1].replace("&#x27;", "'")
    bar = next(p for p in drawn["labels"].panels if ">digits, symmetric 0.4<" in p)
    assert "all, last epoch: corrected 60 %, other 35 %, memorised 5 %" in bar


def test_each_rate_keeps_its_colour_and_each_line_its_marker():
    panel = next(p for p in all_figures(Study.of(study_rows()))[0].panels if ">digits: toy<" in p)
    groups = {
        g.attrib["class"]: g
        for g in ElementTree.fromstring(panel).iter()
        if "class" in g.attrib and g.tag.endswith("}g")
    }
    assert set(groups) == {f"k k{i}" for i in range(5)}
    for group in groups.values():
        dashed = [e for e in group.iter() if "stroke-dasharray" in e.attrib]
        assert len(dashed) == 1 and len([e for e in group.iter() if e.tag.endswith("polyline")]) == 1
    only = svg.standalone([panel, panel])
    assert ElementTree.fromstring(only).attrib["width"] == str(2 * svg.WIDTH)


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("theme", "paper"), [("light", "#fdfcf9"), ("dark", "#171716")])
def test_text_and_series_stand_out(theme, paper):
    assert all(contrast(colour, paper) >= 4.5 for colour in (*svg.PALETTES[theme], *svg.INKS[theme][:2]))


def test_ticks_and_labels():
    assert svg.ticks(33.0, 97.0) == pytest.approx([20, 40, 60, 80, 100])
    assert svg.ticks(-0.4, 0.4)[0] <= -0.4
    placed = svg.apart([100.0, 101.0, 180.0])
    assert np.diff(sorted(placed)).min() >= 11 and placed[0] < placed[1] < placed[2]
    assert "no rows" in svg.plot("empty", [], "x", "y")
    assert bars.short("a very long name of a method, 10 per class").endswith("…")


def test_distilled_images_become_pictures(sweep):
    cells = read_rows(sweep).done
    found, left_out = pictures.gallery(sweep, gather(cells))
    assert left_out == 0 and {(p.cell.method, p.cell.ipc) for p in found} == {("toy", 1)}
    assert (found[0].width, found[0].height) == (10 * 4, 4) and found[0].words == "10 of 10 images"
    sheet = pictures.mosaic(
        np.linspace(0, 1, 3)[:, None, None, None] * np.ones((1, 2, 2, 1)), [np.arange(2), np.array([2])]
    )
    assert sheet.shape == (4, 4, 1)
    assert [sheet[0, 0, 0], sheet[0, 2, 0], sheet[2, 0, 0], sheet[2, 2, 0]] == [0, 128, 255, 128]


def test_learned_labels_leave_every_image_in_its_place(tmp_path):
    """Two images whose labels say the same class are not one row and gaps, but two places of a strip."""
    saved_set(tmp_path / "set", classes=3, ipc=1)
    hard = load_distilled(tmp_path / "set.npz")
    logits = np.eye(3, dtype=np.float32)[[0, 0, 2]]
    soft = dataclasses.replace(hard, labels=logits, label_kind="logits")
    (cell,) = gather([row(0.5, ipc=1)])
    plain, learned = (pictures.draw(cell, cell.rows[0], one) for one in (hard, soft))
    assert (learned.columns, learned.width, learned.height) == (3, 12, 4) and learned.uri == plain.uri


def test_labels_at_the_right_end_do_not_touch():
    """Also that of chance, near which lines end."""
    lines = [svg.Line(str(i), i, [(1, 10.0 + i / 10, 0.0), (10, 10.0, 0.0)]) for i in range(3)]
    panel = ElementTree.fromstring(svg.plot("t", lines, "x", "y", chance=10.0))
    ends = [e for e in panel.iter() if e.tag.endswith("}text") and e.text in ("0", "1", "2", "chance")]
    right = max(float(e.attrib["x"]) for e in ends)
    heights = sorted(float(e.attrib["y"]) for e in ends if float(e.attrib["x"]) == right)
    assert len(heights) == 4 and np.diff(heights).min() >= 12.9


def test_published_values_stand_beside_whole_cells_only():
    clean = {"noise": "clean", "rate": 0.0, "dataset": "cifar10", "method": "datm", "ipc": 50}
    found = published.beside(row(0.7, **clean))
    assert (found.accuracy, found.std) == pytest.approx((0.761, 0.003)) and "DATM" in found.source
    assert published.beside(row(0.7, **clean, limit=10000)) is None
    assert published.beside(row(0.7, **clean, width=32)) is None
    assert published.beside(row(0.7, **(clean | {"noise": "symmetric", "rate": 0.4}))) is None
    assert published.beside(row(0.8, **(clean | {"method": "full"}))).accuracy == pytest.approx(0.848)
    record = export.summary(Study.of([row(0.72, **clean)]))[0]
    assert record["delta_published"] == pytest.approx(-0.041) and export.fails_clean(record)
    assert not export.fails_clean(export.summary(Study.of([row(0.74, **clean)]))[0])


def test_rows_are_read_from_everywhere_and_the_last_one_counts(tmp_path):
    append(tmp_path / "results.jsonl", row(0.5))
    append(tmp_path / "results.jsonl", row(0.6))
    append(tmp_path / "results.jsonl", row(0.7, seed=1))
    assert [r["last_acc"] for r in read_rows(tmp_path).done] == [0.6, 0.7]
    assert read_rows(tmp_path / "results.jsonl").done == read_rows(tmp_path).done


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "does not exist"), ("", "no result rows"), ("{broken\n", "line 1"), ('{"dataset": "x"}\n', "lacks noise")],
)
def test_mistakes_name_the_file(tmp_path, content, words):
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
        (changed(last_acc=float("nan")), "field last_acc: nan is not a number from 0 to 1"),
        (changed(last_acc="0.7"), "field last_acc: '0.7' is not a number"),
        (changed(last_acc=True), "field last_acc: True is not a number"),
        (changed(best_acc=70.0), "field best_acc: 70.0 is not a number from 0 to 1"),
        (changed(last_acc=10**400), "field last_acc: "),
        (changed(ipc="ten"), "field ipc: 'ten' is not an integer of at least 1, or null"),
        (changed(config=None), "field config: None is not an object"),
        (changed(config={"imbalance": "long"}), "field config.imbalance: 'long' is not a number"),
        (changed(recall=["high"]), "field recall: ['high'] is not a list, each entry"),
        (changed(recall=[0.5], class_names=["a", "b"]), "field recall: has 1 entries for 2 class_names"),
        (changed(confusion=[[1, 2], [3]], class_names=["a", "b"]), "field confusion: is not 2 x 2"),
        (changed(ipc=None), "field ipc: is null, and method toy makes a set"),
        (changed(train_s=0.0), "field train_s: 0.0 is not a number above 0"),
        (changed(command="\ud800"), "half of a surrogate pair"),
        (changed(status="failed", fingerprint=None), "field fingerprint: None is not text"),
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
def test_encodings_of_other_programs_are_read(tmp_path, encoding):
    file, name = tmp_path / "rows.jsonl", "Größe"
    lines = json.dumps(row(0.5) | {"dataset": name}, ensure_ascii=False) + "\r\n" + changed()
    file.write_bytes(lines.encode(encoding))
    found = read_rows(file)
    assert {made["dataset"] for made in found.done} == {name, "digits"} and not found.bad
    file.write_bytes(lines.encode(encoding)[:-5])
    cut = read_rows(file)
    assert [made["dataset"] for made in cut.done] == [name] and [bad.line for bad in cut.bad] == [2]


def test_text_in_another_encoding_is_not_guessed(tmp_path):
    lines = json.dumps(row(0.5, seed=1) | {"dataset": "Größe"}, ensure_ascii=False) + "\n" + GOOD
    (tmp_path / "rows.jsonl").write_bytes(lines.encode("latin-1"))
    [bad] = read_rows(tmp_path).bad
    assert bad.line == 1 and "bytes that are no text" in bad.reason


def test_the_page_and_the_terminal_say_what_is_left_out(tmp_path, capsys):
    for made in study_rows()[:12]:
        append(tmp_path / "rows.jsonl", made)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "row.json").write_text(changed(last_acc="<b>high</b>"))
    (tmp_path / "plan.json").write_text("[1, 2]")
    assert report(tmp_path, quiet=True) == 0
    text = (tmp_path / "report" / "report.html").read_text()
    top = text.split("<main>")[0]
    assert "2 records cannot be used and are left out:" in top and not Outline(text).open
    assert "runs/a/row.json: field last_acc: &#39;&lt;b&gt;high" in top
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines()[0] == "2 records cannot be used and are left out:"
    assert said.err.splitlines()[1].startswith("runs/a/row.json: field last_acc") and "plan.json: is not" in said.err


def test_a_long_list_of_bad_rows_is_counted(tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(["[]"] * 30))
    with pytest.raises(ValueError, match=r"(?s)30 records cannot be used.*and 20 more") as error:
        report(tmp_path)
    assert str(error.value).count(", line ") == 10


def test_other_mistakes_are_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    append(tmp_path / "rows.jsonl", row(0.5))
    with pytest.raises(ValueError, match="Did you mean 'csv'"):
        report(tmp_path / "rows.jsonl", formats=("cvs",))
    assert not (tmp_path / "runs").exists()
    append(tmp_path / "attacks.jsonl", row(0.5) | {"membership": {"auc": 0.5, "tpr_at_1": 0.01, "shadows": 8}})
    with pytest.raises(ValueError, match="membership alone"):
        report(tmp_path / "attacks.jsonl")
    append(tmp_path / "bad.jsonl", row(0.5) | {"status": "failed", "reason": "no"})
    with pytest.raises(ValueError, match="all 1 runs"):
        report(tmp_path / "bad.jsonl")


def test_a_report_of_the_committed_rows(tmp_path, capsys):
    from experiments.reporting.published import CSV

    report(CSV.parent / "results" / "digits.jsonl", tmp_path)
    assert "C1" in capsys.readouterr().out
    assert "herding, 10 per class" in (tmp_path / "report.html").read_text()


def test_structured_noise_is_followed_class_by_class():
    clean = np.repeat(np.arange(3), 10)
    given = clean.copy()
    given[:4] = 1  # class 0 becomes 1; class 2 becomes 0 or 1 alike
    given[20:22], given[22:24] = 0, 1
    assert classes.flip_targets(given, clean, 3) == {0: 1}
    counts = np.array([[6, 4, 0], [0, 10, 0], [5, 0, 5]])
    found = classes.by_class(counts, given, clean, ("a", "b", "c"))
    assert found["absorbed"] == 0.4 and found["recall"] == [0.6, 1.0, 0.5]
    assert classes.by_class(counts, clean, clean, ("a", "b", "c"))["absorbed"] is None


class Shown(html.parser.HTMLParser):
    """The words that are seen before anything is unfolded, and all headings in their order."""

    def __init__(self, text):
        super().__init__()
        self.words, self.headings, self.folds, self.inside = [], [], 0, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.folds += tag == "details"
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag):
        self.folds -= tag == "details"
        self.inside.pop()

    def handle_data(self, data):
        if {"style", "script"} & set(self.inside):
            return
        if self.folds - ("summary" in self.inside) <= 0:
            self.words += data.split()
        if self.inside and re.fullmatch(r"h[1-6]", self.inside[-1]):
            self.headings.append(data)


def test_a_reader_sees_few_words_before_anything_is_unfolded(document):
    from experiments.reporting.published import CSV

    demo = read_rows(CSV.parent / "results" / "demo.jsonl")
    study = Study.of(demo.done)
    for text in (document, page(demo, study, judge(study), CSV.parent, "Demo")):
        assert 500 < len(Shown(text).words) <= 2500


def test_figures_come_in_their_order(document):
    numbers = [int(words.split()[1][:-1]) for words in Shown(document).headings if words.startswith("Figure ")]
    assert numbers == sorted(numbers) and set(numbers) >= {2, 3, 4}


def test_the_page_opens_with_numbers_and_their_uncertainty(document):
    """The set that is best at the noise that was measured most, beside the last and the picked epoch."""
    opened = document[: document.index("<main>")]
    assert "On digits with 40 % wrong training labels (symmetric 0.4)" in opened
    assert re.search(r"distilled by TOY is right for 77\.0 ± 0\.6 % of the clean test images", opened)
    assert "64.0 ± 0.6 % at its last epoch" in opened and "83.2 ± 0.6 % at the epoch that a noisy hold-out" in opened
    whole = Study.of(study_rows())
    setting, candidates = _main(whole)
    best = max(candidates, key=lambda one: one.cell.of("last_acc").mean)
    gain = best.gains["last"].estimate()
    assert setting.noise == "symmetric" and interval(gain, len(candidates)) in opened
    low, high = (float(x.replace("−", "-")) for x in re.search(r"\((\S+) to (\S+)\)", interval(gain, 1)).groups())
    half = stats.t.isf(0.025, 4) * 100 * gain.se
    assert (low, high) == pytest.approx((100 * gain.mean - half, 100 * gain.mean + half), abs=0.06)
    assert not re.search(r"\b[CP]\d+\b(?!\")", re.sub(r"<[^>]*>", "", opened))  # no code of a claim without its title


def test_an_undecided_claim_says_what_it_could_have_seen():
    (few,) = (
        one
        for one in judge(Study.of(seeds(0.5, method="full", rate=0.6) + seeds(0.5, rate=0.6)))
        if one.claim.name == "C6"
    )
    assert few.words.startswith(
        "Undecided in the one comparison (digits: toy): +0.0 points (detectable with 80 % power: 3.1)."
    )


def test_a_claim_that_holds_here_and_fails_there_has_a_table():
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


def test_panels_of_the_first_picture_have_one_scale():
    panels = phenomenon(Study.of(study_rows())).panels
    scales = [re.findall(r'text-anchor="middle" class="">(\d+)<', panel) for panel in panels]
    assert len(panels) > 2 and all(scale == scales[0] for scale in scales)


def test_distilled_images_are_of_one_size(document):
    """A picture is as wide as so many images are, whatever its set."""
    for picture in re.findall(r"<img src=[^>]* style=[^>]*>", document):
        width, share = re.search(r'width="(\d+)"', picture)[1], re.search(r"width:([\d.]+)%", picture)[1]
        assert int(width) / 4 == float(share) / 10  # images of 4 pixels, ten of which fill the place
