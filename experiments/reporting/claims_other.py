"""The claims about rare classes, cost, privacy, size, absorption and initialisation: C7 to C10, P1 and P3."""

import dataclasses
import math
from collections import defaultdict

import numpy as np

from ddjax.distillers.datm.config import DatmConfig
from ddjax.evaluation.measures import thirds
from experiments.reporting.cells import Cell, Estimate, estimate, variant, weighted
from experiments.reporting.claims import UNDECIDED, Finding, Study, decided, finding, points, scope_of
from experiments.running.config import Experiment, method_config

NEARLY = 0.95  # C10: the share of a method's own maximum that counts as reached


def rare_classes_lose(study: Study, moment: str) -> list[Finding]:
    """C7: from the full to the distilled model the tail third of the classes loses more recall than the head third."""
    found = []
    for cell, full, _ in study.compared:
        if not cell.setting.imbalance or not cell.learns:
            continue
        scope = f"{scope_of(cell.setting.data, cell.series, cell.ipc)}, {cell.setting.labels}"
        ours, theirs = cell.of(head_less_tail), full.of(head_less_tail) if full else None
        if ours is None or theirs is None:
            found.append(Finding(scope, UNDECIDED, "", missing="the column recall of both sides"))
            continue
        effect = ours - theirs
        words = f"head less tail: {points(ours)} distilled, {points(theirs)} full"
        found.append(finding(scope, decided(effect), words, effect))
    return found


def head_less_tail(row: dict) -> float | None:
    """Recall of the head third of the classes less that of the tail third."""
    if row.get("recall") is None:
        return None
    parts = thirds(np.array([math.nan if value is None else value for value in row["recall"]]))
    return parts["head"] - parts["tail"]


def less_work(study: Study, moment: str) -> list[Finding]:
    """C8: distilling once and training one network on the result takes less time than training one on everything."""
    found = []
    for cell, full, _ in study.compared:
        if not cell.learns or full is None:
            continue
        whole = cell.of(_seconds)
        other, ours = full.of("train_s"), cell.of("train_s")
        if whole is None or other is None or ours is None:
            continue
        scope = f"{scope_of(cell.setting.data, cell.series, cell.ipc)}, {cell.setting.labels}"
        counts = [
            side.of(name) for side, name in ((cell, "distill_steps"), (cell, "train_steps"), (full, "train_steps"))
        ]
        machines = {row.get("hardware") for row in (*cell.rows, *full.rows)}
        words = (
            f"distil and train {whole.mean:.3g} s, train on everything {other.mean:.3g} s; training alone takes "
            f"{ours.mean / other.mean:.2g} times as long"
        )
        if None not in counts:
            words += "; {:.0f} outer steps and {:.0f} gradient steps against {:.0f}".format(*(c.mean for c in counts))
        if len(machines) > 1:
            found.append(finding(scope, UNDECIDED, words, other - whole, "both sides on the same hardware"))
        else:
            found.append(finding(scope, decided(other - whole), words, other - whole))
    return found


def _seconds(row: dict) -> float | None:
    parts = row.get("distill_s"), row.get("train_s")
    return None if None in parts else sum(parts)


def privacy(study: Study, moment: str) -> list[Finding]:
    """C9: whether an image was trained on is harder to tell from a distilled model than from a full one."""
    found = []
    for cell, full, _ in study.compared:
        ours, theirs = cell.of("membership_auc"), full.of("membership_auc") if full else None
        if cell.learns and ours and theirs:
            scope = f"{scope_of(cell.setting.data, cell.series, cell.ipc)}, {cell.setting.labels}"
            words = f"AUC {ours.mean:.3f} on the distilled model, {theirs.mean:.3f} on the full one"
            found.append(finding(scope, decided(theirs - ours), words, theirs - ours))
    return found


