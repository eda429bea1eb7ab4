"""The picture of how time and memory of each stage grow, and the exponents, from rows of the benchmark `growth`.

Example: python -m experiments.display.growth growth.jsonl
"""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import tyro

from ddjax.storage.rows import read
from experiments.benchmarks.growth import AXES, Size
from experiments.display.cli import main
from experiments.display.figures import STYLE, save

WORDS = {"images": "training images", "classes": "classes", "ipc": "distilled images per class"}
VALUES = {"seconds": "seconds", "peak_mib": "MiB"}
ROWS = {  # title -> stages
    "all methods": ("noise and statistics", "epoch", "predictions"),
    "preparation of a method": ("preparation",),
    "a step of a method": ("step",),
}
Row = dict[str, Any]


def draw(rows: Sequence[Row], path: pathlib.Path) -> pathlib.Path:
    """Draw seconds and memory against each size, on logarithmic axes, with a dotted line of exponent 1.

    Args:
      rows: of the benchmark; what a stopped one did not measure is a gap.
      path: the file to write.

    Returns:
      The path.
    """
    found = by_size(rows)
    with plt.rc_context(STYLE | {"svg.hashsalt": "growth", "svg.fonttype": "none"}):
        present = [title for title, stages in ROWS.items() if any(key[0] in stages for key in found)]
        grid = [(title, value) for title in present for value in VALUES]
        figure, panels = plt.subplots(len(grid), len(AXES), figsize=(11, 2.6 * len(grid)), sharey="row", squeeze=False)
        for (title, value), line in zip(grid, panels, strict=True):
            for axis, panel in zip(AXES, line, strict=True):
                _panel(panel, found, ROWS[title], axis, value)
                panel.set_xlabel(WORDS[axis])
            line[0].set_ylabel(f"{title}\n{VALUES[value]}")
            line[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
        figure.tight_layout()
        return save(figure, path)


def by_size(rows: Sequence[Row]) -> dict[tuple[str, str, Size], Row]:
    """The rows by stage, method and size.

    Raises:
      ValueError: no row has a size of the benchmark.
    """
    sizes = {size for line in AXES.values() for size in line}
    found = {(row["stage"], row["method"], Size(*(row[name] for name in WORDS))): row for row in rows}
    if not any(size in sizes for *_, size in found):
        raise ValueError("no row has a size of the benchmark growth: pass what `bench growth --json` printed")
    return {key: row for key, row in found.items() if key[-1] in sizes}


def _panel(panel: Any, found: dict[tuple[str, str, Size], Row], stages: Sequence[str], axis: str, value: str) -> None:
    x, lows = [getattr(size, axis) for size in AXES[axis]], []
    for stage, method in dict.fromkeys(key[:2] for key in found if key[0] in stages):
        y = [found.get((stage, method, size), {}).get(value, math.nan) for size in AXES[axis]]
        lows += y[:1] if y[0] > 0 else []
        panel.plot(x, y, marker="o", markersize=3, linewidth=1.2, label=stage if len(stages) > 1 else method)
    low = min(lows, default=math.nan)
    panel.plot(x, [low * each / x[0] for each in x], color="0.6", linestyle=":", linewidth=1, label="exponent 1")
    panel.set(xscale="log", yscale="log", xticks=x, xticklabels=[f"{each:,}" for each in x])
    panel.minorticks_off()


def exponents(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """For each stage and method, by axis, the powers of the size with which time and memory grow at its large end.

    An axis is left out if one of its two largest sizes was not measured, as in rows of a benchmark that was stopped.
    """
    found = by_size(rows)
    powers: dict[tuple[str, str], dict[str, tuple[float, float]]] = {key[:2]: {} for key in found}
    for (stage, name), own in powers.items():
        for axis, sizes in AXES.items():
            last, final = (found.get((stage, name, size)) for size in sizes[-2:])
            if last and final:
                length = math.log(final[axis] / last[axis])
                own[axis] = tuple(math.log(final[key] / last[key]) / length for key in VALUES)
    return powers


def write(rows: tyro.conf.Positional[pathlib.Path]) -> None:
    """Draw the rows of `bench growth --json` beside their file, as .svg, and print the exponents as a table.

    Args:
      rows: the .jsonl.
    """
    found = read(rows)
    draw(found, rows.with_suffix(".svg"))
    print(f"| stage | method | {' | '.join(f'{axis}: time | memory' for axis in AXES)} |")
    print("|---" * (2 + 2 * len(AXES)) + "|")
    for (stage, name), axes in exponents(found).items():
        shown = (f"{number:z.1f}" for axis in AXES for number in axes.get(axis, (math.nan, math.nan)))
        print(f"| {stage} | {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main(write, __doc__)
