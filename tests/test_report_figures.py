"""Charts, figures and pictures of distilled images."""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from report_study import extras, row, saved_set, study_rows

from ddjax.distilled.saving import load_distilled
from experiments.reporting import bars, pictures, svg
from experiments.reporting.cells import gather, whole_name
from experiments.reporting.claims import Study
from experiments.reporting.figures import all_figures, phenomenon
from experiments.reporting.opening import methods


def numbers(panel, name):
    """Return the numbers of one series in the description of a panel, and the description."""
    description = ElementTree.fromstring(panel).attrib["aria-label"]
    part = next(p for p in description.split("; ") if p.split(". ")[-1].startswith(f"{name}: "))
    return [float(x) for x in re.findall(r"([-\d.]+) at", part)], description


def test_figures_show_the_numbers_of_the_rows():
    drawn = {figure.key: figure for figure in all_figures(Study.of(study_rows()))}
    assert {key for key, figure in drawn.items() if figure.panels} == {"figure2", "figure4", "rates", "labels"}
    panel = next(p for p in drawn["figure2"].panels if ">digits: toy<" in p)
    assert numbers(panel, "0.4")[0] == pytest.approx([66.0, 74.0, 77.0])
    assert "dashed at 64.0" in numbers(panel, "0.4")[1]
    gain = next(p for p in drawn["rates"].panels if ">digits, symmetric, 10 per class: advantage<" in p)
    assert numbers(gain, "toy")[0] == pytest.approx([-10.0, 0.0, 10.0, 20.0, 30.0])
    first = phenomenon(Study.of(study_rows())).panels
    assert ">digits, clean<" in first[0]
    assert "whole set, last epoch: 64.0 %" in first[1] and "whole set, picked epoch: 83.2 %" in first[1]
    bar = next(p for p in drawn["labels"].panels if ">digits, symmetric 0.4<" in p)
    assert "whole set, last epoch: corrected 60 %, other 35 %, memorised 5 %" in bar


def test_baselines_and_rates_of_one_panel_can_be_told_apart():
    where = {"noise": "symmetric", "rate": 0.4, **extras(60)}
    plain, other = row(0.6, "full", **where), row(0.7, "full", **where, baseline="B-DANCE") | {"protocol": "B-DANCE"}
    drawn = {figure.key: figure for figure in all_figures(Study.of([plain, other, row(0.5, **where)]))}
    (bar,) = drawn["labels"].panels
    assert "whole set, last epoch: " in bar and "augmented, last epoch: " in bar
    assert drawn["rates"].caption.endswith(" Augmented: B-DANCE. Not augmented: B-PLAIN.")
    rates = [row(0.5, rate=rate, **extras(60)) for rate in (0.05, 0.1, 0.2)]
    (panel,) = all_figures(Study.of(rates))[0].panels
    assert [f'class="k k{i}"' in panel for i in range(5)] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("recipes", "names"),
    [
        (["B-DANCE"], ["whole set"]),
        (["B-PLAIN", "B-DANCE"], ["whole set", "augmented"]),
        (["B-PLAIN", "B-COSINE", "B-DANCE"], ["whole set B-PLAIN", "whole set B-COSINE", "augmented"]),
        (["B-PLAIN", "fork:LONG"], ["whole set B-PLAIN", "whole set fork:LONG"]),
    ],
)
def test_training_on_everything_is_named_by_what_tells_its_recipes_apart(recipes, names):
    rows = [row(0.5, "full", baseline=name) | {"protocol": name} for name in recipes]
    found = gather(rows)
    assert [whole_name(cell, found) for cell in found] == names


