"""The figure of accuracy against the noise rate."""

from collections import defaultdict
from collections.abc import Sequence

from experiments.reporting.cells import Cell, Compared, whole_name
from experiments.reporting.claims import Study
from experiments.reporting.contrasts import Estimate
from experiments.reporting.svg import Line, plot

FLIPS = ("symmetric", "asymmetric")


def against_rate(study: Study) -> list[str]:
    """Return panels for each data set, noise and size: accuracy, then advantage over the last epoch, by rate."""
    groups: dict[tuple[str, int, int], dict[str, list[Compared]]] = defaultdict(lambda: defaultdict(list))
    for one in study.compared:
        setting = one.cell.setting
        for place, noise in enumerate(FLIPS):
            if one.cell.learns and setting.noise in (noise, "clean"):
                groups[setting.data, place, one.cell.ipc][one.cell.series].append(one)
    accuracies, advantages = [], []
    for data, place, ipc in sorted(groups):
        series, noise = groups[data, place, ipc], FLIPS[place]
        if all(one.cell.setting.noise == "clean" for cells in series.values() for one in cells):
            continue
        several = [item for item in sorted(series.items()) if len({o.cell.setting.rate for o in item[1]}) > 1]
        for at in range(0, len(several), 4):
            mine = several[at : at + 4]
            compared = next((o.baseline.series for _, cells in mine for o in cells if o.baseline), None)
            whole = _whole_set(study.cells, data, noise, compared)
            accuracy, advantage = _pair(f"{data}, {noise}, {ipc} per class", whole, mine)
            accuracies.append(accuracy)
            advantages.append(advantage)
    return accuracies + advantages


def _whole_set(cells: Sequence[Cell], data: str, noise: str, compared: str | None) -> list[Line]:
    """Return lines of the whole set: the last epoch of each baseline, and the picked one of the compared."""
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.method == "full" and cell.setting.data == data and cell.setting.noise in (noise, "clean"):
            groups[cell.series].append(cell)
    lines = []
    for series, mine in sorted(groups.items(), key=lambda item: item[0] != compared):
        mine, name = sorted(mine, key=lambda c: c.setting.rate), whole_name(mine[0], cells)
        last = [point(c.setting.rate, c.of("last_acc")) for c in mine]
        if series != compared:
            lines.append(Line(name, 0, last, dash="1 4"))
            continue
        lines.append(Line(f"{name}, last", 0, last))
        if picked := [point(c.setting.rate, estimate) for c in mine if (estimate := c.of("picked_acc"))]:
            lines.append(Line(f"{name}, picked", 0, picked, dash="6 4"))
    return lines


def _pair(title: str, whole: list[Line], series: list[tuple[str, list[Compared]]]) -> tuple[str, str]:
    ours, gains = [], []
    for colour, (name, cells) in enumerate(series, 1):
        cells = sorted(cells, key=lambda one: one.cell.setting.rate)
        ours.append(Line(name, colour, [point(one.cell.setting.rate, one.cell.of("last_acc")) for one in cells]))
        deltas = [(one.cell.setting.rate, one.deltas["last"]) for one in cells if "last" in one.deltas]
        gains.append(Line(name, colour, [point(rate, delta) for rate, delta in deltas]))
    gain = plot(f"{title}: advantage", gains, "noise rate", "points above the last epoch", zero=True)
    return plot(title, [*whole, *ours], "noise rate", "test accuracy (%)"), gain


def point(x: float, estimate: Estimate) -> tuple[float, float, float]:
    """Return a point of a line in per cent, with its standard error."""
    return x, 100 * estimate.mean, 100 * (estimate.se or 0.0)
