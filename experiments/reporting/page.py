"""One self-contained page: styles, script, figures and images are inside it; it asks the network for nothing."""

import pathlib
from html import escape
from typing import NamedTuple

from experiments.reporting.cells import ordered
from experiments.reporting.claims import Study, Verdict
from experiments.reporting.export import fails_clean, summary
from experiments.reporting.figures import all_figures, phenomenon
from experiments.reporting.inference import LEVEL
from experiments.reporting.opening import opening
from experiments.reporting.pictures import gallery, sources
from experiments.reporting.recall import recalls
from experiments.reporting.results_table import provenance, table
from experiments.reporting.rows import Rows, left_out
from experiments.reporting.sections import confusions, figure, structured
from experiments.reporting.sections import gallery as gallery_section
from experiments.reporting.sections import verdicts as verdict_section
from experiments.reporting.svg import STYLE, colours, variables

HERE = pathlib.Path(__file__).parent


class Section(NamedTuple):
    """A part of the page."""

    key: str
    title: str
    lead: str
    body: str
    folded: bool = False


def page(rows: Rows, study: Study, verdicts: list[Verdict], where: pathlib.Path, title: str) -> str:
    """The whole document as text. `where` is only read for the distilled sets of the rows."""
    pictures, left_out = gallery(where, ordered(study.cells))
    drawn = {made.key: figure(made) for made in all_figures(study)}
    drawn["figure1"] = structured(sources(where, ordered(study.cells)))
    drawn["figure3"] = gallery_section(pictures, left_out)
    numbered = [drawn.pop(f"figure{number}", "") for number in range(1, 6)]
    cells = [*ordered(study.cells), *ordered(study.attacked)]
    sections = [
        Section("verdicts", "Verdicts", _RULE, verdict_section(verdicts)),
        Section("figures", "Figures", "", "".join(numbered)),
        Section("more", "More figures", "", "".join(drawn.values()), folded=True),
        Section("confusion-section", "Confusion on the test set", "", confusions(ordered(study.cells)), folded=True),
        Section("recall", "Recall by class", "", recalls(ordered(study.cells)), folded=True),
        Section("table", "All results", "", table(study), folded=True),
        Section("made", "How each number was made", _MADE, provenance(cells, rows), folded=True),
    ]
    kept = [section for section in sections if section.body]
    links = "".join(f'<li><a href="#{s.key}">{s.title}</a></li>' for s in kept)
    body = "".join(_section(section) for section in kept)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{style()}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#verdicts">Skip to the verdicts</a>\n<header>\n<h1>{escape(title)}</h1>\n'
        f"{_summary(rows, study, verdicts)}</header>\n<main>\n{figure(phenomenon(study), 2)}\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n{body}\n</main>\n'
        '<dialog id="large" aria-label="Enlarged picture"><form method="dialog"><button>Close</button></form>'
        '<img alt="" hidden></dialog>\n'
        f"<script>{(HERE / 'page.js').read_text()}</script>\n</body>\n</html>\n"
    )


def style() -> str:
    """The page's styles with the palette of its charts, for light, dark and paper."""
    light, dark = variables("light"), variables("dark")
    themes = (
        f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{colours()}\n"
    )
    return themes + STYLE + (HERE / "page.css").read_text()


def _section(section: Section) -> str:
    lead = f'<p class="lead">{escape(section.lead)}</p>' if section.lead else ""
    inner = f"{lead}{section.body}"
    if section.folded:
        inner = f"<details><summary>Show: {section.title.lower()}</summary>{inner}</details>"
    return f'<section id="{section.key}"><h2>{section.title}</h2>{inner}</section>\n'


def _summary(rows: Rows, study: Study, verdicts: list[Verdict]) -> str:
    parts = [opening(study, verdicts)]
    if rows.bad:
        head, *lines = map(escape, left_out(rows.bad))
        items = "".join(f"<li>{line}</li>" for line in lines)
        parts.append(f'<div class="warning" id="left-out"><p>{head}</p><ul>{items}</ul></div>')
    if rows.missing:
        count = len(rows.missing)
        parts.append(
            f'<p class="warning">Of {rows.planned} planned runs <a href="#missing">{count} '
            f"{'is' if count == 1 else 'are'} still missing</a>.</p>"
        )
    if rows.failed:
        count = len(rows.failed)
        parts.append(
            f'<p class="warning"><a href="#failed">{count} run{"s" * (count > 1)} failed</a>; the rest stands.</p>'
        )
    if short := [record for record in summary(study) if fails_clean(record)]:
        names = ", ".join(f"{r['method']} on {r['dataset']} at {r['ipc'] or 'all'} per class" for r in short)
        parts.append(
            f'<p class="warning">Without noise, more than 3 points below print: {escape(names)}. '
            "Read what these say about noise with that in mind.</p>"
        )
    return "".join(parts)


_RULE = (
    f"Each comparison is a t test at a one-sided level of {100 * LEVEL:g} %, corrected (Holm) for all comparisons of "
    "its claim. A claim holds where every comparison shows what it says, against every reference of full training. It "
    "fails where one shows the opposite. Otherwise it is undecided, and says which difference it could have seen."
)
_MADE = "For every run: the command, the commit, the hardware and the versions that made its row."
