"""The sections of the page that say what was found: the first picture, verdicts, figures, images, confusion."""

import json
from collections.abc import Sequence
from html import escape

from experiments.reporting.cells import Cell
from experiments.reporting.claims import UNDECIDED, Decided, Verdict
from experiments.reporting.figures import Figure
from experiments.reporting.pictures import PER_CLASS, Picture, Source, flip_matrix
from experiments.reporting.verdicts import effect_in_short, effect_of, lacks

MARKS = {"holds": "●", "fails": "✕", "undecided": "○"}
AGAINST = {"last": "last epoch", "best": "best epoch", "picked": "hold-out’s pick"}
SITE = "https://ddjax.github.io/ddjax/verdicts/"  # how each verdict is made
MOST = 12  # comparisons that a small table shows


def figure(made: Figure, level: int = 3) -> str:
    """A figure with its panels side by side where there is room."""
    panels = "".join(f'<div class="panel">{panel}</div>' for panel in made.panels)
    return (
        f'<figure id="{made.key}"><h{level}>{escape(made.title)}</h{level}>'
        f'<div class="panels">{panels}</div><figcaption>{escape(made.caption)}</figcaption></figure>'
    )


def badge(status: str) -> str:
    """A status as a word with a mark, so that it does not hang on colour."""
    return f'<span class="status {status}"><span aria-hidden="true">{MARKS[status]}</span> {status}</span>'


def verdicts(found: Sequence[Verdict]) -> str:
    """Every claim with its verdict in words; the comparisons and the rows behind it unfold."""
    tested = [one for one in found if one.findings["last"]]
    rest = "".join(
        f'<li id="{one.claim.name}">{escape(f"{one.claim.title} ({one.claim.name}). It takes {one.claim.needs}.")}</li>'
        for one in found
        if not one.findings["last"]
    )
    untested = (
        f'<details><summary>Claims that these rows do not test</summary><ul class="untested">{rest}</ul></details>'
        if rest
        else ""
    )
    return f'<ol class="claims">{"".join(map(_verdict, tested))}</ol>{untested}'


def _verdict(one: Verdict) -> str:
    claim, status = one.claim, one.status
    several = len(status) > 1
    against = "".join(f"<li>{AGAINST[m]}: {badge(each)}</li>" for m, each in status.items()) if several else ""
    others = f'<ul class="others" aria-label="Against epochs of full training">{against}</ul>' if against else ""
    inner = "".join(_findings(moment, one, found) for moment, found in one.findings.items() if found)
    missing = f'<p class="test">{escape(lacks(one))}</p>' if one.shared else ""
    how = f'<a href="{SITE}#{claim.name.lower()}">How this verdict is made</a>'
    behind = f"Test, comparisons and rows of “{claim.title}”"
    more = (
        f"<details><summary>{escape(behind)}</summary>"
        f'<p class="test">Test: {escape(claim.test)} {how}</p>{missing}{inner}</details>'
    )
    return (
        f'<li class="claim" id="{claim.name}"><p class="verdict">{badge(one.headline)} '
        f'<span class="name">{claim.name}</span></p>'
        f"<div><h3>{escape(claim.title)}</h3><p>{escape(claim.text)}</p><p>{escape(one.words)}</p>{others}"
        f"{_settings(one)}{more}</div></li>"
    )


def _settings(one: Verdict) -> str:
    """Where a claim holds in some settings and fails in others: which are which."""
    found = [each for each in one.findings["last"] if each.status != UNDECIDED]
    if len({each.status for each in found}) < 2:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(each.scope)}</th><td>{effect_in_short(one.claim, each)}</td>'
        f"<td>{badge(each.status)}</td></tr>"
        for each in found[:MOST]
    )
    left = len(one.findings["last"]) - min(len(found), MOST)
    rest = f"<caption>{left} further comparison{'s are' if left > 1 else ' is'} below.</caption>" if left else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Settings of {one.claim.name}">'
        f'<table class="settings">{rest}<tbody>{lines}</tbody></table></div>'
    )


def _findings(moment: str, one: Verdict, found: Sequence[Decided]) -> str:
    title = f"Against the {AGAINST[moment]} of full training" if one.claim.against_baseline else "Comparisons"
    items = "".join(_finding(one, each) for each in found)
    return f'<h4>{title}</h4><ul class="findings">{items}</ul>'


def _finding(one: Verdict, each: Decided) -> str:
    missing = f" Missing: {escape(each.missing)}." if each.missing else ""
    words = f" {escape(each.words)}." if each.words else ""
    rows = "".join(f'<a href="#run-{escape(name)}">{escape(name[:8])}</a> ' for name in each.rows)
    used = f'<span class="rows">rows {rows}</span>' if rows else ""
    effect = "" if each.effect is None else f'<span class="effect">{effect_of(one.claim, each)}</span>.'
    return f"<li>{badge(each.status)} {escape(each.scope)}: {effect}{words}{missing} {used}</li>"


