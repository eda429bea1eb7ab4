"""Figures of one run, as PNG files."""

import pathlib
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

from ddjax.distilled import DistilledSet, pixels
from ddjax.storage.files import replacing

INK, GIVEN, CLEAN, TEST, PICK = "#333333", "#c44e52", "#4c72b0", "#222222", "#55a868"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "savefig.bbox": "tight",
    "savefig.dpi": 150,
}


def draw(outcome: Any, folder: pathlib.Path) -> list[pathlib.Path]:
    """Draw all figures of an outcome; returns the written files."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(_STYLE):
        if outcome.distilled is None:
            return [curves(outcome, folder / "curves.png")]
        return [
            images(outcome.distilled, outcome.dataset.class_names, folder / "images.png"),
            confusion(outcome.scores.confusion, outcome.dataset.class_names, folder / "confusion.png"),
        ]


def curves(outcome: Any, path: pathlib.Path) -> pathlib.Path:
    """Plot accuracy by epoch for training on the full set, and mark the epoch that the hold-out picked."""
    seen, row = outcome.scores.curves, outcome.row
    figure, axes = plt.subplots(figsize=(7, 4))
    epochs = np.arange(1, row["epochs"] + 1)
    for name, colour, words in [
        ("given_acc", GIVEN, "train, given (noisy) labels"),
        ("clean_acc", CLEAN, "train, clean labels"),
        ("test_acc", TEST, "test"),
    ]:
        axes.plot(epochs, 100 * seen[name].mean(axis=0), color=colour, label=words, linewidth=1.8)
    if "picked" in row["moments"]:
        picked = float(np.mean(row["moments"]["picked"]["epoch"]))
        axes.axvline(picked, color=PICK, linestyle="--", linewidth=1.4, label="epoch picked on noisy hold-out")
    noise = (
        f"{row['noise']} noise, {100 * row['effective_rate']:.0f} % of labels wrong" if row["rate"] else row["noise"]
    )
    axes.set(xlabel="epoch", ylabel="accuracy (%)", xlim=(0, row["epochs"] + 1), ylim=(0, 102))
    axes.set_title(f"{row['dataset']}: {row['protocol']} on {row['train_images']} images, {noise}", loc="left")
    axes.legend(frameon=False, loc="lower right")
    return _saved(figure, path)


def images(distilled: DistilledSet, class_names: tuple[str, ...], path: pathlib.Path, most: int = 20) -> pathlib.Path:
    """Draw the distilled images in pixel space: one row per class, at most `most` images of each, at most 20 classes.

    With one image per class, draw a grid with class names of at most 100 classes (Figure 3 of the study).
    """
    shown = np.clip(np.asarray(pixels(distilled)), 0, 1)
    labels = np.asarray(distilled.labels)
    classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
    rows = [np.flatnonzero(classes == c)[:most] for c in range(distilled.num_classes)]
    single = max(map(len, rows)) == 1
    if single:
        members = [row[0] for row in rows if len(row)][:100]
        rows = np.array_split(members, -(-len(members) // (5 if len(members) <= 20 else 10)))
    rows = rows[:20]
    columns = max(map(len, rows))
    cell, margin, gap = (1.2, 0.0, 0.3) if single else (0.55, 1.3, 0.05)
    figure, grid = plt.subplots(
        len(rows),
        columns,
        figsize=(cell * columns + margin, (cell + 0.2 * single) * len(rows)),
        squeeze=False,
        gridspec_kw={"wspace": 0.05, "hspace": gap},
    )
    for c, (line, members) in enumerate(zip(grid, rows, strict=True)):
        for axes in line:
            axes.axis("off")
        for axes, member in zip(line, members, strict=False):
            axes.imshow(shown[member].squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if single:
                axes.set_title(class_names[classes[member]], fontsize=9, pad=3)
        if not single:
            line[0].text(-0.15, 0.5, class_names[c], transform=line[0].transAxes, ha="right", va="center", fontsize=9)
    return _saved(figure, path)


def confusion(counts: np.ndarray, class_names: tuple[str, ...], path: pathlib.Path) -> pathlib.Path:
    """Plot the confusion matrix of the students on test images, in per cent of each true class."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = len(counts) <= 20
    figure, axes = plt.subplots(figsize=(5.6, 5) if few else (8, 7))
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    if few:
        for i, j in np.ndindex(*shares.shape):
            if shares[i, j] >= 0.5:
                axes.text(
                    j,
                    i,
                    f"{shares[i, j]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if shares[i, j] > 55 else INK,
                )
        axes.set_xticks(range(len(counts)), class_names, rotation=45, ha="right")
        axes.set_yticks(range(len(counts)), class_names)
    axes.set(xlabel="predicted", ylabel="true class")
    figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03, label="% of the class")
    return _saved(figure, path)


def _saved(figure: Any, path: pathlib.Path) -> pathlib.Path:
    try:
        with replacing(path) as file:
            figure.savefig(file, format="png")
    finally:
        plt.close(figure)
    return path
