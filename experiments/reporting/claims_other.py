"""Claims on rare classes, size, absorption and initialisation: C7, C10, P1 and P3."""

import dataclasses
from collections import defaultdict
from typing import Any

import numpy as np
from jaxtyping import Float

from ddjax.distillers.datm.config import DatmConfig
from experiments.reporting.cells import Cell, variant
from experiments.reporting.claims import Finding, Study, points, scope_in, scope_of, tested
from experiments.reporting.contrasts import Contrast, Estimate, Sample, mean_of, slope
from experiments.reporting.inference import Number
from experiments.running.config import Experiment, method_config

THIRDS = 3  # C7: parts of the classes, by size
NEARLY = 0.95  # C10: share of a method's maximum accuracy that counts as reached


def rare_classes_lose(study: Study, moment: str) -> list[Finding]:
    """C7: distillation reduces the recall of the tail third of the classes more than that of the head third."""
    findings = []
    for cell, full, _ in study.compared:
        if not cell.setting.imbalance or not cell.learns:
            continue
        ours, theirs = cell.contrast(head_less_tail), full.contrast(head_less_tail) if full else None
        if ours is None or theirs is None:
            findings.append(
                Finding(scope_in(cell), missing="the column recall of both sides, for three classes or more")
            )
            continue

        def say(effect: Estimate, ours: Contrast = ours, theirs: Contrast = theirs) -> str:
            return f"head minus tail: {points(ours.estimate())} distilled, {points(theirs.estimate())} full"

        findings.append(tested(scope_in(cell), ours - theirs, say))
    return findings


def head_less_tail(row: dict[str, Any]) -> Number | None:
    """Return the recall of the head third of the classes minus that of the tail third; None below three classes."""
    if row.get("recall") is None or len(row["recall"]) < THIRDS:
        return None
    head, _, tail = np.array_split(np.array(row["recall"], float), THIRDS)
    return np.nanmean(head, axis=0) - np.nanmean(tail, axis=0)


