"""One run of the denoiser: the reports, their files, and their measures where the truth is known."""

import functools
import logging
import pathlib
from typing import Any

from ddjax.denoising import DenoiseReport
from ddjax.denoising import denoise as find
from ddjax.preprocess import placing
from ddjax.storage.files import replacing
from ddjax.storage.rows import commit, fingerprint, hardware, to_line, versions
from experiments.denoising import comparing, writing
from experiments.denoising.exports import EXPORTS, Found
from experiments.denoising.forecast import compared, forecast
from experiments.denoising.gallery import gallery
from experiments.denoising.reading import Task, kept_in, output_of
from experiments.denoising.settings import Settings
from experiments.denoising.stages import staged
from experiments.display.cli import as_repeated
from experiments.running.config import flips
from experiments.sweeping.machines import here
from experiments.sweeping.work import Shape

log = logging.getLogger("ddjax.denoising")

SAME = ("students", "protocol", "epochs", "plain_epochs", "network", "width", "depth", "precision", "folds", "seed")


def judged(settings: Settings, task: Task, options: dict[str, Any]) -> list[DenoiseReport]:
    """The report of the method, and with --compare those of the other detectors."""
    more = {name: getattr(settings, name) for name in SAME}
    more |= {"ids": task.ids, "class_names": task.class_names, "keep": kept_in(settings, task.name)}
    more["flip"] = settings.flip and flips(settings.data or "")
    methods, expected = compared(settings.judge, settings.kind) if settings.compare else [settings.judge], {}
    if not settings.quiet and "images" in task.evidence and task.class_names:
        shape = Shape(len(task.given), 0, tuple(task.evidence["images"].shape[1:]), len(task.class_names))
        expected = forecast(settings, methods, options, more["flip"], shape, here())
    more |= {"labels": task.given, **task.evidence}
    with staged(settings.quiet, expected) as tell, placing(settings.images):
        named = {} if settings.kind == "pred_probs" else {"method": settings.judge}
        more["report"] = tell
        asked = {"ipc": settings.ipc, "options": options, "score": settings.score}
        first = find(**more, **named, **asked, early=functools.partial(ranked, settings, task))
        if settings.compare and "pred_probs" in task.evidence:
            return [first, comparing.by_argmax(first, task.evidence["pred_probs"])]
        # the authors of cleanlab and of small loss rank by the probability of the given label
        return [first, *(find(**more, method=name, score="self_confidence") for name in methods[1:])]


def ranked(settings: Settings, task: Task, report: DenoiseReport) -> None:
    """Write the ranking and the page of a quick predictor, until slower ones replace them."""
    out = output_of(settings, task.name)
    writing.clear(out)
    writing.write_labels(report, out / "labels.csv")
    page = write_gallery(report, task, settings, out)
    log.info(
        "first ranking: %d labels are flagged; %s shows them; slower predictors refine it", report.flagged.sum(), page
    )


def write_gallery(report: DenoiseReport, task: Task, settings: Settings, out: pathlib.Path) -> pathlib.Path:
    """Write the page of the most suspicious examples; returns its path."""
    with replacing(out / "gallery.html", "w") as file:
        title = f"Suspicious labels of {task.name}"
        file.write(gallery(report, task.images, task.texts, title, task.skipped, settings.most, task.clean))
    return out / "gallery.html"


def write(report: DenoiseReport, task: Task, settings: Settings, out: pathlib.Path) -> list[str]:
    """Write all files except detection.jsonl, in place of those of an earlier run; returns their names."""
    writing.clear(out)
    report.save(out)
    writing.write_labels(report, out / "labels.csv")
    cleaned = writing.write_cleaned(report, task, settings, out)
    writing.write_conflicts(report, out / "conflicts.csv")
    writing.write_skipped(task.skipped, out / "skipped.txt")
    write_gallery(report, task, settings, out)
    found = Found(report, task, settings)
    exported = [EXPORTS[name](found, out).name for name in settings.export]
    return ["labels.csv", cleaned.name, "gallery.html", "conflicts.csv", "skipped.txt", "report.npz", *exported]


def measure(reports: list[DenoiseReport], task: Task, rate: float, settings: Settings, out: pathlib.Path) -> str:
    """Write one row per detector to detection.jsonl; returns the rows as a table."""
    clean = task.clean
    assert clean is not None
    rows = [comparing.measured(report, clean) for report in reports]
    common = {"dataset": task.name, "noise": settings.noise, "rate": rate, "noise_seed": settings.noise_seed}
    common |= {"seed": settings.seed, "images": len(clean), "limit": settings.limit, "imbalance": settings.imbalance}
    made = {"hardware": hardware(), "commit": commit(), "versions": versions()}
    made["command"] = as_repeated("denoise")
    with replacing(out / "detection.jsonl", "w") as file:
        for row, report in zip(rows, reports, strict=True):
            decides = common | {"settings": report.settings, "score": report.score}
            file.write(
                to_line(common | row | made | {"settings": report.settings, "fingerprint": fingerprint(decides)})
            )
            file.write("\n")
    return comparing.as_text(rows)
