"""Self-contained HTML page of the most suspicious examples. The template escapes text from data."""

import base64
import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from markupsafe import Markup
from PIL import Image

from ddjax.denoising import DenoiseReport
from ddjax.distilled import DistilledSet, pixels
from ddjax.evaluation.detection import reliability
from ddjax.storage.files import array_digest
from experiments.display.sheets import mosaic, rows_by_class
from experiments.reporting.page import style, templates
from experiments.reporting.svg import Line, plot

HERE = pathlib.Path(__file__).parent
TEXT = 400  # characters of a text on the page
SIDE = 96  # pixels of a picture on the page; larger images are shrunk
PER_CLASS, CLASSES, PAIRS = 10, 20, 20  # largest numbers of distilled images, of their classes, of confused pairs


def gallery(
    report: DenoiseReport,
    images: np.ndarray | None,
    texts: np.ndarray | None,
    title: str,
    skipped: Sequence[str],
    most: int,
    clean: Int[np.ndarray, "n"] | None = None,
) -> str:
    """Render the page: a summary, the suspicious and the conflicting examples, confused classes, distilled images.

    Args:
      report: of the denoiser.
      images: pixels of the judged images, [n h w c], if there are images.
      texts: the judged texts, if there are texts.
      title: of the page.
      skipped: files that could not be read, with the reason.
      most: largest number of suspicious examples.
      clean: true labels; with them the page shows the calibration of the probabilities.
    """
    shown = report.order()[:most]
    sheet = None if report.distilled is None else _sheet(report.distilled)

    def picture(row: int) -> str | None:
        return None if images is None else _uri(images[row])

    return (
        templates(HERE)
        .get_template("gallery.html")
        .render(
            title=title,
            run=array_digest(report.given, report.truth),
            report=report,
            names=report.class_names,
            skipped=skipped,
            count=int(report.flagged.sum()),
            total=len(report.given),
            present=sorted({int(c) for c in report.given[shown]}),
            others=np.where(report.flagged, report.suggested, report.likeliest_other),
            cards=[(row, picture(row), None if texts is None else str(texts[row])[:TEXT]) for row in shown],
            conflicts=[(rows, picture(rows[0])) for rows in report.conflicts[:most]],
            pairs=report.corrections[:PAIRS],
            calibration=None if clean is None else calibration(report, clean),
            sheet=sheet,
            grow=1 if sheet is None else max(1, 480 // sheet.shape[1]),
            side=SIDE,
            classes=CLASSES,
            png=png,
            style=Markup(style() + (HERE / "gallery.css").read_text()),
            script=Markup((HERE / "gallery.js").read_text()),
        )
    )


class Calibration(NamedTuple):
    """How well probabilities of wrong labels agree with the true labels."""

    error: float  # mean over the images
    precision: float | None  # of the flags; None without flags
    chart: Markup


def calibration(report: DenoiseReport, clean: Int[np.ndarray, "n"]) -> Calibration:
    """Compare the probabilities of a report with true labels."""
    wrong = report.given != clean
    curve = reliability(report.wrong, wrong)
    x = [round(100 * p) for p in curve.promised]
    lines = [
        Line("promised", 0, [(at, 100 * p, 0.0) for at, p in zip(x, curve.promised, strict=True)]),
        Line("true", 1, [(at, 100 * t, 0.0) for at, t in zip(x, curve.true, strict=True)]),
    ]
    chart = plot(
        "Labels that are wrong", lines, "probability of a wrong label (%)", "share that is wrong (%)", zero=True
    )
    precision = float(wrong[report.flagged].mean()) if report.flagged.any() else None
    return Calibration(curve.error, precision, Markup(chart))


def _sheet(made: DistilledSet) -> np.ndarray:
    """Distilled images as one picture, a row per class."""
    rows = rows_by_class(made, range(min(made.num_classes, CLASSES)), PER_CLASS)
    return mosaic(np.clip(np.asarray(pixels(made)), 0, 1), [row for row in rows if len(row)])


def _uri(image: np.ndarray) -> str:
    h, w = image.shape[:2]
    if max(h, w) > SIDE:
        plain = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        plain.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        image = np.asarray(plain).reshape(plain.height, plain.width, -1)
    return png(image)


def png(image: np.ndarray) -> str:
    """The pixels of an image as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
