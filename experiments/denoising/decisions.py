"""Decisions of a person about suggestions, as the gallery saves them."""

import dataclasses
import pathlib

import numpy as np

from ddjax.denoising import DenoiseReport
from ddjax.denoising.tables import read_columns
from ddjax.names import few

COLUMNS = ("id", "decision")
ACCEPT, REJECT = "accept", "reject"


def decided(report: DenoiseReport, path: pathlib.Path) -> tuple[DenoiseReport, str]:
    """Apply the decisions: an accepted suggestion is flagged, a rejected one is not. Other flags stay as they are.

    Args:
      report: of the denoiser.
      path: a .csv with the columns id and decision.

    Returns:
      The report, and how many decisions were applied, in words.

    Raises:
      ValueError: the file has other columns, decisions, or ids; the message names them.
    """
    columns = read_columns(path)
    if missing := [name for name in COLUMNS if name not in columns]:
        raise ValueError(f"{path} has no column {' and '.join(missing)}: save it from the gallery of this run")
    ids, decisions = (columns[name] for name in COLUMNS)
    if strange := sorted(set(decisions.tolist()) - {ACCEPT, REJECT}):
        raise ValueError(f"{path} holds the decisions {few(strange)}; they must be {ACCEPT} or {REJECT}")
    if unknown := ids[~np.isin(ids, report.ids)].tolist():
        raise ValueError(f"{path} holds ids that were not judged: {few(unknown)}; use the data and options of its run")
    accepted, rejected = (np.isin(report.ids, ids[decisions == each]) for each in (ACCEPT, REJECT))
    if twice := report.ids[accepted & rejected].tolist():
        raise ValueError(f"{path} accepts and rejects {few(twice)}: keep one decision for each")
    flagged = (report.flagged | accepted) & ~rejected
    wrong = np.where(accepted, 1, report.wrong)[flagged]  # a person has said that an accepted one is
    made = dataclasses.replace(
        report,
        flagged=flagged,
        suggested=np.where(accepted, report.likeliest_other, np.where(rejected, report.given, report.suggested)),
        expected_precision=float(wrong.mean()) if flagged.any() else float("nan"),
    )
    return made, f"{accepted.sum()} suggestions are accepted and {rejected.sum()} rejected in {path}"