def test_accuracy_by_rate_has_a_line_for_each_recipe_of_the_whole_set():
    rows = []
    for rate in (0.2, 0.4):
        where = {"noise": "symmetric", "rate": rate}
        rows += [row(0.6 - rate, "full", **where, picked=0.65), row(0.5 - rate, **where)]
        rows.append(row(0.7, "full", **where, baseline="B-DANCE") | {"protocol": "B-DANCE"})
    drawn = {figure.key: figure for figure in all_figures(Study.of(rows))}
    accuracy, advantage = drawn["rates"].panels
    assert numbers(accuracy, "whole set, last")[0] == pytest.approx([40.0, 20.0])
    assert numbers(accuracy, "whole set, picked")[0] == pytest.approx([65.0, 65.0])
    assert numbers(accuracy, "augmented")[0] == pytest.approx([70.0, 70.0])
    assert accuracy.count("stroke-dasharray") == 2
    assert numbers(advantage, "toy")[0] == pytest.approx([-10.0, -10.0])


def test_every_method_is_described_also_behind_a_wrapper():
    cells = Study.of([row(0.5, method="soft_label+dance"), row(0.5, method="rcig+relabel")])
    assert [sentence.split()[0] for sentence in methods(cells)] == ["RCIG", "DANCE"]


def test_each_rate_has_its_colour_and_each_line_its_marker():
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
    for count, columns in {0: 1, 1: 1, 2: 2, 4: 2, 5: 3, 7: 3}.items():
        assert ElementTree.fromstring(svg.standalone([panel] * count)).attrib["width"] == str(columns * svg.WIDTH)


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("theme", "paper"), [("light", "#fdfcf9"), ("dark", "#171716")])
def test_text_and_series_have_enough_contrast(theme, paper):
    assert all(contrast(colour, paper) >= 4.5 for colour in (*svg.PALETTES[theme], *svg.INKS[theme][:2]))


def test_ticks_and_labels():
    assert svg.ticks(33.0, 97.0) == pytest.approx([20, 40, 60, 80, 100])
    assert svg.ticks(-0.4, 0.4)[0] <= -0.4
    placed = svg.apart([100.0, 101.0, 180.0])
    assert np.diff(sorted(placed)).min() >= 11 and placed[0] < placed[1] < placed[2]
    assert "no rows" in svg.plot("empty", [], "x", "y")
    assert bars.short("a very long name of a method, 10 per class") == "a very lon…, 10 per class"
    assert bars.short("a very long name of a method") == "a very long name of a me…"


def test_learned_labels_do_not_move_images(tmp_path):
    """Two images whose learned labels have the same largest class keep their own places."""
    saved_set(tmp_path / "set", classes=3, ipc=1)
    hard = load_distilled(tmp_path / "set.npz")
    logits = np.eye(3, dtype=np.float32)[[0, 0, 2]]
    soft = dataclasses.replace(hard, labels=logits, label_kind="logits")
    (cell,) = gather([row(0.5, ipc=1)])
    plain, learned = (pictures.draw(cell, cell.rows[0], one) for one in (hard, soft))
    assert (learned.columns, learned.width, learned.height) == (3, 12, 4) and learned.uri == plain.uri


def test_labels_at_the_right_end_do_not_overlap():
    """This includes the label of chance level."""
    lines = [svg.Line(str(i), i, [(1, 10.0 + i / 10, 0.0), (10, 10.0, 0.0)]) for i in range(3)]
    panel = ElementTree.fromstring(svg.plot("t", lines, "x", "y", chance=10.0))
    ends = [e for e in panel.iter() if e.tag.endswith("}text") and e.text in ("0", "1", "2", "chance")]
    right = max(float(e.attrib["x"]) for e in ends)
    heights = sorted(float(e.attrib["y"]) for e in ends if float(e.attrib["x"]) == right)
    assert len(heights) == 4 and np.diff(heights).min() >= 12.9


def test_panels_of_the_first_figure_share_a_scale():
    panels = phenomenon(Study.of(study_rows())).panels
    scales = [re.findall(r'text-anchor="middle" class="">(\d+)<', panel) for panel in panels]
    assert len(panels) > 2 and all(scale == scales[0] for scale in scales)