def gallery(pictures: Sequence[Picture], left_out: int) -> str:
    """Figure 3: distilled images; each picture grows under the pointer or the focus, and opens on a click."""
    if not pictures:
        return ""
    rest = f"<p>{left_out} further sets are in the run directory.</p>" if left_out else ""
    return (
        '<section id="figure3"><h3>Figure 3. Distilled images</h3><p class="lead">The images that a method ends with, '
        "as pixels, a row for each class where there are several.</p>"
        f'<div class="gallery">{"".join(map(_picture, pictures))}</div>{rest}</section>'
    )


def structured(pairs: Sequence[Source]) -> str:
    """Figure 1: what structured noise leaves in distilled images."""
    if not pairs:
        return ""
    return (
        '<section id="figure1"><h3>Figure 1. Structured noise in the distilled images</h3><p class="lead">One source '
        "class of the noise, distilled from right labels and from noisy ones, beside the transition matrix (rows: true "
        f'class; columns: given label).</p><div class="pairs">{"".join(map(_source, pairs))}</div></section>'
    )


def image(one: Picture, words: str) -> str:
    """A picture in a button that enlarges it."""
    size = f'width="{one.width}" height="{one.height}" style="width:{100 * one.columns / PER_CLASS:g}%"'
    return (
        f'<button type="button" class="enlarge" aria-label="{escape(f"Enlarge: {words}", quote=True)}">'
        f'<img src="{one.uri}" {size} alt="{escape(words, quote=True)}"></button>'
    )


def _picture(one: Picture) -> str:
    setting = one.cell.setting
    words = f"{setting.data}, {setting.labels}: {one.cell.name}, seed {one.seed}"
    caption = f"<strong>{escape(one.cell.name)}</strong> {escape(f'{setting.data}, {setting.labels}; {one.words}')}"
    return f"<figure>{image(one, words)}<figcaption>{caption}</figcaption></figure>"


def _source(one: Source) -> str:
    setting = one.cell.setting
    both = "".join(
        f"<figure>{image(picture, f'{one.name}, {one.cell.name}, {words}')}"
        f"<figcaption>{escape(words)}</figcaption></figure>"
        for picture, words in ((one.clean, "right labels"), (one.noisy, setting.labels))
    )
    title = f"{one.cell.name}: {one.name}, of which {100 * setting.rate:.0f} % are labelled {one.target}"
    return f'<div class="pair"><h4>{escape(title)}</h4>{matrix(one.cell)}{both}</div>'


def matrix(cell: Cell) -> str:
    """The transition matrix of a cell's noise as a picture."""
    flips = flip_matrix(cell.setting, len(cell.rows[0]["class_names"]))
    k = len(flips)
    squares = "".join(
        f'<rect x="{j}" y="{i}" width="1" height="1" fill="currentColor" fill-opacity="{share:.2f}"/>'
        for i, row in enumerate(flips)
        for j, share in enumerate(row)
        if share > 0.004
    )
    words = escape(f"Transition matrix of {cell.setting.labels} over {k} classes", quote=True)
    return (
        f'<svg class="matrix" viewBox="0 0 {k} {k}" width="96" height="96" role="img" aria-label="{words}">'
        f"{squares}</svg>"
    )


def confusions(cells: Sequence[Cell]) -> str:
    """One confusion table, and a list to choose which; the others wait as data in the page."""
    known = [cell for cell in cells if all(row.get("confusion") for row in cell.rows)]
    if not known:
        return ""
    tables = [_counts(cell) for cell in known]
    options = "".join(f'<option value="{i}">{escape(t["name"])}</option>' for i, t in enumerate(tables))
    return (
        f'<p><label for="which">Result</label> <select id="which">{options}</select></p>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Confusion table">'
        f'<table id="confusion" class="heat">{_heat(tables[0])}</table></div>'
        f'<script type="application/json" id="confusions">{in_script(tables)}</script>'
    )


def _counts(cell: Cell) -> dict:
    total = [
        [sum(values) for values in zip(*rows, strict=True)]
        for rows in zip(*(r["confusion"] for r in cell.rows), strict=True)
    ]
    name = f"{cell.setting.data}, {cell.setting.labels}: {cell.name}"
    return {"name": name, "classes": cell.rows[0]["class_names"], "counts": total}


def _heat(table: dict) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table["classes"])
    body = ""
    for name, counts in zip(table["classes"], table["counts"], strict=True):
        whole = sum(counts) or 1
        shares = [round(100 * count / whole) for count in counts]
        cells = "".join(f'<td style="--share:{s}%"{_strong(s)}>{s or ""}</td>' for s in shares)
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    caption = f"{escape(table['name'])}. Rows: true class; columns: predicted; per cent of the row."
    return f"<caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody>"


def _strong(share: int) -> str:
    return ' class="strong"' if share > 50 else ""


def in_script(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")