def noisier_needs_more(study: Study, moment: str) -> list[Finding]:
    """C10: the size that reaches 95 % of a method's maximum is larger at the highest rate than at the lowest."""
    curves: dict[tuple, dict[float, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in study.cells:
        if cell.learns and cell.setting.noise in ("clean", "symmetric") and not cell.setting.imbalance:
            curves[cell.setting.data, cell.series][cell.setting.rate].append(cell)
    findings = []
    for (data, series), rates in curves.items():
        needed = {rate: size for rate, cells in rates.items() if (size := size_needed(cells))}
        scope = scope_of(data, series)
        if len(needed) < 2:
            findings.append(Finding(scope, missing="three sizes at two rates, the same seeds at each size"))
            continue
        low, high = min(needed), max(needed)

        def say(effect: Estimate, needed: dict = needed) -> str:
            return "; ".join(
                f"{10 ** needed[rate].estimate().mean:.0f} per class at {rate:g}" for rate in sorted(needed)
            )

        findings.append(tested(scope, needed[high] - needed[low], say))
    return findings


def size_needed(cells: list[Cell]) -> Contrast | None:
    """Return log10 of the size that reaches 95 % of the maximum accuracy; None below three sizes.

    Between measured sizes, the accuracy is interpolated linearly in the logarithm of the size. The mean is the size of
    the mean curve, and the spread is that of the curves of single seeds. The mean of their sizes would be biased: where
    a curve is flat, noise raises its maximum and moves the size.
    """
    if len(cells) < 3:
        return None
    cells = sorted(cells, key=lambda cell: cell.ipc or 0)
    by_seed = [{row["seed"]: row for row in cell.rows} for cell in cells]
    seeds = sorted(set.intersection(*(set(rows) for rows in by_seed)))
    if not seeds:
        return None
    accuracy = np.array([[rows[seed]["last_acc"] for seed in seeds] for rows in by_seed], float)
    sizes = np.log10([cell.ipc for cell in cells])
    values = _reached(sizes, accuracy)
    values = values + _reached(sizes, accuracy.mean(axis=1, keepdims=True)) - values.mean(axis=0)
    draws = dataclasses.replace(cells[0], rows=tuple(by_seed[0][seed] for seed in seeds)).sample("seed")
    names = tuple(rows[seed]["fingerprint"] for rows in by_seed for seed in seeds)
    return mean_of(Sample(values, draws.draws if draws else None, names))


def _reached(sizes: Float[np.ndarray, "s"], accuracy: Float[np.ndarray, "s n ..."]) -> Float[np.ndarray, "n ..."]:
    """Return the log10 size where each curve first reaches 95 % of its maximum."""
    wanted = NEARLY * accuracy.max(axis=0)
    at = np.argmax(accuracy >= wanted, axis=0)
    before = np.maximum(at - 1, 0)
    high, low = (np.take_along_axis(accuracy, i[None], 0)[0] for i in (at, before))
    share = np.where(at > 0, (wanted - low) / np.where(high > low, high - low, 1.0), 1.0)
    return sizes[before] + np.where(at > 0, share, 0.0) * (sizes[at] - sizes[before])


def large_sets_absorb(study: Study, moment: str) -> list[Finding]:
    """P1: accuracy falls faster with the rate at 1000 images per class than at 50."""
    curves: dict[tuple, dict[int, dict[float, Contrast]]] = defaultdict(lambda: defaultdict(dict))
    for cell in study.cells:
        if cell.learns and cell.setting.noise in ("clean", "symmetric") and cell.ipc in (50, 1000):
            curves[cell.setting.data, cell.series][cell.ipc][cell.setting.rate] = cell.contrast("last_acc")
    findings = []
    for (data, series), sizes in curves.items():
        rates = sorted(set(sizes[50]) & set(sizes[1000]))
        scope = scope_of(data, series)
        if len(rates) < 3:
            findings.append(Finding(scope, missing="three rates at 50 and at 1000 images per class"))
            continue
        small, large = (slope({rate: sizes[ipc][rate] for rate in rates}) for ipc in (50, 1000))

        def say(effect: Estimate, small: Contrast = small, large: Contrast = large) -> str:
            one, other = small.estimate(), large.estimate()
            return f"slope {points(one)} points per unit of rate at 50 per class, {points(other)} at 1000"

        findings.append(tested(scope, small - large, say))
    return findings


def started_from(config: dict[str, Any]) -> str | None:
    """Return the option `start` of a DATM run, also if a published setting determines it.

    It is None for a run of another release with other options.
    """
    known = {field.name for field in dataclasses.fields(Experiment)}
    given = {name: value for name, value in config.items() if name in known}
    try:
        return method_config(DatmConfig, Experiment(**given)).start
    except ValueError:
        return None


def filtering_start(study: Study, moment: str) -> list[Finding]:
    """P3: initial images that experts predict as their given class are better than any real images."""
    starts: dict[tuple, dict[str | None, Cell]] = defaultdict(dict)
    for cell in study.cells:
        if cell.method == "datm" and cell.setting.noisy:
            config = cell.rows[0]["config"]
            chosen = dict(option.partition("=")[::2] for option in config.get("options", ()))
            begun = started_from(config)
            chosen.pop("start", None)
            others = variant({**config, "options": [f"{name}={value}" for name, value in sorted(chosen.items())]})
            starts[cell.setting, cell.ipc, cell.protocol, others][begun] = cell
    findings = []
    for (setting, ipc, *_), cells in starts.items():
        scope = f"{scope_of(setting.data, 'datm', ipc)}, {setting.labels}"
        if not {"correct", "real"} <= set(cells):
            findings.append(Finding(scope, missing="runs with start=correct and with start=real"))
            continue
        ours, real = (cells[name].contrast("last_acc") for name in ("correct", "real"))

        def say(effect: Estimate, ours: Contrast = ours, real: Contrast = real) -> str:
            one, other = ours.estimate().mean, real.estimate().mean
            return f"{100 * one:.1f} % from correctly predicted images, {100 * other:.1f} % from any real images"

        findings.append(tested(scope, ours - real, say))
    return findings
