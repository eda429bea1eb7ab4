"""Figures of one run, as PNG files, and heat maps of class pairs."""

import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.colors import PowerNorm

from ddjax.distilled import DistilledSet, pixels
from ddjax.names import check_known
from ddjax.storage.files import replacing
from experiments.display.sheets import mosaic, rows_by_class

INK, GIVEN, CLEAN, TEST, PICK = "#333333", "#c44e52", "#4c72b0", "#222222", "#55a868"
STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK}
STYLE |= {"text.parse_math": False}  # names of classes may contain $
MOST = 20  # classes, and images of each, in a picture of a distilled set
FEW = 20  # classes of a heat map with a number in each cell


def draw(outcome: Any, folder: pathlib.Path) -> list[pathlib.Path]:
    """Draw all figures of an outcome; returns the written files."""
    folder.mkdir(parents=True, exist_ok=True)
    if outcome.distilled is None:
        return [curves(outcome, folder / "curves.png")]
    return [
        images(outcome.distilled, outcome.dataset.class_names, folder / "images.png"),
        confusion(outcome.scores.confusion, outcome.dataset.class_names, folder / "confusion.png"),
    ]


def curves(outcome: Any, path: pathlib.Path) -> pathlib.Path:
    """Plot accuracy by epoch for training on the full set, and mark the epoch that the hold-out picked."""
    seen, row = outcome.scores.curves, outcome.row
    with plt.rc_context(STYLE):
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
        wrong = f" noise, {100 * row['effective_rate']:.0f} % of labels wrong" if row["effective_rate"] else ""
        axes.set(xlabel="epoch", ylabel="accuracy (%)", xlim=(0, row["epochs"] + 1), ylim=(0, 102))
        title = f"{row['dataset']}: {row['protocol']} on {row['train_images']} images, {row['noise']}{wrong}"
        axes.set_title(title, loc="left")
        axes.legend(frameon=False, loc="lower right")
        return save(figure, path)


def images(distilled: DistilledSet, class_names: tuple[str, ...], path: pathlib.Path) -> pathlib.Path:
    """Draw the distilled images in pixel space: one row per class, at most 20 images of each, at most 20 classes.

    With one image per class, draw a grid with class names of at most 100 classes (Figure 3 of the study).
    """
    shown = np.clip(np.asarray(pixels(distilled)), 0, 1)
    rows = rows_by_class(distilled, range(distilled.num_classes), MOST)
    single, scale = max(map(len, rows)) == 1, 0.55
    if single:
        shown, scale = np.pad(shown, ((0, 0), (shown.shape[1] // 4, 0), (0, 0), (0, 0)), constant_values=1), 1.2
        names = [name for name, row in zip(class_names, rows, strict=True) if len(row)]
        members = np.concatenate(rows)[:100]
        rows = np.array_split(members, -(-len(members) // (5 if len(members) <= 20 else 10)))
    sheet = mosaic(shown, rows[:MOST])
    h, w = shown.shape[1:3]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(scale * sheet.shape[1] / w, scale * sheet.shape[0] / w))
        axes.imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
        for i, row in enumerate(rows[:MOST]):
            if single:
                for j in range(len(row)):
                    name = names[sum(map(len, rows[:i])) + j]
                    axes.text((j + 0.5) * w, i * h + h // 8, name, ha="center", va="center", fontsize=7)
            else:
                axes.text(-w / 4, (i + 0.5) * h, class_names[i], ha="right", va="center", fontsize=9)
        return save(figure, path)


def confusion(counts: np.ndarray, class_names: tuple[str, ...], path: pathlib.Path) -> pathlib.Path:
    """Plot the confusion matrix of the students on test images, in per cent of each true class."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with plt.rc_context(STYLE):
        figure, _ = heat(shares, class_names, "predicted", "true class")
        return save(figure, path)


def heat(
    shares: Float[np.ndarray, "k k"], names: Sequence[str], x: str, y: str, gamma: float = 1.0, groups: int = 0
) -> tuple[Any, Any]:
    """A heat map of shares in per cent of each row; returns the figure and its axes.

    `x` and `y` are the titles of columns and rows. With `gamma` below 1, small shares are visible. If neighbouring
    classes form groups of size `groups`, `names` are those of the groups.
    """
    few, k = len(shares) <= FEW, len(shares)
    figure, axes = plt.subplots(figsize=(5.6, 5) if few else (8, 7))
    drawn = axes.imshow(shares, cmap="Blues", norm=PowerNorm(gamma, 0, 100), interpolation="nearest")
    for (i, j), share in np.ndenumerate(shares) if few else ():
        if share >= 0.5:
            colour = "white" if share > 100 * 0.55 ** (1 / gamma) else INK
            axes.text(j, i, f"{share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    for edge in np.arange(groups, k, groups) - 0.5 if groups else ():
        axes.axhline(edge, color="0.85", linewidth=0.5)
        axes.axvline(edge, color="0.85", linewidth=0.5)
    ticks = np.arange(groups // 2, k, groups) if groups else np.arange(0, k, 1 if few else k // 10)
    words = [name.replace("_", " ") for name in (names if groups else [names[i] for i in ticks])]
    axes.set_xticks(ticks, words, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, words)
    axes.set(xlabel=x, ylabel=y)
    figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03, label="% of the class")
    return figure, axes


def format_of(path: pathlib.Path) -> str:
    """The format that the name of a figure's file ends in; PNG without an ending.

    Raises:
      ValueError: matplotlib does not write this format.
    """
    ending = path.suffix.removeprefix(".").lower() or "png"
    check_known(f"ending of {path}", ending, FigureCanvasBase.filetypes)
    return ending


def save(figure: Any, path: pathlib.Path) -> pathlib.Path:
    """Write a figure, in the format that the name ends in, and close it."""
    try:
        with replacing(path) as file:
            figure.savefig(file, format=format_of(path), dpi=150, bbox_inches="tight")
    finally:
        plt.close(figure)
    return path
