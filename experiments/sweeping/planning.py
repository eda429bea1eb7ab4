"""Plan of a sweep: predicted time, memory and disk space of each cell, and totals."""

import math
import statistics
from collections import defaultdict
from typing import Any, NamedTuple

from tabulate import tabulate

from ddjax.preprocess import chosen
from ddjax.storage.rows import hardware
from ddjax.timing import in_time
from experiments.running.config import Experiment
from experiments.running.methods import sized
from experiments.running.run import alike
from experiments.sweeping.cost import cost, fleet_memory, shape_of
from experiments.sweeping.machines import Machine
from experiments.sweeping.run import groups
from experiments.sweeping.store import Store
from experiments.sweeping.work import Common

# columns of the table, and their alignment
HEADS = dict.fromkeys(("data set", "noise", "method"), "left") | {"ipc": "right", "seed": "right", "protocol": "left"}
HEADS |= dict.fromkeys(("time", "memory", "disk"), "right")


class Estimate(NamedTuple):
    """Prediction for a cell; `seconds` and `memory` are None for a method that has neither a formula nor rows."""

    cell: Experiment
    row: dict[str, Any] | None
    seconds: float | None
    measured: bool  # from rows that differ only in labels and seeds
    memory: float | None
    disk: int


class Plan(NamedTuple):
    """All cells, and the shared work that is missing, with its seconds."""

    machine: Machine
    estimates: list[Estimate]
    common: list[tuple[Common, float]]
    compile_s: float


def plan(rounds: list[list[Experiment]], store: Store, machine: Machine, fleet: bool) -> Plan:
    """Predict the cells of all rounds by formula, or by the mean of this machine's rows.

    These rows differ from the cell only in labels and seeds. They include the shared work, so the cell adds none.
    """
    cells = [cell for part in rounds for cell in part]
    rows = {cell: store.row(cell) for cell in cells}
    took = defaultdict(list)
    for cell, row in rows.items():
        if machine.name == "here" and row and row["status"] == "done" and row["hardware"] == hardware():
            took[alike(cell)].append(row["seconds"])
    estimates, common, missing = [], {}, []
    together = [group for part in rounds for group in groups(part, fleet, machine.memory)]
    sizes = {cell: len(group) for group in together for cell in group}
    for cell in cells:
        members, known = sizes[cell], cost(cell, machine)
        rate = machine.rate(cell.precision)
        seconds = None if known.work is None else known.work.flop / rate + known.work.passes * machine.pass_s / members
        measured = bool(took[alike(cell)])
        if measured:
            seconds = statistics.fmean(took[alike(cell)])
        estimates.append(Estimate(cell, rows[cell], seconds, measured, fleet_memory(known, members), known.disk))
        if rows[cell] is None or rows[cell]["status"] != "done":
            missing.append(cell)
            for part in () if measured else known.common:
                common[part.key] = (part, part.work.flop / rate + part.work.passes * machine.pass_s)
    programs = {alike(cell) for cell in missing if not took[alike(cell)]}
    return Plan(machine, estimates, list(common.values()), len(programs) * machine.compile_s)


def listing(made: Plan, store: Store) -> str:
    """The plan as a table with totals, as text."""
    table = tabulate(map(_line, made.estimates), HEADS, "plain", disable_numparse=True, colalign=HEADS.values())
    return "\n".join([table, "", *_totals(made, store)])


def _line(one: Estimate) -> list[str]:
    cell = one.cell
    noise, ipc = f"{cell.noise} {cell.rate:g}" if cell.rate else cell.noise, cell.ipc if sized(cell.method) else "all"
    shown = [cell.dataset, noise, cell.method, ipc, cell.seed, cell.protocol]
    return [*map(str, shown), _time_of(one), in_bytes(one.memory), in_bytes(one.disk)]


def _time_of(one: Estimate) -> str:
    if one.row is not None:
        return one.row["status"]
    return "unknown" if one.seconds is None else ("" if one.measured else "~") + in_time(one.seconds)


def _totals(made: Plan, store: Store) -> list[str]:
    todo = [one for one in made.estimates if one.row is None or one.row["status"] != "done"]
    present = len(made.estimates) - len(todo)
    lines = [
        f"{len(made.estimates)} cells, {present} of them present in {store.root}; {len(todo)} to run on "
        f"{made.machine.name} ({made.machine.source}):"
    ]
    by_method: dict[str, list[Estimate]] = defaultdict(list)
    for one in todo:
        by_method[one.cell.method].append(one)
    names = dict.fromkeys(part.name for part, _ in made.common)
    whole, disk, wide = made.compile_s, sum(one.disk for one in todo), max(map(len, ("compiling", *names, *by_method)))
    for method, mine in by_method.items():
        seconds = [one.seconds for one in mine if one.seconds is not None]
        unknown = f", and {len(mine) - len(seconds)} of unknown length" if len(seconds) < len(mine) else ""
        lines.append(f"  {method:{wide}} {len(mine):4} cells {in_time(sum(seconds)):>9}{unknown}")
        whole += sum(seconds)
    for name in names:
        mine = [(part, seconds) for part, seconds in made.common if part.name == name]
        size, seconds = sum(part.disk for part, _ in mine), sum(seconds for _, seconds in mine)
        kept = f"made once, {in_bytes(size)} in the cache" if size else "made once by each process that needs them"
        lines.append(f"  {name:{wide}} {len(mine):4} sets  {in_time(seconds):>9}, {kept}")
        whole, disk = whole + seconds, disk + size
    unknown = sum(one.seconds is None for one in todo)
    also = f", {unknown} cells of unknown length left out" if unknown else ""
    peak = max([one.memory for one in todo if one.memory is not None], default=0.0)
    lines.append(f"  {'compiling':{wide}}            {in_time(made.compile_s):>9}")
    lines.append(
        f"in all {in_time(whole)} one after the other{also}, at most {in_bytes(peak)} of arrays in memory at a time "
        f"(there are {in_bytes(made.machine.memory)}), {in_bytes(disk)} of disk"
    )
    if any(not one.measured for one in todo):
        lines.append("~: from a formula, good to a factor of about two; rows of other labels or seeds replace it")
    if peak > made.machine.memory:
        lines.append("one cell takes more memory than there is: choose smaller batches or a narrower network")
    return lines


def places(cells: list[Experiment], images: str) -> list[str]:
    """A line for the images of each data set, with the place where they are kept on this machine."""
    sizes: dict[str, int] = {}
    for cell in {(cell.dataset, cell.limit, cell.imbalance): cell for cell in cells}.values():
        try:
            shape = shape_of(cell)
        except (OSError, ValueError, ImportError):  # its cells fail, and say why
            continue
        sizes[cell.dataset] = max(sizes.get(cell.dataset, 0), shape.train * math.prod(shape.image))
    return [
        f"images of {name}: on the {chosen(images, size)}, {in_bytes(size)} of bytes" for name, size in sizes.items()
    ]


def in_bytes(size: float | None) -> str:
    """Bytes as text, in a suitable unit."""
    if size is None:
        return "unknown"
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"
