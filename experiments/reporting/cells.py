"""Rows that differ only in their seed are one cell; a cell has a mean, a standard error and a baseline."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from experiments.reporting.contrasts import Contrast, Estimate, Sample, mean_of
from experiments.reporting.seeding import draw_of
from experiments.running.config import BASELINE_OF, Experiment

MOMENTS = ("last", "best", "picked")
SELECTIONS = ("random", "herding", "kcenter")  # controls: they choose images and learn nothing
# What a cell is named by; every other setting that is not at its default makes a variant.
_NAMED = ("dataset", "noise", "rate", "method", "ipc", "seed", "noise_seed", "protocol", "limit", "imbalance")
_NETWORK = ("network", "width", "depth", "precision")


class Setting(NamedTuple):
    """What both sides of a comparison share: the data and their labels."""

    dataset: str
    limit: int | None
    imbalance: float | None
    noise: str
    rate: float

    @property
    def data(self) -> str:
        """The data set in words, without its noise."""
        parts = [self.dataset]
        if self.limit:
            parts.append(f"first {self.limit}")
        if self.imbalance:
            parts.append(f"long tail {self.imbalance:g}")
        return ", ".join(parts)

    @property
    def labels(self) -> str:
        """The noise in words."""
        return f"{self.noise} {self.rate:g}" if self.rate else self.noise


@dataclasses.dataclass(frozen=True)
class Cell:
    """Rows of one setting, method, size and recipe; `series` names what is drawn as one line over sizes or rates."""

    setting: Setting
    method: str
    protocol: str
    ipc: int | None
    variant: str
    series: str
    rows: tuple[dict[str, Any], ...]

    def sample(self, value: str | Callable[[dict[str, Any]], Any]) -> Sample | None:
        """The values of a column, or of a function of the row, in the rows that have one; None where none has.

        Rows that differ in their noise draw carry it along, so that both sides of a comparison meet draw by draw.
        """
        get = value if callable(value) else lambda row: row.get(value)
        kept = [(found, row) for row in self.rows if (found := get(row)) is not None]
        if not kept:
            return None
        draws = tuple(draw_of(row) for _, row in kept)
        several = None not in draws and len(set(draws)) > 1
        values = np.asarray([found for found, _ in kept], float)
        return Sample(values, draws if several else None, tuple(row["fingerprint"] for _, row in kept))

    def contrast(self, value: str | Callable[[dict[str, Any]], Any]) -> Contrast | None:
        """The mean of a column, or of a function of the row, to be compared with others."""
        found = self.sample(value)
        return None if found is None else mean_of(found)

    def of(self, value: str | Callable[[dict[str, Any]], Any]) -> Estimate | None:
        """Mean over rows of a column, or of a function of the row."""
        found = self.contrast(value)
        return None if found is None else found.estimate()

    @property
    def learns(self) -> bool:
        """Whether this is a distiller, neither the whole set nor a selection of it."""
        return self.method not in (*SELECTIONS, "full") and "moments" not in self.rows[0]

    @property
    def name(self) -> str:
        """The cell in words, without its setting."""
        return self.series if self.ipc is None else f"{self.series}, {self.ipc} per class"


class Compared(NamedTuple):
    """A cell beside training on everything: differences of accuracy, by the moment of the baseline."""

    cell: Cell
    baseline: Cell | None
    gains: dict[str, Contrast]

    @property
    def deltas(self) -> dict[str, Estimate]:
        """The differences, estimated."""
        return {moment: gain.estimate() for moment, gain in self.gains.items()}


def variant(config: dict[str, Any]) -> str:
    """Settings away from their defaults that no other column shows, as `name=value`."""
    plain = dataclasses.asdict(Experiment())
    parts = []
    for name, value in config.items():
        if name not in _NAMED and name != "options" and value is not None and value != plain.get(name):
            parts.append(f"{name}={value}")
    return ", ".join([*parts, *config.get("options", ())])


def gather(rows: Iterable[dict[str, Any]]) -> list[Cell]:
    """The cells of all rows, in the order in which they come.

    A variant is part of the series' name only where a method has several for the same data and size: a method that
    takes other steps at another size is still one line.
    """
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        config = row["config"]
        setting = Setting(row["dataset"], config.get("limit"), config.get("imbalance"), row["noise"], row["rate"])
        groups[setting, row["method"], row["protocol"], row["ipc"], variant(config)].append(row)
    variants, protocols = defaultdict(set), defaultdict(set)
    for setting, method, protocol, ipc, kind in groups:
        variants[setting, method, protocol, ipc].add(kind)
        protocols[method].add(protocol)
    several = {(method, protocol) for (_, method, protocol, _), kinds in variants.items() if len(kinds) > 1}
    cells = []
    for (setting, method, protocol, ipc, kind), members in groups.items():
        notes = [protocol] if len(protocols[method]) > 1 or method == "full" else []
        notes += [kind] if kind and (method, protocol) in several else []
        series = f"{method} ({'; '.join(notes)})" if notes else method
        cells.append(Cell(setting, method, protocol, ipc, kind, series, tuple(members)))
    return cells


def ordered(cells: Iterable[Cell]) -> list[Cell]:
    """By data, noise and rate; the whole set first, then distillers, then selections."""
    kinds = {"clean": 0, "symmetric": 1, "asymmetric": 2}
    return sorted(
        cells,
        key=lambda c: (
            *(c.setting.data, kinds.get(c.setting.noise, 9), c.setting.noise, c.setting.rate),
            *(c.method != "full", not c.learns, c.series, c.ipc or 0),
        ),
    )


def compare(cells: list[Cell]) -> list[Compared]:
    """Every cell that is not the whole set itself, beside the whole set with the same labels."""
    full = defaultdict(list)
    for cell in cells:
        if cell.method == "full":
            full[cell.setting].append(cell)
    return [_beside(cell, full[cell.setting]) for cell in cells if cell.method != "full"]


def _beside(cell: Cell, candidates: list[Cell]) -> Compared:
    """The protocol's own baseline if it was run, on the same network if it was, else any other on the same labels."""
    if not candidates:
        return Compared(cell, None, {})
    own = BASELINE_OF.get(cell.protocol)

    def distance(full: Cell) -> tuple:
        mine, its = cell.rows[0]["config"], full.rows[0]["config"]
        return (full.protocol != own, sum(mine.get(n) != its.get(n) for n in _NETWORK), full.protocol, full.variant)

    baseline, score = min(candidates, key=distance), cell.contrast("last_acc")
    against = {moment: baseline.contrast(f"{moment}_acc") for moment in MOMENTS}
    return Compared(cell, baseline, {m: score - other for m, other in against.items() if score and other})
