"""Recall of every class, a column for each method: what a mean over classes hides on long tails and one-sided noise."""

from collections import defaultdict
from collections.abc import Sequence
from html import escape

from experiments.reporting.cells import Cell, Setting

MOST = 20  # classes that a table can show; figures show the thirds of larger ones


def recalls(cells: Sequence[Cell]) -> str:
    """A table for each setting, the means over seeds in per cent, the least of each column set off."""
    groups: dict[Setting, list[Cell]] = defaultdict(list)
    for cell in cells:
        if all(row.get("recall") and len(row["recall"]) <= MOST for row in cell.rows):
            groups[cell.setting].append(cell)
    return "".join(_table(setting, members) for setting, members in groups.items())


def _table(setting: Setting, cells: Sequence[Cell]) -> str:
    names = cells[0].rows[0]["class_names"]
    counts = cells[0].rows[0].get("class_counts")
    columns = [[cell.of(lambda row, c=c: row["recall"][c]) for c in range(len(names))] for cell in cells]
    least = [min((one.mean for one in column if one), default=0.0) for column in columns]
    heads = ["class", *(["images"] if counts else []), *(cell.name for cell in cells)]
    lines = []
    for c, name in enumerate(names):
        shown = [column[c] for column in columns]
        values = "".join(
            "<td>-</td>" if one is None else f"<td{_mark(one.mean, low)}>{100 * one.mean:.1f}</td>"
            for one, low in zip(shown, least, strict=True)
        )
        size = f"<td>{counts[c]}</td>" if counts else ""
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{size}{values}</tr>')
    head = "".join(f'<th scope="col">{escape(words)}</th>' for words in heads)
    title = escape(f"{setting.data}, {setting.labels}")
    return (
        f"<details><summary>{title}</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Recall, {title}">'
        f'<table class="heat"><caption>Recall on the test set in per cent; each column\'s least is set off.</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _mark(value: float, least: float) -> str:
    return ' style="--share:30%"' if value <= least else ""
