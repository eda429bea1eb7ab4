"""Self-contained HTML page of the most suspicious images. Text from data is escaped."""

import base64
import io
import pathlib
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Int
from PIL import Image

from ddjax.denoising import DenoiseReport
from ddjax.distilled import pixels
from ddjax.evaluation.detection import reliability
from experiments.reporting.page import style
from experiments.reporting.pictures import mosaic
from experiments.reporting.svg import Line, plot

HERE = pathlib.Path(__file__).parent
SIDE = 96  # pixels of a picture on the page; larger images are shrunk
PER_CLASS, CLASSES = 10, 20  # distilled images that are shown


def gallery(
    report: DenoiseReport,
    images: np.ndarray,
    title: str,
    skipped: Sequence[str],
    most: int,
    clean: Int[np.ndarray, "n"] | None = None,
) -> str:
    """The page as text: a summary, the images in order of suspicion, what the students saw, what could not be read.

    With `clean` labels, the page also shows how far the probabilities of a wrong label come true.
    """
    shown = report.order()[:most]
    cards = "".join(_card(report, images[row], row, place) for place, row in enumerate(shown))
    parts = [
        _section("Most suspicious labels", "suspects", _filters(report, shown) + f'<ol class="cards">{cards}</ol>')
    ]
    if twice := report.conflicts:
        parts.append(
            _section("Pictures that occur under several labels", "conflicts", _conflicts(report, images, twice[:most]))
        )
    if report.flagged.any():
        parts.append(_section("Which classes are confused", "pairs", _pairs(report)))
    if clean is not None:
        parts.append(_section("Probability and truth", "reliability", _reliability(report, clean)))
    if report.distilled is not None:
        parts.append(_section("What the students learned from", "distilled", _distilled(report)))
    if skipped:
        lines = "".join(f"<li><code>{escape(line)}</code></li>" for line in skipped)
        parts.append(_section("Files that could not be read", "skipped", f"<ul>{lines}</ul>"))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{style()}{(HERE / 'gallery.css').read_text()}</style>\n</head>\n"
        f"<body>\n<header>\n<h1>{escape(title)}</h1>\n{_summary(report, skipped)}</header>\n<main>\n{''.join(parts)}"
        f"</main>\n<script>{(HERE / 'gallery.js').read_text()}</script>\n</body>\n</html>\n"
    )


def _section(title: str, key: str, body: str) -> str:
    return f'<section id="{key}"><h2>{title}</h2>{body}</section>\n'


def _summary(report: DenoiseReport, skipped: Sequence[str]) -> str:
    count, n = int(report.flagged.sum()), len(report.given)
    promise = f"; {100 * report.expected_precision:.0f} % of these are expected to be wrong" if count else ""
    said = (
        f"{count} of {n} labels are flagged ({100 * count / n:.1f} %){promise}. About {100 * report.noise_rate:.1f} % "
        f"of all labels are estimated to be wrong. Judged by {report.method}, ranked by {report.score}."
    )
    some = f'<a href="#skipped">{len(skipped)} file{"s" * (len(skipped) > 1)}</a>'
    warning = f'<p class="warning">{some} could not be read.</p>' if skipped else ""
    if twice := len(report.conflicts):
        some = f'<a href="#conflicts">{twice} picture{"s" * (twice > 1)}</a>'
        warning += f'<p class="warning">{some} with several labels.</p>'
    return f'<p class="standfirst">{escape(said)}</p>{warning}'


def _filters(report: DenoiseReport, shown: np.ndarray) -> str:
    present = sorted({int(c) for c in report.given[shown]})
    options = "".join(f'<option value="{c}">{escape(report.class_names[c])}</option>' for c in present)
    return (
        '<form class="filters"><label>Given label <select id="class"><option value="">all</option>'
        f'{options}</select></label><label><input type="checkbox" id="only"> flagged only</label>'
        '<label>Name <input type="search" id="search"></label><output id="count"></output></form>'
    )


