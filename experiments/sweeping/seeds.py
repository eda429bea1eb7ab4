"""Number of seeds with which a grid detects a given difference, from the spread of existing rows."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.reporting.cells import SELECTIONS, compare, gather
from experiments.reporting.contrasts import Estimate
from experiments.reporting.inference import LEVEL, POWER, seeds_needed
from experiments.running.config import Experiment
from experiments.running.methods import last_part, parse


def planned_seeds(rows: Iterable[dict[str, Any]], cells: Sequence[Experiment], effect: float) -> list[str]:
    """Return the lines of a plan: for each kind of distilled set, the seeds that detect `effect` beside the full set.

    The test is that of the report: paired by draw where both sides have the same draws, else Welch's test. Variances
    are pooled over the kinds of noise.

    Args:
      rows: existing rows, two seeds or more.
      cells: of the grid; the number of kinds of distilled sets is that of the comparisons of a claim.
      effect: difference of two accuracies.
    """
    distilled = (cell for cell in cells if not parse(cell.method).on_all and last_part(cell.method) not in SELECTIONS)
    kinds = {(cell.dataset, cell.method, cell.ipc) for cell in distilled}
    comparisons, seeds = max(1, len(kinds)), len({cell.seed for cell in cells})
    head = (
        f"seeds that find a difference of {100 * effect:g} points beside the full set with {100 * POWER:.0f} % power, "
        f"one-sided level {100 * LEVEL:g} % over {comparisons} comparison{'s' * (comparisons > 1)}; there are {seeds}:"
    )
    found: dict[tuple, list[Estimate]] = defaultdict(list)
    for one in compare(gather(rows)):
        gain = one.deltas.get("last")
        if one.cell.learns and gain is not None and gain.se:
            found[one.cell.setting.data, one.cell.series, one.cell.ipc].append(gain)
    lines = []
    for (data, series, ipc), gains in found.items():
        deviation = math.sqrt(sum(one.df * one.n * one.se**2 for one in gains) / sum(one.df for one in gains))
        df = min(one.df / (one.n - 1) for one in gains)  # of two seeds, from where it is scaled
        needed = seeds_needed(effect, deviation / math.sqrt(2), df, 2, LEVEL / comparisons)
        spread = f"standard deviation of the difference {100 * deviation:.1f} points"
        lines.append(f"  {data:14} {series:8} {ipc:>4} {needed or 'over 1000':>9} ({spread})")
    return [head, *(lines or ["  unknown: it takes rows of two seeds of a distilled set and of the full set"])]
