"""Comparison of detectors against clean labels."""

import dataclasses
from typing import Any

import numpy as np

from ddjax.denoising import DenoiseReport
from ddjax.evaluation.detection import detection, reliability

SHOWN = ("precision", "recall", "f1", "auroc", "auprc", "corrected_acc")


def measured(report: DenoiseReport, clean: np.ndarray) -> dict[str, Any]:
    """All measures of a report, and the AUROC of each of its scores."""
    found: dict[str, Any] = detection(report.suspicion, report.flagged, report.cleaned, report.given, clean)
    by_score = {
        name: detection(values, report.flagged, report.cleaned, report.given, clean)["auroc"]
        for name, values in report.scores.items()
    }
    curve = reliability(report.wrong, report.given != clean)
    return {
        "method": report.method,
        "score": report.score,
        **found,
        "expected_precision": report.expected_precision,
        "estimated_noise_rate": report.noise_rate,
        "reliability": {name: values.tolist() for name, values in curve._asdict().items()},
        "calibration_error": curve.error,
        "relabel_acc": float((report.truth.argmax(axis=1) == clean).mean()),
        "auroc_by_score": by_score,
        "recall_by_class": recall_by_class(report, clean),
        "seconds": dict(report.seconds),
        "wall_s": round(sum(report.seconds.values()), 2),
    }


def by_argmax(report: DenoiseReport, pred_probs: np.ndarray) -> DenoiseReport:
    """The report that flags each label where another class is likelier, from the mean of all predictions."""
    likely = np.asarray(pred_probs, np.float32)
    likely = likely.mean(axis=0) if likely.ndim == 3 else likely
    best = likely.argmax(axis=1).astype(np.int32)
    doubt = 1 - np.take_along_axis(likely, report.given[:, None], axis=1)[:, 0]
    flagged = best != report.given
    return dataclasses.replace(
        report,
        method="argmax",
        score="self_confidence",
        scores={"self_confidence": doubt},
        suspicion=doubt,
        wrong=doubt,
        truth=likely,
        flagged=flagged,
        suggested=best,
        expected_precision=float(doubt[flagged].mean()) if flagged.any() else float("nan"),
        noise_rate=float(flagged.mean()),
        seconds={},
    )


def recall_by_class(report: DenoiseReport, clean: np.ndarray) -> list[float]:
    """Recall per given class: share of its wrong labels that are flagged; NaN for a class without wrong labels."""
    wrong = report.given != clean
    return [
        float(report.flagged[mine].mean()) if (mine := wrong & (report.given == c)).any() else float("nan")
        for c in range(len(report.class_names))
    ]


def as_text(rows: list[dict[str, Any]]) -> str:
    """Tables of the measures in per cent and of the AUROC of every score."""
    rate = rows[0]["noise_rate"]
    lines = [f"{100 * rate:.1f} % of the labels are wrong (chance level of AUPRC)", ""]
    heads = [*SHOWN, "promised", "seconds"]
    titles = {"corrected_acc": "corrected", "auroc": "AUROC", "auprc": "AUPRC", "f1": "F1"}
    lines.append(f"{'detector':14}" + "".join(f"{titles.get(h, h):>11}" for h in heads))
    for row in rows:
        cells = [row[name] for name in SHOWN] + [row["expected_precision"]]
        shown = "".join(f"{'-' if v != v else f'{100 * v:.1f}':>11}" for v in cells)
        lines.append(f"{row['method']:14}{shown}{row['wall_s']:>11.1f}")
    names = list(rows[0]["auroc_by_score"])
    wide = [max(len(name), 8) + 2 for name in names]
    heads = "".join(f"{name:>{width}}" for name, width in zip(names, wide, strict=True))
    lines += ["", "AUROC by score", f"{'detector':14}{heads}"]
    for row in rows:
        values = [row["auroc_by_score"].get(name, float("nan")) for name in names]
        cells = ["-" if v != v else f"{100 * v:.2f}" for v in values]
        shown = "".join(f"{cell:>{width}}" for cell, width in zip(cells, wide, strict=True))
        lines.append(f"{row['method']:14}{shown}")
    return "\n".join(lines)
