"""Decisions of a person about suggestions, as the gallery saves them."""

import dataclasses
import pathlib

import numpy as np

from ddjax.denoising import DenoiseReport
from ddjax.denoising.tables import read_columns
from ddjax.names import few

COLUMNS = ("id", "suggested_label", "decision")
ACCEPT, REJECT = "accept", "reject"


def read(path: pathlib.Path) -> list[np.ndarray]:
    """Ids, suggested labels and decisions [m] of a file.

    Raises:
      ValueError: the file has other columns or decisions.
    """
    columns = read_columns(path)
    if missing := [name for name in COLUMNS if name not in columns]:
        raise ValueError(f"{path} has no column {', '.join(missing)}: save it from the gallery of this run")
    if strange := sorted(set(np.array(columns["decision"]).tolist()) - {ACCEPT, REJECT}):
        raise ValueError(f"{path} holds the decisions {few(strange)}; they must be {ACCEPT} or {REJECT}")
    return [np.array(columns[name]) for name in COLUMNS]


def decided(report: DenoiseReport, path: pathlib.Path) -> tuple[DenoiseReport, str]:
    """Apply the decisions: an accepted suggestion is flagged, a rejected one is not. Other flags stay as they are.

    The suggestion is the label in the file. It may differ from that of the report, because a page may show the first
    ranking of the method `auto`.

    Args:
      report: of the denoiser.
      path: a .csv with the columns id, suggested_label and decision.

    Returns:
      The report, and how many decisions were applied, in words.

    Raises:
      ValueError: the file has other columns, decisions, ids or labels; the message names them.
    """
    ids, labels, decisions = read(path)
    names = np.char.strip(report.ids)  # as the cells of the file are
    if unknown := ids[~np.isin(ids, names)].tolist():
        raise ValueError(f"{path} holds ids that were not judged: {few(unknown)}; use the data and options of its run")
    accepts = decisions == ACCEPT
    number = {name.strip(): c for c, name in enumerate(report.class_names)}
    if strange := sorted(set(labels[accepts].tolist()) - number.keys()):
        raise ValueError(f"{path} accepts the labels {few(strange)}; the classes are {few(list(number))}")
    accepted, rejected = np.isin(names, ids[accepts]), np.isin(names, ids[~accepts])
    if twice := names[accepted & rejected].tolist():
        raise ValueError(f"{path} accepts and rejects {few(twice)}: keep one decision for each")
    pairs = list(zip(ids[accepts].tolist(), labels[accepts].tolist(), strict=True))
    chosen = dict(pairs)
    if several := sorted({name for name, label in pairs if chosen[name] != label}):
        raise ValueError(f"{path} accepts several labels for {few(several)}: keep one decision for each")
    flagged = (report.flagged | accepted) & ~rejected
    wrong = np.where(accepted, 1, report.wrong)[flagged]  # a person has said that an accepted one is
    suggested = np.where(rejected, report.given, report.suggested)
    suggested[accepted] = [number[chosen[name]] for name in names[accepted].tolist()]
    made = dataclasses.replace(
        report,
        flagged=flagged,
        suggested=suggested,
        expected_precision=float(wrong.mean()) if flagged.any() else float("nan"),
    )
    return made, f"decisions of {path}: {accepted.sum()} accepted, {rejected.sum()} rejected"
