"""The report as one self-contained HTML page: styles, script, figures and images are part of it."""

import pathlib

import jinja2

from experiments.reporting import tables
from experiments.reporting.cells import ordered
from experiments.reporting.claims import Study, Verdict
from experiments.reporting.export import fails_clean, summary
from experiments.reporting.figures import Figure
from experiments.reporting.inference import LEVEL
from experiments.reporting.opening import headline, methods
from experiments.reporting.pictures import PER_CLASS, gallery, sources
from experiments.reporting.rows import Rows, left_out, of_commits
from experiments.reporting.svg import STYLE, colours, variables
from experiments.reporting.verdicts import effect_in_short, effect_of, lacks

HERE = pathlib.Path(__file__).parent / "templates"


def templates(folder: pathlib.Path) -> jinja2.Environment:
    """Return the templates of a folder, which escape values and refuse unknown names."""
    blocks = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    return jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True, **blocks)


TEMPLATES = templates(HERE)
TEMPLATES.tests["below_published"] = fails_clean
TEMPLATES.globals |= {
    **{function.__name__: function for function in (effect_of, effect_in_short, lacks, tables.facts, tables.described)},
    **{"level": LEVEL, "per_class": PER_CLASS, "filters": tables.FILTERS},
}


def page(
    rows: Rows,
    study: Study,
    verdicts: list[Verdict],
    drawn: list[Figure],
    where: pathlib.Path,
    title: str,
    reload: int = 0,
) -> str:
    """Return the document as HTML that loads nothing from the network; distilled sets are searched in `where`.

    A browser loads the page again after `reload` seconds, unless that is 0.
    """
    cells = ordered(study.cells)
    pictures, more_sets = gallery(where, cells)
    source_classes = sources(where, cells)
    first, *others = drawn
    figures = {figure.key: figure for figure in others if figure.panels}
    results, confusions, recalls = summary(study), tables.confusions(cells), tables.recalls(cells)
    numbered = [key for key in figures if key.startswith("figure")]
    sections = {
        "verdicts": ("Verdicts", True),
        "figures": ("Figures", numbered or pictures or source_classes),
        "more": ("More figures", len(figures) > len(numbered)),
        "confusion-section": ("Confusion on the test set", confusions),
        "recall": ("Recall by class", recalls),
        "table": ("All results", True),
        "made": ("How each number was made", True),
    }
    return TEMPLATES.get_template("page.html").render(
        title=title,
        reload=reload,
        style=style(),
        script=(HERE / "page.js").read_text(),
        sections={key: name for key, (name, content) in sections.items() if content},
        headline=headline(study),
        methods=methods(study),
        phenomenon=first,
        columns=tables.columns(results),
        cells=[*cells, *ordered(study.attacked)],
        missing=tables.places(rows.missing),
        left_out=left_out(rows.bad),
        commits=of_commits(rows.done),
        **{"rows": rows, "verdicts": verdicts, "figures": figures, "results": results},
        **{"pictures": pictures, "more_sets": more_sets, "source_classes": source_classes},
        **{"confusions": confusions, "recalls": recalls},
    )


def style() -> str:
    """Return the styles of the page with the palette of its charts, for light mode, dark mode and print."""
    light, dark = variables("light"), variables("dark")
    themes = (
        f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{colours()}\n"
    )
    return themes + STYLE + (HERE / "page.css").read_text()
