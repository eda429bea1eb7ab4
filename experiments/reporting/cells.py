"""Cells of rows that differ only in their seed, and the baseline of each cell."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ddjax.evaluation.baselines import BASELINES
from ddjax.noise.spec import RATELESS
from experiments.reporting.contrasts import Contrast, Estimate, Sample, mean_of
from experiments.reporting.seeding import draw_of, told_apart
from experiments.running.config import Experiment, baseline_of
from experiments.running.methods import RELABEL, last_part

MOMENTS = ("last", "best", "picked")
SELECTIONS = ("random", "herding", "kcenter")  # controls: they select images and learn nothing
# Settings in the name of a cell; each other setting with a non-default value makes a variant.
_NAMED = ("dataset", "noise", "rate", "method", "ipc", "seed", "noise_seed", "protocol", "limit", "imbalance")
_LABELS = ("sampler", "order", "labels_file", "matrix_file")  # settings that decide noisy labels, beside the noise
_NETWORK = ("network", "width", "depth", "precision")
PRECISION = "float32"  # of rows without this setting


class Setting(NamedTuple):
    """Data and labels, which both sides of a comparison share."""

    dataset: str
    limit: int | None
    imbalance: float | None
    noise: str
    rate: float

    @property
    def data(self) -> str:
        """Return the name of the data set without its noise."""
        parts = [self.dataset]
        if self.limit:
            parts.append(f"first {self.limit}")
        if self.imbalance:
            parts.append(f"long tail {self.imbalance:g}")
        return ", ".join(parts)

    @property
    def noisy(self) -> bool:
        """Whether some labels may be wrong. Human labels have no rate."""
        return self.noise != "clean" and (bool(self.rate) or self.noise in RATELESS)

    @property
    def labels(self) -> str:
        """Return the name of the noise with its rate."""
        return f"{self.noise} {self.rate:g}" if self.rate else self.noise


@dataclasses.dataclass(frozen=True)
class Cell:
    """Rows of one setting, method, size and recipe. Figures draw cells with one `series` as a line."""

    setting: Setting
    method: str
    protocol: str
    ipc: int | None
    variant: str
    series: str
    rows: tuple[dict[str, Any], ...]

    def sample(self, value: str | Callable[[dict[str, Any]], Any]) -> Sample | None:
        """Return the values of a column, or of a function of the row; None if no row has a value.

        If rows have different noise draws, the sample contains them, so that comparisons can be paired by draw. So does
        a single row.
        """
        get = value if callable(value) else lambda row: row.get(value)
        kept = [(number, row) for row in self.rows if (number := get(row)) is not None]
        if not kept:
            return None
        draws = tuple(draw_of(row) for _, row in kept)
        apart = None not in draws and (len(draws) == 1 or len(set(draws)) > 1)
        values = np.asarray([number for number, _ in kept], float)
        return Sample(values, draws if apart else None, tuple(row["fingerprint"] for _, row in kept))

    def contrast(self, value: str | Callable[[dict[str, Any]], Any]) -> Contrast | None:
        """Return the mean of a column, or of a function of the row, as a contrast; None if no row has a value."""
        sample = self.sample(value)
        return None if sample is None else mean_of(sample)

    def of(self, value: str | Callable[[dict[str, Any]], Any]) -> Estimate | None:
        """Return the estimated mean of a column, or of a function of the row; None if no row has a value."""
        contrast = self.contrast(value)
        return None if contrast is None else contrast.estimate()

    @property
    def precision(self) -> str:
        """Return the precision of the rows, or all of them."""
        return ", ".join(sorted(set(map(precision, self.rows))))

    @property
    def learns(self) -> bool:
        """Return whether the method is a distiller: neither training on the whole set nor a selection."""
        return last_part(self.method) not in (*SELECTIONS, "full") and "moments" not in self.rows[0]

    @property
    def name(self) -> str:
        """Return the name of the cell without its setting."""
        return self.series if self.ipc is None else f"{self.series}, {self.ipc} per class"


class Compared(NamedTuple):
    """A cell, its baseline on the whole set, and the differences of accuracy by epoch of the baseline."""

    cell: Cell
    baseline: Cell | None
    gains: dict[str, Contrast]

    @property
    def deltas(self) -> dict[str, Estimate]:
        """Return the estimates of the differences."""
        return {moment: gain.estimate() for moment, gain in self.gains.items()}


def augmented(cell: Cell) -> bool | None:
    """Whether the recipe for the whole set augments images; None for a recipe that is not the library's."""
    baseline = BASELINES.get(cell.protocol)
    return baseline and baseline.recipe.augment != "none"


def whole_name(cell: Cell, cells: Sequence[Cell]) -> str:
    """Return "whole set", with what tells its recipe from others for the same labels."""
    recipes = [augmented(one) for one in cells if one.method == "full" and one.setting == cell.setting]
    if len(recipes) > 1 and (None in recipes or recipes.count(augmented(cell)) > 1):
        return f"whole set {cell.series.removeprefix('full (').removesuffix(')')}"
    return "augmented" if len(recipes) > 1 and augmented(cell) else "whole set"


