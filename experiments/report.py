"""Write figures, tables, verdicts and an HTML page from result rows, without training.

Example: python -m experiments.report runs --out runs/report
"""

import pathlib
import sys
from typing import Annotated

import tyro

from ddjax.names import check_known
from ddjax.ranges import Natural
from ddjax.storage.files import replacing
from experiments.display.cli import check_folder, main
from experiments.reporting import export, overview
from experiments.reporting.claims import Study
from experiments.reporting.figures import all_figures, phenomenon
from experiments.reporting.page import page
from experiments.reporting.rows import left_out, of_commits, read_rows
from experiments.reporting.svg import standalone
from experiments.reporting.verdicts import as_text, judge

TITLE = "Distilled sets under label noise"


def report(
    where: Annotated[pathlib.Path, tyro.conf.Positional] = pathlib.Path("runs"),
    out: pathlib.Path | None = None,
    title: str = TITLE,
    formats: tuple[str, ...] = tuple(export.FORMATS),
    quiet: bool = False,
    reload: Natural = 0,
) -> int:
    """Write report.html, verdicts.txt, the tables runs.* and cells.*, and each figure as .svg.

    Args:
      where: directory of a sweep, directory of single runs, or .jsonl file of rows.
      out: output directory; by default WHERE/report for a directory, and runs/report/NAME for a file NAME.jsonl.
      title: title of the page.
      formats: formats of the tables: csv, md, tex, parquet; by default all of them.
      quiet: print only rows that are left out; otherwise also the accuracies and a summary of the verdicts.
      reload: seconds after which a browser loads the page again, for rows that are still being made; 0: never.

    Raises:
      ValueError: no row can be used, or a format is unknown.
    """
    for kind in formats:
        check_known("format", kind, export.FORMATS)
    check_folder("--out", out)
    rows = read_rows(where)
    for line in left_out(rows.bad):
        print(line, file=sys.stderr)
    if not rows.done:
        raise ValueError(f"all {len(rows.failed)} runs in {where} failed, so there is nothing to report")
    study = Study.of(rows.done)
    if not study.cells:
        raise ValueError(f"{where} has only rows of experiments.membership: put them next to the rows of a sweep")
    verdicts = judge(study)
    out = out or (where / "report" if where.is_dir() else pathlib.Path("runs") / "report" / where.stem)
    figures = [phenomenon(study), *all_figures(study)]
    texts = {f"{figure.key}.svg": standalone(figure.panels) for figure in figures if figure.panels}
    texts["report.html"] = page(rows, study, verdicts, figures, where, title, reload)
    texts["verdicts.txt"] = as_text(verdicts) + "\n"
    for name, text in texts.items():
        with replacing(out / name, "w") as file:
            file.write(text)
    for figure in figures:
        if not figure.panels:  # of an earlier report
            (out / f"{figure.key}.svg").unlink(missing_ok=True)
    for name, records in (("runs", export.runs(study)), ("cells", export.summary(study))):
        export.write(out, name, records, formats)
    if not quiet:
        print(f"{overview.table(study.cells)}\n\n{overview.claims(verdicts)}\n")
        if rows.planned:
            failed, missing = len(rows.failed), len(rows.missing)
            counts = f"{missing} are missing, {failed} failed; {rows.whole} of {rows.seeds} seeds are complete"
            print(f"{rows.planned} runs are planned: {counts}")
        if commits := of_commits(rows.done):
            print(commits)
        print(f"Report written to {out}. Open {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    main(report, __doc__)
