"""Text output of a study: a table of accuracies, and one or two lines per claim."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from experiments.reporting.cells import Cell, Setting, ordered
from experiments.reporting.claims import Verdict
from experiments.reporting.contrasts import Estimate
from experiments.reporting.verdicts import against

LAST, PICKED = "last_acc", "picked_acc"


def table(cells: Iterable[Cell]) -> str:
    """Return a table per data set: methods and sizes down, labels across, means with standard errors in %."""
    by_data: dict[str, list[Cell]] = {}
    for cell in ordered(cells):
        by_data.setdefault(cell.setting.data, []).append(cell)
    return "\n\n".join(_of_data(data, members) for data, members in by_data.items())


def _of_data(data: str, cells: list[Cell]) -> str:
    labels = list(dict.fromkeys(cell.setting for cell in cells))
    lines: dict[str, dict[Setting, Estimate]] = {}
    for cell in cells:
        name = f"{cell.series}, last epoch" if cell.ipc is None else cell.name
        for words, column in ((name, LAST), (f"{cell.series}, picked on hold-out", PICKED)):
            if estimate := cell.of(column):
                lines.setdefault(words, {})[cell.setting] = estimate
    rows = [["", *[setting.labels for setting in labels]]]
    rows += [[name, *[_text(estimate.get(setting)) for setting in labels]] for name, estimate in lines.items()]
    aligned = tabulate(rows, tablefmt="plain", colalign=["left", *["right"] * len(labels)], disable_numparse=True)
    seeds = sorted({len(cell.rows) for cell in cells})
    count = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    title = f"{data}: accuracy on clean test images in %, mean of {count} seed(s) +- standard error"
    return f"{title}\n{aligned}"


def _text(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{100 * estimate.mean:.1f}" + ("" if estimate.se is None else f" +- {100 * estimate.se:.1f}")


def claims(verdicts: Sequence[Verdict]) -> str:
    """Return the verdict on each claim that the rows test."""
    tested = [one for one in verdicts if one.findings["last"]]
    lines = []
    for one in tested:
        references = against(one)
        lines.append(f"{one.claim.name:<4}{one.headline:<10} {one.claim.title}")
        lines.append(f"    {one.words}" + (f" {references.capitalize()}." if references else ""))
    if rest := [one.claim.name for one in verdicts if one not in tested]:
        lines.append(f"Not tested by these rows: {', '.join(rest)}.")
    return "\n".join(lines)
