"""How many seeds a grid takes for a difference that is to be found, going by the spread of the rows that are there."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from experiments.reporting.inference import LEVEL, POWER, satterthwaite, seeds_needed

SIDES = tuple[str, str, int | None]  # data set, method, images per class


def spreads(rows: Iterable[dict[str, Any]]) -> dict[SIDES, tuple[float, int]]:
    """Standard deviation of the accuracy from seed to seed, pooled over the noises of a kind of cell, and its df."""
    groups: dict[tuple, list[float]] = defaultdict(list)
    for row in rows:
        groups[(row["dataset"], row["method"], row["ipc"]), row["protocol"], row["noise"], row["rate"]].append(
            row["last_acc"]
        )
    pooled: dict[SIDES, list[list[float]]] = defaultdict(list)
    for (kind, *_), values in groups.items():
        if len(values) > 1:
            pooled[kind].append(values)
    found = {}
    for kind, cells in pooled.items():
        df = sum(len(values) - 1 for values in cells)
        squares = sum(statistics.variance(values) * (len(values) - 1) for values in cells)
        found[kind] = (float(np.sqrt(squares / df)), df)
    return found


def planned_seeds(rows: Iterable[dict[str, Any]], effect: float, seeds: int, comparisons: int) -> list[str]:
    """Lines of a plan: for each kind of distilled set, the seeds that detect `effect` against training on everything.

    `seeds` is their present number, and `comparisons` that of a claim, for Holm's correction.
    """
    known = spreads(rows)
    head = (
        f"seeds that find a difference of {100 * effect:g} points beside the full set with {100 * POWER:.0f} % power, "
        f"one-sided level {100 * LEVEL:g} % over {comparisons} comparison{'s' * (comparisons > 1)}; there are {seeds}:"
    )
    lines = []
    for (dataset, method, ipc), (ours, _) in known.items():
        full = known.get((dataset, "full", None))
        if method == "full" or full is None or not ours + full[0]:
            continue
        variances = [ours**2 / 2, full[0] ** 2 / 2]  # of two seeds, from where it is scaled
        df = float(satterthwaite(variances, [1, 1]))
        needed = seeds_needed(effect, float(np.sqrt(sum(variances))), df, 2, LEVEL / comparisons)
        spread = f"deviation {100 * ours:.1f} and {100 * full[0]:.1f} points"
        lines.append(f"  {dataset:14} {method:8} {ipc:>4} {needed or 'over 1000':>9} ({spread})")
    return [head, *(lines or ["  unknown: it takes rows of two seeds of a distilled set and of the full set"])]
