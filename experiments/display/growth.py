"""The picture of how time and memory of each stage grow, and the exponents, from rows of the benchmark `growth`.

Example: python -m experiments.display.growth growth.jsonl
"""

import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import tyro

from experiments.benchmarks.growth import AXES
from experiments.display.cli import main
from experiments.display.figures import STYLE, save

WORDS = {"images": "training images", "classes": "classes", "ipc": "distilled images per class"}
VALUES = {"seconds": "seconds", "peak_mib": "MiB"}
ROWS = {  # title -> stages
    "all methods": ("noise and statistics", "epoch", "predictions"),
    "preparation of a method": ("preparation",),
    "a step of a method": ("step",),
}


def draw(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> pathlib.Path:
    """Draw seconds and memory against each size, on logarithmic axes, with a dotted line of exponent 1.

    Args:
      rows: of the benchmark.
      path: the file to write.

    Returns:
      The path.
    """
    with plt.rc_context(STYLE | {"svg.hashsalt": "growth", "svg.fonttype": "none"}):
        grid = [(title, value) for title in ROWS for value in VALUES]
        figure, panels = plt.subplots(len(grid), len(AXES), figsize=(11, 2.6 * len(grid)), sharey="row", squeeze=False)
        for (title, value), line in zip(grid, panels, strict=True):
            for axis, panel in zip(AXES, line, strict=True):
                _panel(panel, rows, ROWS[title], axis, AXES[axis], value)
                panel.set_xlabel(WORDS[axis])
            line[0].set_ylabel(f"{title}\n{VALUES[value]}")
            line[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
        figure.tight_layout()
        return save(figure, path)


def _panel(
    panel: Any, rows: Sequence[dict[str, Any]], stages: Sequence[str], axis: str, sizes: Sequence[Any], value: str
) -> None:
    names = list(dict.fromkeys((row["stage"], row["method"]) for row in rows if row["stage"] in stages))
    x = [getattr(size, axis) for size in sizes]
    low = None
    for i, (stage, method) in enumerate(names):
        y = [row_of(rows, stage, method, size)[value] for size in sizes]
        low = min(y[0], low or y[0])
        words = stage if len(stages) > 1 else method
        panel.plot(x, y, color=f"C{i}", marker="o", markersize=3, linewidth=1.2, label=words)
    panel.plot(x, [low * each / x[0] for each in x], color="0.6", linestyle=":", linewidth=1, label="exponent 1")
    panel.set(xscale="log", yscale="log", xticks=x, xticklabels=[f"{each:,}" for each in x])
    panel.minorticks_off()


def exponents(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """For each stage and method, by axis, the powers of the size with which time and memory grow at its large end."""
    found: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for stage, name in dict.fromkeys((row["stage"], row["method"]) for row in rows):
        for axis, sizes in AXES.items():
            last, final = (row_of(rows, stage, name, size) for size in sizes[-2:])
            length = math.log(final[axis] / last[axis])
            time, memory = (math.log(final[key] / last[key]) / length for key in ("seconds", "peak_mib"))
            found.setdefault((stage, name), {})[axis] = time, memory
    return found


def row_of(rows: Sequence[dict[str, Any]], stage: str, name: str, size: Sequence[int]) -> dict[str, Any]:
    """The row of a stage of a method at a size."""
    return next(
        row for row in rows if (row["stage"], row["method"], *(row[part] for part in WORDS)) == (stage, name, *size)
    )


def write(rows: tyro.conf.Positional[pathlib.Path]) -> None:
    """Draw the rows of `bench growth --json` beside their file, as .svg, and print the exponents as a table.

    Args:
      rows: the .jsonl.
    """
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    draw(found, rows.with_suffix(".svg"))
    print(f"| stage | method | {' | '.join(f'{axis}: time | memory' for axis in AXES)} |")
    print("|---" * (2 + 2 * len(AXES)) + "|")
    for (stage, name), axes in exponents(found).items():
        print(f"| {stage} | {name} | {' | '.join(f'{t:.1f} | {m:.1f}' for t, m in axes.values())} |")


if __name__ == "__main__":
    main(write, __doc__)
