"""Distilled images as PNG data URIs, one per set."""

import base64
import io
import logging
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from ddjax.distilled import DistilledSet, pixels
from ddjax.distilled.saving import load_distilled
from ddjax.noise import transition
from experiments.display.sheets import mosaic, rows_by_class
from experiments.reporting.cells import Cell, Setting

log = logging.getLogger("ddjax.report")

PER_CLASS, CLASSES, SETS = 10, 20, 60  # limits of a page; captions state what is left out


class Picture(NamedTuple):
    """The images of one distilled set, one row per class."""

    cell: Cell
    seed: int
    uri: str
    columns: int  # images side by side
    width: int  # in pixels of the PNG
    height: int
    words: str  # how many images are shown


class Source(NamedTuple):
    """One source class of structured noise, distilled from clean and from noisy labels."""

    cell: Cell
    name: str
    target: str
    flips: Float[np.ndarray, "k k"]  # transition matrix of the noise
    clean: Picture
    noisy: Picture


def saved(where: pathlib.Path, fingerprint: str) -> pathlib.Path | None:
    """Return the file of a run's distilled set, as written by sweeps or single runs; None if there is none."""
    patterns = (
        f"runs/{fingerprint}/distilled.npz",
        f"runs/{fingerprint}/distilled/*.npz",
        f"*{fingerprint}/distilled.npz",
    )
    root = where if where.is_dir() else where.parent
    return next((path for pattern in patterns for path in sorted(root.glob(pattern))), None)


def read(cell: Cell, row: dict, path: pathlib.Path | None) -> DistilledSet | None:
    """Return a run's distilled set; None if there is none, or with a warning if it is damaged."""
    if path is None:
        return None
    try:
        return load_distilled(path)
    except ValueError as error:
        log.warning("no pictures of %s, seed %s: %s", cell.series, row["seed"], error)
        return None


def gallery(where: pathlib.Path, cells: Sequence[Cell]) -> tuple[list[Picture], int]:
    """Return a picture of the first seed of each cell with a saved set, and the number of sets left out."""
    first = [(cell, min(cell.rows, key=lambda row: row["seed"])) for cell in cells]
    sets = [(cell, row, path) for cell, row in first if (path := saved(where, row["fingerprint"]))]
    # distillers before selections, small sets before large ones
    sets.sort(key=lambda item: (not item[0].learns, item[0].ipc or 0))
    found = [(cell, row, read(cell, row, path)) for cell, row, path in sets[:SETS]]
    return [draw(*one) for one in found if one[2] is not None], max(0, len(sets) - SETS)


def sources(where: pathlib.Path, cells: Sequence[Cell]) -> list[Source]:
    """Return the most flipped class of each method that was run with clean and with asymmetric labels."""
    plain = {(c.setting.data, c.series, c.ipc): c for c in cells if c.setting.noise == "clean"}
    sources = []
    for cell in cells:
        other = plain.get((cell.setting.data, cell.series, cell.ipc))
        if cell.setting.noise != "asymmetric" or not cell.setting.rate or not cell.learns or other is None:
            continue
        names = cell.rows[0].get("class_names") or []
        flips = flip_matrix(cell.setting, len(names)) if names else None
        if flips is None:
            continue
        runs = [(c, c.rows[0], saved(where, c.rows[0]["fingerprint"])) for c in (other, cell)]
        both = [(c, row, read(c, row, path)) for c, row, path in runs]
        if any(distilled is None for *_, distilled in both):
            continue
        away = flips - np.diag(np.diag(flips))
        label = int(away.max(axis=1).argmax())
        pair = [draw(*one, [label]) for one in both]
        sources.append(Source(cell, names[label], names[int(away[label].argmax())], flips, *pair))
    return sources[:CLASSES]


def flip_matrix(setting: Setting, classes: int) -> Float[np.ndarray, "k k"] | None:
    """Return the transition matrix of a setting's noise; None if the noise has none for this data set."""
    try:
        return np.asarray(transition.matrix(setting.noise, setting.rate, classes, dataset=setting.dataset))
    except ValueError:
        return None


def draw(cell: Cell, row: dict, distilled: DistilledSet, only: Sequence[int] | None = None) -> Picture:
    """Return a picture of the set with one row per class; with one image per class, all images are in one row."""
    images = np.clip(np.asarray(pixels(distilled)), 0, 1)
    rows = rows_by_class(distilled, only or range(min(distilled.num_classes, CLASSES)), PER_CLASS)
    if max(len(row) for row in rows) == 1:
        members = np.concatenate(rows)
        rows = [members[i : i + PER_CLASS] for i in range(0, len(members), PER_CLASS)]
    sheet = mosaic(images, rows)
    of = f"{sum(len(r) for r in rows)} of {len(images)} images" if only is None else "one class"
    grey = sheet.shape[-1] == 1
    buffer = io.BytesIO()
    Image.fromarray(sheet[..., 0] if grey else sheet).save(buffer, "PNG", optimize=True)
    uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    columns = max(len(members) for members in rows)
    return Picture(cell, row["seed"], uri, columns, sheet.shape[1], sheet.shape[0], of)