def _card(report: DenoiseReport, image: np.ndarray, row: int, place: int) -> str:
    names, flagged = report.class_names, bool(report.flagged[row])
    given, likely = names[report.given[row]], names[int(report.truth[row].argmax())]
    name = str(report.ids[row])
    alt = escape(f"{name}, given label {given}", quote=True)
    doubt = f'<span class="badge">flagged</span> looks like <b>{escape(likely)}</b>' if flagged else "not flagged"
    return (
        f'<li class="card" data-class="{report.given[row]}" data-flagged="{int(flagged)}">'
        f'<img src="{_uri(image)}" width="{SIDE}" height="{SIDE}" alt="{alt}">'
        f'<p class="given">given <b>{escape(given)}</b></p><p class="doubt">{doubt}</p>'
        f'<p class="small">{place + 1}. P(wrong) {report.wrong[row]:.2f}</p>'
        f'<p class="name" title="{escape(name, quote=True)}">{escape(name)}</p></li>'
    )


def _conflicts(report: DenoiseReport, images: np.ndarray, groups: Sequence[np.ndarray]) -> str:
    names = report.class_names
    lines = "".join(
        f'<tr><td><img src="{_uri(images[rows[0]])}" width="{SIDE // 2}" height="{SIDE // 2}" alt=""></td><td>'
        + "<br>".join(
            f"<code>{escape(str(report.ids[i]))}</code> <b>{escape(names[report.given[i]])}</b>" for i in rows
        )
        + "</td></tr>"
        for rows in groups
    )
    count = len(report.conflicts)
    left_out = f" Shown are the first {len(groups)} of {count}; conflicts.csv lists all." if len(groups) < count else ""
    return (
        f"<p>The images of a row have the same pixels. At most one of their labels is right.{left_out}</p>"
        '<div class="scroll"><table class="pairs-table"><thead><tr><th scope="col">picture</th>'
        f'<th scope="col">file and given label</th></tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _pairs(report: DenoiseReport) -> str:
    k = len(report.class_names)
    pairs = np.bincount(report.given[report.flagged] * k + report.suggested[report.flagged], minlength=k * k)
    rows = "".join(
        f"<tr><td>{escape(report.class_names[pair // k])}</td><td>{escape(report.class_names[pair % k])}</td>"
        f'<td class="number">{pairs[pair]}</td></tr>'
        for pair in np.argsort(-pairs, kind="stable")[:20]
        if pairs[pair]
    )
    return (
        '<div class="scroll"><table class="pairs-table"><caption>Flagged labels, the twenty most frequent pairs'
        '</caption><thead><tr><th scope="col">given</th><th scope="col">suggested</th><th scope="col">images</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _reliability(report: DenoiseReport, clean: Int[np.ndarray, "n"]) -> str:
    wrong = report.given != clean
    found = reliability(report.wrong, wrong)
    x = [round(100 * p) for p in found.promised]
    lines = [
        Line("promised", 0, [(at, 100 * p, 0.0) for at, p in zip(x, found.promised, strict=True)]),
        Line("true", 1, [(at, 100 * t, 0.0) for at, t in zip(x, found.true, strict=True)]),
    ]
    said = f"The probabilities are off by {100 * found.error:.1f} points in the mean over the images."
    if report.flagged.any():
        said += (
            f" Of the flagged labels {100 * report.expected_precision:.0f} % were expected to be wrong, and "
            f"{100 * wrong[report.flagged].mean():.0f} % are."
        )
    chart = plot(
        "Labels that are wrong", lines, "probability of a wrong label (%)", "share that is wrong (%)", zero=True
    )
    return f"<p>{escape(said)}</p>{chart}"


def _distilled(report: DenoiseReport) -> str:
    assert report.distilled is not None
    made = report.distilled
    labels = np.asarray(made.labels)
    classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
    rows = [np.flatnonzero(classes == c)[:PER_CLASS] for c in range(min(made.num_classes, CLASSES))]
    sheet = mosaic(np.clip(np.asarray(pixels(made)), 0, 1), [row for row in rows if len(row)])
    words = f"Distilled images, a row for each class: {', '.join(report.class_names[: len(rows)])}"
    grow = max(1, 480 // sheet.shape[1])
    return (
        f"<p>{len(made.images)} images, made from all {len(report.given)} by {escape(report.method)}; the students saw "
        f'nothing else.</p><img class="sheet" src="{_png(sheet)}" width="{grow * sheet.shape[1]}" '
        f'height="{grow * sheet.shape[0]}" alt="{escape(words, quote=True)}">'
    )


def _uri(image: np.ndarray) -> str:
    h, w = image.shape[:2]
    if max(h, w) > SIDE:
        plain = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        plain.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        image = np.asarray(plain).reshape(plain.height, plain.width, -1)
    return _png(image)


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