def variant(config: dict[str, Any]) -> str:
    """Return the non-default settings that no other column shows, as `name=value`."""
    plain = dataclasses.asdict(Experiment()) | {"precision": PRECISION}
    correcting = {"protocol"} if str(config.get("method")).endswith(RELABEL) else set()  # of the students that correct
    named = {*_NAMED, "options"} - correcting
    parts = []
    for name, value in config.items():
        if name not in named and value is not None and value != plain.get(name):
            parts.append(f"{name}={value}")
    return ", ".join([*parts, *config.get("options", ())])


def precision(row: dict[str, Any]) -> str:
    """Return the precision of the products of a row."""
    return row["config"].get("precision") or PRECISION


def gather(rows: Iterable[dict[str, Any]]) -> list[Cell]:
    """Return the cells of all rows. Settings come in the order of their first rows.

    The name of a series contains the settings in which variants of a method for one setting and size differ. A method
    with a different number of steps at another size is thus still one line in a figure.

    The default precision is that of the machine, and a sweep may continue on another one. So seeds that differ in
    precision are in one cell, unless a seed was run in several.

    Rows of a cell with one seed and one noise draw are one run, of which the last row counts: training on the whole set
    with another `ipc` gives equal numbers, for example.
    """
    mixed: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for row in told_apart(list(rows)):
        config = row["config"] | {"precision": None}
        setting = Setting(row["dataset"], config.get("limit"), config.get("imbalance"), row["noise"], row["rate"])
        mixed[setting, row["method"], row["protocol"], row["ipc"], variant(config)].append(row)
    groups: dict[tuple, dict[tuple, dict[str, Any]]] = defaultdict(dict)
    for (*key, kind), members in mixed.items():
        several = defaultdict(set)
        for row in members:
            several[row["seed"], draw_of(row)].add(precision(row))
        compared = max(map(len, several.values())) > 1
        for row in members:
            own = variant({"precision": precision(row)}) if compared else ""
            groups[*key, ", ".join(filter(None, [own, kind]))][row["seed"], draw_of(row)] = row
    variants, protocols = defaultdict(set), defaultdict(set)
    for setting, method, protocol, ipc, kind in groups:
        variants[setting, method, protocol, ipc].add(kind)
        protocols[method].add(protocol)
    differing = defaultdict(set)
    for (_, method, protocol, _), kinds in variants.items():
        parts = [set(kind.split(", ")) for kind in kinds]
        names = {part.partition("=")[0] for part in set.union(*parts) - set.intersection(*parts)}
        differing[method, protocol] |= names
    cells = []
    for (setting, method, protocol, ipc, kind), members in groups.items():
        notes = [protocol] if len(protocols[method]) > 1 or method == "full" else []
        own = [part for part in kind.split(", ") if part and part.partition("=")[0] in differing[method, protocol]]
        notes += [", ".join(own)] if own else []
        series = f"{method} ({'; '.join(notes)})" if notes else method
        cells.append(Cell(setting, method, protocol, ipc, kind, series, tuple(members.values())))
    return cells


def ordered(cells: Iterable[Cell]) -> list[Cell]:
    """Return cells by data, noise and rate; training on the whole set first, then distillers, then selections."""
    kinds = {"clean": 0, "symmetric": 1, "asymmetric": 2}
    return sorted(
        cells,
        key=lambda c: (
            *(c.setting.data, kinds.get(c.setting.noise, 9), c.setting.noise, c.setting.rate),
            *(c.method != "full", not c.learns, c.series, c.ipc or 0),
        ),
    )


def compare(cells: list[Cell]) -> list[Compared]:
    """Return each cell other than training on the whole set with its baseline on the same labels."""
    full = defaultdict(list)
    for cell in cells:
        if cell.method == "full":
            full[_labels(cell)].append(cell)
    return [_compared(cell, full[_labels(cell)]) for cell in cells if cell.method != "full"]


def _labels(cell: Cell) -> tuple:
    config = dataclasses.asdict(Experiment()) | cell.rows[0]["config"]
    return cell.setting, *(config[name] for name in _LABELS if cell.setting.noisy)


def _compared(cell: Cell, candidates: list[Cell]) -> Compared:
    """Prefer the protocol's own baseline, then the same network; otherwise use any baseline on the same labels."""
    if not candidates:
        return Compared(cell, None, {})
    own = baseline_of(cell.protocol)

    def distance(full: Cell) -> tuple:
        mine, its = cell.rows[0]["config"], full.rows[0]["config"]
        return (full.protocol != own, sum(mine.get(n) != its.get(n) for n in _NETWORK), full.protocol, full.variant)

    baseline, score = min(candidates, key=distance), cell.contrast("last_acc")
    against = {moment: baseline.contrast(f"{moment}_acc") for moment in MOMENTS}
    return Compared(cell, baseline, {m: score - other for m, other in against.items() if score and other})