def noisier_needs_more(study: Study, moment: str) -> list[Finding]:
    """C10: the size that reaches 95 % of a method's own maximum grows as fewer labels are right."""
    curves: dict[tuple, dict[float, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in study.cells:
        if cell.learns and cell.setting.noise in ("clean", "symmetric") and not cell.setting.imbalance:
            curves[cell.setting.data, cell.series][cell.setting.rate].append(cell)
    found = []
    for (data, series), rates in curves.items():
        needed = {rate: size for rate, cells in rates.items() if (size := size_needed(cells))}
        scope = scope_of(data, series)
        if len(needed) < 2:
            missing = "three sizes at two rates, the same seeds at each size"
            found.append(Finding(scope, UNDECIDED, "", missing=missing))
            continue
        low, high = min(needed), max(needed)
        words = "; ".join(f"{10 ** needed[rate].mean:.0f} per class at {rate:g}" for rate in sorted(needed))
        effect = needed[high] - needed[low]
        found.append(finding(scope, decided(effect), words, effect))
    return found


def size_needed(cells: list[Cell]) -> Estimate | None:
    """Log10 of the smallest size within 95 % of the largest accuracy, over seeds; None below three sizes."""
    if len(cells) < 3:
        return None
    scores = {cell.ipc: {row["seed"]: row for row in cell.rows} for cell in cells}
    seeds = sorted(set.intersection(*(set(rows) for rows in scores.values())))
    values, used = [], []
    for seed in seeds:
        top = max(rows[seed]["last_acc"] for rows in scores.values())
        values.append(math.log10(min(ipc for ipc, rows in scores.items() if rows[seed]["last_acc"] >= NEARLY * top)))
        used.append(tuple(rows[seed]["fingerprint"] for rows in scores.values()))
    made = estimate(values, [str(seed) for seed in seeds])
    return made and made._replace(rows=tuple(name for names in used for name in names))


def large_sets_absorb(study: Study, moment: str) -> list[Finding]:
    """P1: accuracy falls faster with the rate at 1000 images per class than at 50."""
    curves: dict[tuple, dict[int, dict[float, Estimate]]] = defaultdict(lambda: defaultdict(dict))
    for cell in study.cells:
        if cell.learns and cell.setting.noise in ("clean", "symmetric") and cell.ipc in (50, 1000):
            curves[cell.setting.data, cell.series][cell.ipc][cell.setting.rate] = cell.of("last_acc")
    found = []
    for (data, series), sizes in curves.items():
        shared = sorted(set(sizes[50]) & set(sizes[1000]))
        scope = scope_of(data, series)
        if len(shared) < 3:
            found.append(Finding(scope, UNDECIDED, "", missing="three rates at 50 and at 1000 images per class"))
            continue
        small, large = (slope({rate: sizes[ipc][rate] for rate in shared}) for ipc in (50, 1000))
        words = f"slope {points(small)} points per unit of rate at 50, {points(large)} at 1000"
        found.append(finding(scope, decided(small - large), words, small - large))
    return found


def slope(curve: dict[float, Estimate]) -> Estimate:
    """Least-squares slope of accuracy over rate."""
    centre = sum(curve) / len(curve)
    spread = sum((rate - centre) ** 2 for rate in curve)
    return weighted([((rate - centre) / spread, value) for rate, value in curve.items()])


def started_from(config: dict) -> str:
    """What a run of DATM began with, also where a published setting says so."""
    known = {field.name for field in dataclasses.fields(Experiment)}
    given = {name: value for name, value in config.items() if name in known}
    return method_config(DatmConfig, Experiment(**given)).start


def filtering_start(study: Study, moment: str) -> list[Finding]:
    """P3: starting from images that experts predict as their given class beats starting from any real ones."""
    starts: dict[tuple, dict[str, Cell]] = defaultdict(dict)
    for cell in study.cells:
        if cell.method == "datm" and cell.setting.rate:
            config = cell.rows[0]["config"]
            chosen = dict(option.split("=", 1) for option in config.get("options", ()))
            begun = started_from(config)
            chosen.pop("start", None)
            others = variant({**config, "options": [f"{name}={value}" for name, value in sorted(chosen.items())]})
            starts[cell.setting, cell.ipc, cell.protocol, others][begun] = cell
    found = []
    for (setting, ipc, *_), cells in starts.items():
        scope = f"{scope_of(setting.data, 'datm', ipc)}, {setting.labels}"
        if {"correct", "real"} <= set(cells):
            ours, real = cells["correct"].of("last_acc"), cells["real"].of("last_acc")
            words = f"{100 * ours.mean:.1f} % from correctly predicted images, {100 * real.mean:.1f} % from any"
            found.append(finding(scope, decided(ours - real), words, ours - real))
        else:
            found.append(Finding(scope, UNDECIDED, "", missing="runs with start=correct and with start=real"))
    return found
