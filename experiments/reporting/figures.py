"""The figures of the study, each with a caption and panels of SVG text. A figure without rows has no panels."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ddjax.evaluation.measures import thirds
from experiments.reporting.against_rate import against_rate, point
from experiments.reporting.bars import Dot, Parts, dots, stacked
from experiments.reporting.cells import SELECTIONS, Cell, Compared, Setting, augmented, ordered, whole_name
from experiments.reporting.claims import Study
from experiments.reporting.contrasts import Estimate
from experiments.reporting.published import published_for
from experiments.reporting.svg import MARKERS, Line, plot

HUMAN = ("aggre", "rand1", "rand2", "rand3", "worst", "noisy100", "noisy100_coarse")
RATES = {0.0: 0, 0.2: 1, 0.4: 2, 0.6: 3, 0.8: 4}  # colour of each rate of the study's grid, in all figures
WRONG = ("corrected", "other", "memorised")


class Figure(NamedTuple):
    """A figure of several panels."""

    key: str
    title: str
    caption: str
    panels: list[str]


def all_figures(study: Study) -> list[Figure]:
    """Return all figures but the first one, in reading order."""
    sized = [
        ("figure2", "Figure 2. Symmetric noise", ("symmetric",)),
        ("figure4", "Figure 4. Asymmetric noise", ("asymmetric",)),
        ("figure5", "Figure 5. Human labels", HUMAN),
    ]
    figures = [Figure(key, title, _SIZES, against_size(study, kinds)) for key, title, kinds in sized]
    return [
        *figures,
        Figure("rates", "Accuracy and advantage by noise rate", _RATES + _recipes(study.cells), against_rate(study)),
        Figure("labels", "Predictions for wrongly labelled training images", _WRONG, wrong_labels(study.cells)),
        Figure("tail", "Recall by class size", _TAIL, by_class_size(study.cells)),
    ]


def phenomenon(study: Study) -> Figure:
    """Return the first figure: for each kind of noise, training on the whole set and on each smaller set."""
    grouped: dict[Setting, list[Cell]] = defaultdict(list)
    for cell in study.cells:
        grouped[cell.setting].append(cell)
    complete = {s: cells for s, cells in grouped.items() if {c.method == "full" for c in cells} == {True, False}}
    shown = complete or grouped
    rows = {setting: _beside_full(shown[setting]) for setting in _selected(shown)}
    everything = [dot for values in rows.values() for dot in values]
    panels = [_panel(setting, shown[setting], rows[setting], everything) for setting in rows]
    return Figure("phenomenon", "Training on the whole set and on small sets", _FIRST + _recipes(study.cells), panels)


def _recipes(cells: list[Cell]) -> str:
    """Return which recipes for the whole set use augmentation, if there are several."""
    used = {cell.protocol: augmented(cell) for cell in cells}
    with_it, without = ([name for name, found in used.items() if found is kind] for kind in (True, False))
    return f" Augmented: {', '.join(with_it)}. Not augmented: {', '.join(without)}." if with_it and without else ""


def _selected(grouped: dict[Setting, list[Cell]], most: int = 6) -> list[Setting]:
    """Return the clean setting and, for each noise, the rate nearest to 0.4; data sets with most cells first."""
    sizes, nearest = defaultdict(int), {}
    for setting, cells in grouped.items():
        sizes[setting.data] += len(cells)
        key = setting.data, setting.noise
        nearest[key] = min(nearest.get(key, setting), setting, key=lambda s: abs(s.rate - 0.4))
    order = {"clean": 0, "symmetric": 1, "asymmetric": 2, "worst": 3}
    chosen = sorted(nearest.values(), key=lambda s: (-sizes[s.data], s.data, order.get(s.noise, 9), s.noise))
    return chosen[:most]


def _beside_full(cells: list[Cell]) -> list[Dot]:
    values = []
    for cell in cells:
        if cell.method == "full":
            name = whole_name(cell, cells)
            values.append(_dot(f"{name}, last epoch", cell.of("last_acc"), 0))
            if picked := cell.of("picked_acc"):
                values.append(_dot(f"{name}, picked epoch", picked, 3))
    rest = sorted((c for c in cells if c.method != "full"), key=lambda c: (not c.learns, c.series, c.ipc))
    return values + [_dot(c.name, c.of("last_acc"), 2 if c.learns else 1) for c in rest]


def _panel(setting: Setting, cells: list[Cell], values: list[Dot], everything: list[Dot]) -> str:
    """Return the panel of one setting, on the scale of all panels; the last epoch of full training is dashed."""
    wrong = np.mean([row["effective_rate"] for cell in cells for row in cell.rows])
    share = f": {100 * wrong:.0f} % wrong labels" if wrong else ""
    guides = [100 * cell.of("last_acc").mean for cell in cells if cell.method == "full"]
    return dots(f"{setting.data}, {setting.labels}{share}", values, guides[:1], shared=everything)


def _dot(name: str, estimate: Estimate, colour: int) -> Dot:
    return Dot(name, 100 * estimate.mean, 100 * (estimate.se or 0.0), colour)


def against_size(study: Study, kinds: Sequence[str]) -> list[str]:
    """Return a panel per data set and method: accuracy over images per class, a line per rate, whole set dashed."""
    panels: dict[tuple[str, str], dict[tuple[str, float], list[Compared]]] = defaultdict(lambda: defaultdict(list))
    present = {c.cell.setting.data for c in study.compared if c.cell.setting.noise in kinds}
    for one in study.compared:
        setting = one.cell.setting
        if setting.noise in (*kinds, "clean") and setting.data in present and one.cell.ipc is not None:
            panels[setting.data, one.cell.series][setting.noise, setting.rate].append(one)
    panels_drawn = []
    for (data, series), groups in sorted(panels.items(), key=lambda item: (_control(item[1]), item[0])):
        if set(groups) <= {("clean", 0.0)}:
            continue
        lines, known = [], all(rate in RATES and noise not in HUMAN for noise, rate in groups)
        for place, (noise, rate) in enumerate(sorted(groups, key=lambda key: (key[1], key[0] != "clean", key[0]))):
            cells = sorted(groups[noise, rate], key=lambda one: one.cell.ipc)
            name = f"{rate:g}" if noise in ("symmetric", "asymmetric") else noise
            lines.append(_over_sizes(name, RATES[rate] if known else place % len(MARKERS), cells))
        classes = groups[min(groups)][0].cell.rows[0].get("class_names")
        title = f"{data}: {series}"
        chance = 100 / len(classes) if classes else None
        panels_drawn.append(plot(title, lines, "images per class", "test accuracy (%)", log=True, chance=chance))
    return panels_drawn


def _control(groups: dict) -> bool:
    return all(one.cell.method in SELECTIONS for cells in groups.values() for one in cells)


def _over_sizes(name: str, colour: int, cells: list[Compared]) -> Line:
    points, marks = [], []
    for one in cells:
        estimate = one.cell.of("last_acc")
        points.append(point(one.cell.ipc, estimate))
        literature = published_for(one.cell.rows[0])
        marks += [(one.cell.ipc, 100 * literature.accuracy)] if literature else []
    full = next((one.baseline.of("last_acc") for one in cells if one.baseline), None)
    return Line(name, colour, points, 100 * full.mean if full else None, marks)


def wrong_labels(cells: Sequence[Cell]) -> list[str]:
    """Return a bar per cell with noisy labels: shares of wrong labels that are corrected, memorised, or neither."""
    groups: dict[Setting, list[Parts]] = defaultdict(list)
    for cell in ordered(cells):
        corrected, memorised = (
            cell.of(lambda row, n=n: (row.get("denoising") or {}).get(n)) for n in (WRONG[0], WRONG[2])
        )
        if cell.setting.noisy and corrected and memorised:
            shares = 100 * corrected.mean, 100 * (1 - corrected.mean - memorised.mean), 100 * memorised.mean
            name = f"{whole_name(cell, cells)}, last epoch" if cell.method == "full" else cell.name
            groups[cell.setting].append(Parts(name, shares))
    return [stacked(f"{setting.data}, {setting.labels}", WRONG, bars) for setting, bars in groups.items()]


def by_class_size(cells: Sequence[Cell]) -> list[str]:
    """Return a panel per long-tailed set: recall of the head, medium and tail third of its classes."""
    groups: dict[Setting, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.setting.imbalance and all(len(row.get("recall") or ()) >= 3 for row in cell.rows):
            groups[cell.setting].append(cell)
    panels = []
    for setting, members in groups.items():
        values = []
        for cell in members:
            name = whole_name(cell, members) if cell.method == "full" else f"{cell.series} {cell.ipc or 'on all'}"
            for colour, third in enumerate(("head", "medium", "tail"), 1):
                estimate = cell.of(lambda row, third=third: thirds(np.array(row["recall"], float))[third])
                values.append(_dot(f"{name}, {third}", estimate, colour))
        panels.append(dots(f"{setting.data}, {setting.labels}", values, what="recall (%)"))
    return panels


_FIRST = (
    "Mean over seeds, with standard errors. “Whole set” is the same network trained on all images and given labels, "
    "at the last epoch (circle, dashed) and at the epoch picked on a hold-out with equally noisy labels (diamond). "
    "Triangles are distilled sets, squares are selected real images. No result is selected on test data. A distilled "
    "set that beats only the last epoch shows no more than early stopping."
)
_SIZES = (
    "Solid: accuracy by images per class, with a colour and a marker for each rate. Error bars are standard errors "
    "over seeds. Dashed, same colour: training on the whole set at that rate, last epoch. Rings: published values of "
    "the method."
)
_RATES = (
    "Black: training on the whole set. Solid: its last epoch. Dashed: the epoch picked on a noisy hold-out. Dotted: "
    "the last epoch of other recipes."
)
_WRONG = (
    "Predictions for training images with a wrong label: the clean class (corrected), the given class (memorised), or "
    "another class."
)
_TAIL = (
    "Long-tailed training sets, balanced test set: mean recall of the largest, middle and smallest third of classes."
)
