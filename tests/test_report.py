"""Tables and the page from rows, without a browser."""

import csv
import html.parser
import itertools
import json
import pathlib
import re
from collections import Counter

import numpy as np
import pandas
import pytest
from report_study import VOID, Outline, row, saved_set, seeds, study_rows
from scipy import stats

from ddjax.storage.rows import append
from experiments.display.sheets import mosaic
from experiments.report import report
from experiments.reporting import pictures
from experiments.reporting.cells import gather
from experiments.reporting.claims import Study
from experiments.reporting.figures import all_figures, phenomenon
from experiments.reporting.opening import _main, headline, interval
from experiments.reporting.page import page
from experiments.reporting.rows import read_rows
from experiments.reporting.verdicts import judge
from experiments.running.config import Experiment
from experiments.sweeping.store import Store


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A directory of a sweep with rows, saved sets, and a failed run."""
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


def test_the_page_is_valid_and_loads_nothing_from_the_network(document):
    outline = Outline(document)
    assert not outline.open
    for tag, attributes in outline.tags:
        for name in ("src", "href", "srcset", "action"):
            if tag != "a":  # links are only followed on a click
                assert not re.match(r"(https?:)?//", attributes.get(name) or ""), (tag, attributes)
        assert tag not in ("iframe", "object", "embed")
        if tag == "img" and "hidden" not in attributes:
            assert attributes["src"].startswith("data:image/png;base64,") and attributes["alt"]
        if tag == "svg":
            assert attributes["role"] == "img" and attributes["aria-label"]
    assert "@import" not in document and "url(" not in document


def test_ids_are_unique_and_links_and_headings_are_consistent(document):
    outline = Outline(document)
    ids = Counter(a["id"] for _, a in outline.tags if "id" in a)
    assert set(ids.values()) == {1}
    links = {a["href"][1:] for tag, a in outline.tags if tag == "a" and a["href"].startswith("#")}
    assert links and links <= set(ids)
    site = {a["href"] for tag, a in outline.tags if tag == "a"} - {f"#{name}" for name in links}
    page = (pathlib.Path(__file__).parents[1] / ".docs" / "pages" / "verdicts.md").read_text()
    for address in site:  # the section of each claim on the docs page
        assert address.startswith("https://ddjax.github.io/ddjax/verdicts/#")
        assert f"{{ #{address.split('#')[1]} }}" in page
    assert len(site) >= 5
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    heads = [a for tag, a in outline.tags if tag == "th" and "aria-sort" in a]
    assert len(heads) >= 10 and {a["scope"] for a in heads} == {"col"}


def test_nothing_is_written_beside_a_file_of_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    append(tmp_path / "rows.jsonl", row(0.5))
    report(tmp_path / "rows.jsonl", quiet=True)
    assert (tmp_path / "runs" / "report" / "rows" / "report.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["rows.jsonl", "runs"]


def test_tables_contain_each_run_and_each_cell(sweep):
    rows = list(csv.DictReader((sweep / "report" / "runs.csv").read_text().splitlines()))
    wanted = "dataset, noise, level, effective_rate, method, ipc, seed, last_acc, best_acc, baseline_id, baseline_last"
    assert {*wanted.split(", "), "baseline_best", "delta_last", "delta_best"} <= set(rows[0])
    assert len(rows) == len(study_rows())
    names, wanted = ("method", "noise", "level", "ipc", "seed"), ["toy", "symmetric", "0.4", "10", "0"]
    one = next(row for row in rows if [row[name] for name in names] == wanted)
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


def test_the_page_lists_missing_runs_of_the_plan(tmp_path, capsys):
    there = [row(0.5, "dm", seed=s) for s in (0, 1)]
    absent = [row(0.5, method, ipc=50, seed=s) for method in ("dm", "full") for s in (0, 1, 2)]
    absent += [row(0.5, "dm", ipc=50, seed=s, steps=5) for s in (0, 1, 2)]  # other settings of the same seeds
    fails = row(0.5, "dm", seed=3)
    there.append({name: fails[name] for name in ("fingerprint", "config")} | {"status": "failed"})
    for made in there:
        append(tmp_path / "results.jsonl", made)
    cells = [Experiment(**{**made["config"], "options": ()}) for made in (*there, *absent)]
    Store(tmp_path).plan(cells)
    assert report(tmp_path) == 0
    text = (tmp_path / "report" / "report.html").read_text()
    assert "Of 12 planned runs" in text and "symmetric 0.4: dm, 50 per class, common: 3 seeds" in text
    assert "symmetric 0.4: full, common: 3 seeds" in text
    assert "12 runs are planned: 9 are missing, 1 failed; 0 of 4 seeds are complete" in capsys.readouterr().out
    assert 'id="missing"' in text and not Outline(text).open


def test_distilled_images_become_pictures(sweep):
    cells = read_rows(sweep).done
    found, left_out = pictures.gallery(sweep, gather(cells))
    assert left_out == 0 and {(p.cell.method, p.cell.ipc) for p in found} == {("toy", 1)}
    assert (found[0].width, found[0].height) == (10 * 4, 4) and found[0].words == "10 of 10 images"
    sheet = mosaic(np.linspace(0, 1, 3)[:, None, None, None] * np.ones((1, 2, 2, 1)), [np.arange(2), np.array([2])])
    assert sheet.shape == (4, 4, 1)
    assert [sheet[0, 0, 0], sheet[0, 2, 0], sheet[2, 0, 0], sheet[2, 2, 0]] == [0, 128, 255, 128]


def test_a_report_of_the_committed_rows(tmp_path, capsys):
    from experiments.reporting.published import CSV

    (tmp_path / "figure5.svg").write_text("human labels of another study")
    report(CSV.parent / "results" / "digits.jsonl", tmp_path)
    assert (tmp_path / "figure4.svg").exists() and not (tmp_path / "figure5.svg").exists()
    assert "C1" in capsys.readouterr().out
    assert "herding, 10 per class" in (tmp_path / "report.html").read_text()


class Shown(html.parser.HTMLParser):
    """The words outside of folded parts, and all headings in order."""

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


def test_the_folded_page_has_few_words(document):
    from experiments.reporting.published import CSV

    rows = read_rows(CSV.parent / "results" / "digits_study" / "rows.jsonl")
    study = Study.of(rows.done)
    for text in (
        document,
        page(rows, study, judge(study), [phenomenon(study), *all_figures(study)], CSV.parent, "Digits"),
    ):
        assert 500 < len(Shown(text).words) <= 2500


def test_figures_are_in_order(document):
    numbers = [int(words.split()[1][:-1]) for words in Shown(document).headings if words.startswith("Figure ")]
    assert numbers == sorted(numbers) and set(numbers) >= {2, 3, 4}


@pytest.mark.parametrize(
    ("method", "written"),
    [("datm", "DATM"), ("frepo", "FRePo"), ("rdc_reconstructed",) * 2, ("relabel+dance",) * 2, ("fork:Mine",) * 2],
)
def test_the_first_sentence_writes_the_name_of_a_method_as_it_is_known(method, written):
    where = {"noise": "symmetric", "rate": 0.4}
    rows = [row(0.6, "full", **where), row(0.7, method, **where)]
    assert f" images distilled by {written} has an accuracy" in headline(Study.of(rows))


def test_the_page_starts_with_results_and_their_uncertainty(document):
    """The best set at the setting with most sets is compared with the last and the picked epoch."""
    opened = document[: document.index("<main>")]
    assert "On digits with 40 % wrong training labels (symmetric 0.4)" in opened
    assert re.search(r"distilled by toy has an accuracy of 77\.0 ± 0\.6 % on clean test images", opened)
    assert "64.0 ± 0.6 % at the last epoch" in opened and "83.2 ± 0.6 % at the epoch picked on" in opened
    whole = Study.of(study_rows())
    setting, candidates = _main(whole)
    best = max(candidates, key=lambda one: one.cell.of("last_acc").mean)
    gain = best.gains["last"].estimate()
    assert setting.noise == "symmetric" and interval(gain, len(candidates)) in opened
    low, high = (float(x.replace("−", "-")) for x in re.search(r"\((\S+) to (\S+)\)", interval(gain, 1)).groups())
    half = stats.t.isf(0.025, 4) * 100 * gain.se
    assert (low, high) == pytest.approx((100 * gain.mean - half, 100 * gain.mean + half), abs=0.06)
    assert not re.search(r"\b[CP]\d+\b(?!\")", re.sub(r"<[^>]*>", "", opened))  # no name of a claim without its title


@pytest.mark.parametrize(
    ("spread", "whole", "words"),
    [
        ((0.0, 0.0, 0.0), 3, "3 seeds without spread allow no interval of the difference."),
        ((-0.01, 0.0, 0.01), 1, "1 seed is too few for an interval of the difference."),
        ((-0.01, 0.0, 0.01), 3, "points ("),
    ],
)
def test_only_a_difference_with_spread_has_an_interval(spread, whole, words):
    study = Study.of(seeds(0.7, spread) + seeds(0.6, (0.0, 0.0, 0.0), method="full")[:whole])
    assert words in headline(study) and ("intervals" in headline(study)) == ("points" in words)


def test_the_page_opens_with_the_setting_of_most_seeds():
    counts = {0.4: 1, 0.8: 3, 0.6: 3}.items()
    rows = [one for rate, n in counts for name in ("toy", "full") for one in seeds(0.7, method=name, rate=rate)[:n]]
    assert _main(Study.of(rows))[0].rate == 0.6


def test_distilled_images_have_one_size(document):
    """The displayed width of a picture is proportional to its number of images."""
    shown = re.findall(r"<img src=[^>]* style=[^>]*>", document)
    assert shown
    for picture in shown:
        width, share = re.search(r'width="(\d+)"', picture)[1], re.search(r"width:([\d.]+)%", picture)[1]
        assert int(width) / 4 == float(share) / 10  # images of 4 pixels, ten per full width
