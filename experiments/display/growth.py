"""The picture of how time and memory of each stage grow, drawn from the rows of the benchmark `growth`."""

import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt

from experiments.display.figures import STYLE, save

AXES = {"images": "training images", "classes": "classes", "ipc": "distilled images per class"}
VALUES = {"seconds": "seconds", "peak_mib": "MiB"}
ROWS = {  # title -> stages
    "all methods": ("noise and statistics", "epoch", "predictions"),
    "preparation of a method": ("preparation",),
    "a step of a method": ("step",),
}


def draw(rows: Sequence[dict[str, Any]], axes: dict[str, Sequence[Any]], path: pathlib.Path) -> pathlib.Path:
    """Draw seconds and memory against each size, on logarithmic axes, with a dotted line of exponent 1.

    Args:
      rows: of the benchmark.
      axes: the sizes (images, classes, ipc) by the axis that they belong to.
      path: the file to write.

    Returns:
      The path.
    """
    with plt.rc_context(STYLE | {"svg.hashsalt": "growth"}):
        grid = [(title, value) for title in ROWS for value in VALUES]
        figure, panels = plt.subplots(len(grid), len(axes), figsize=(11, 2.6 * len(grid)), sharey="row", squeeze=False)
        for (title, value), line in zip(grid, panels, strict=True):
            for axis, panel in zip(axes, line, strict=True):
                _panel(panel, rows, ROWS[title], axis, axes[axis], value)
                panel.set_xlabel(AXES[axis])
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
        mine = {
            (row["images"], row["classes"], row["ipc"]): row[value]
            for row in rows
            if (row["stage"], row["method"]) == (stage, method)
        }
        y = [mine[tuple(size)] for size in sizes]
        low = min(y[0], low or y[0])
        words = stage if len(stages) > 1 else method
        panel.plot(x, y, color=f"C{i}", marker="o", markersize=3, linewidth=1.2, label=words)
    panel.plot(x, [low * each / x[0] for each in x], color="0.6", linestyle=":", linewidth=1, label="exponent 1")
    panel.set(xscale="log", yscale="log", xticks=x, xticklabels=[f"{each:,}" for each in x])
    panel.minorticks_off()
