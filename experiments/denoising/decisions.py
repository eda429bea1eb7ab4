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
    row_of = {name: row for row, name in enumerate(report.ids.tolist())}
    if unknown := [name for name in ids.tolist() if name not in row_of]:
        raise ValueError(f"{path} holds ids that were not judged: {few(unknown)}; use the data and options of its run")
    if len(set(ids.tolist())) < len(ids):
        raise ValueError(f"{path} decides about some ids twice: keep one row for each")
    rows = np.array([row_of[name] for name in ids.tolist()], int)
    accepted, rejected = rows[decisions == ACCEPT], rows[decisions == REJECT]
    flagged, suggested = report.flagged.copy(), report.suggested.copy()
    flagged[accepted], flagged[rejected] = True, False
    suggested[accepted] = report.likeliest_other[accepted]
    suggested[rejected] = report.given[rejected]
    words = f"{len(accepted)} suggestions are accepted and {len(rejected)} rejected in {path}"
    return dataclasses.replace(report, flagged=flagged, suggested=suggested), words
