"""The front door: images and labels in, a report out."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ddjax import preprocess
from ddjax.data.identical import first_rows
from ddjax.data.validate import small_classes
from ddjax.denoising.distilling import (
    PLAIN_SPACE,
    configured,
    distilled_set,
    inside,
    judging_network,
    least_images,
    width_for,
)
from ddjax.denoising.inputs import training_set
from ddjax.denoising.judging import SCORES, choose_score, judge, through_cleanlab
from ddjax.denoising.keeping import Stages
from ddjax.denoising.report import DenoiseReport
from ddjax.denoising.telling import Report, begun
from ddjax.denoising.witnesses import predict_cross_validated, predict_early_stopped, predict_students
from ddjax.distillers import DISTILLERS
from ddjax.evaluation import PROTOCOLS
from ddjax.models.registry import NETWORKS
from ddjax.names import choose, unknown
from ddjax.ranges import Count, PositiveShare, Seed, check_int, checked
from ddjax.storage.files import array_digest

DETECTORS = ("cleanlab", "small_loss")  # besides every distiller


@checked
def denoise(
    images: Any,
    labels: Any,
    *,
    method: str = "dance",
    ipc: Count = 10,
    options: Mapping[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
    ids: Any = None,
    students: Count = 5,
    protocol: str = "common",
    epochs: Count | None = None,
    plain_epochs: Count | None = None,
    network: str | None = None,
    width: Count | None = None,
    depth: Count | None = None,
    mirror: bool = True,
    score: str = "posterior",
    precision: PositiveShare = 0.8,
    folds: Count = 5,
    seed: Seed = 0,
    keep: Any = None,
    report: Report | None = None,
) -> DenoiseReport:
    """Find the labels that are probably wrong.

    The images are distilled; fresh students learn from the few distilled images alone, and then judge every image:
    they never saw it, so they have not memorised its label.

    Args:
      images: [n h w c] or [n h w], uint8 or floats on the 0..1 scale; all of one size.
      labels: [n] class numbers from 0, or names.
      method: any distiller by name, or module:ATTRIBUTE; or cleanlab (cross-validated predictions of plain training,
        judged by confident learning through cleanlab itself), or small_loss (networks early in plain training).
      ipc, options: images per class, and further fields of the method's configuration; a learned set is made in a few
        hundred steps (`distilling.SHORT`) where these do not say otherwise.
      class_names: of the class numbers; names given as labels are numbered in sorted order without it.
      ids: [n], what each image is called in the report; by default its row.
      students: how many networks judge.
      protocol: how students are trained.
      epochs: of students, where the protocol's number is not wanted.
      plain_epochs: of cleanlab's networks, and of the plain training that small_loss stops a tenth into; 200.
      network, width, depth: of the judging networks; by default the protocol's ConvNet, of width 32 for images up to
        16 pixels and 64 for larger ones. The distilling network is as wide.
      mirror: False for images whose mirror image means something else, such as digits and letters.
      score: what suspicion is ranked by; a name in SCORES.
      precision: the share of the flagged labels that is expected to be wrong, at least; see `ddjax.judge`.
      folds: of cleanlab's cross-validation.
      keep: a directory where finished stages are kept; a run with the same data and settings goes on from there.
      report: called with the stage, how far it is, of how much, and its newest metrics; also before each stage, with
        0 done and no metrics. The total is 0 where a stage cannot tell it.
    """
    check_names(method=method, protocol=protocol, network=network, score=score)
    train, names = training_set(images, labels, class_names)
    if method == "cleanlab":
        check_int(folds, "folds", 2, len(train.labels))
    called = np.arange(len(train.labels)).astype(str) if ids is None else np.asarray(ids, np.str_)
    if called.shape != (len(train.labels),):
        raise ValueError(f"ids has {len(called)} entries beside {len(train.labels)} images")
    how = choose(PROTOCOLS, protocol, "protocol")
    shape = tuple(train.images.shape[1:])
    width = width_for(shape, width)
    model = judging_network(network or how.network, shape, train.num_classes, width, depth)
    settings = {
        "method": method,
        "ipc": ipc,
        "options": dict(options or {}),
        "students": students,
        "protocol": protocol,
        "epochs": epochs,
        "plain_epochs": plain_epochs,
        "network": [network or how.network, width, depth],
        "mirror": mirror,
        "folds": folds,
        "seed": seed,
        "data": array_digest(train.images, train.labels),
    }
    stages, seconds, distilled = Stages(keep), {}, None
    judging = {"model": model, "mirror": mirror, "seed": seed}
    if method not in DETECTORS:
        chosen = choose(DISTILLERS, method, "method")
        config = configured(chosen, method, ipc, options or {}, width, mirror)
        if problem := small_classes(np.asarray(train.labels), names, least_images(method, config)):
            raise ValueError(problem)
        decides = {"data": settings["data"], "method": method, "config": dataclasses.asdict(config), "seed": seed}
        decides |= {"network": settings["network"]}
        unfinished = stages.checkpoints("distilled", decides)
        distilled, seconds["distil"] = stages.distilled(
            decides, lambda: distilled_set(chosen, config, train, model, seed, report, unfinished)
        )
        decides |= {name: settings[name] for name in ("students", "protocol", "epochs", "mirror")}

        def ask() -> np.ndarray:
            return predict_students(
                distilled,
                train,
                **judging,
                protocol=how,
                students=students,
                epochs=epochs,
                report=report,
                checkpoints=stages.checkpoints("logits", decides),
            )

        stage = "students"
    else:
        decides = {
            name: value for name, value in settings.items() if name not in ("ipc", "options", "protocol", "epochs")
        }
        moved = inside(train, preprocess.fit(PLAIN_SPACE, train.images))
        stage = "folds" if method == "cleanlab" else "networks"

        def ask() -> np.ndarray:
            how_long = {"epochs": plain_epochs, "report": report}
            how_long["checkpoints"] = stages.checkpoints("logits", decides)
            if method == "cleanlab":
                return predict_cross_validated(moved, **judging, **how_long, folds=folds)
            return predict_early_stopped(moved, **judging, **how_long, students=students)

    kept = stages.arrays("logits", decides, lambda: _timed(ask))
    seconds[stage] = float(kept["seconds"])
    begun(report, "judge")
    start = time.monotonic()
    given = np.asarray(train.labels)
    found = judge(kept["logits"], given, precision=precision)
    if method == "cleanlab":
        found = through_cleanlab(found, kept["logits"], given)
    seconds["judge"] = time.monotonic() - start
    others = np.where(np.eye(train.num_classes, dtype=bool)[given], -1, found.truth)
    return DenoiseReport(
        ids=called,
        same_as=first_rows(np.asarray(train.images)),
        given=given,
        suggested=np.where(found.flagged, others.argmax(axis=1), given).astype(np.int32),
        suspicion=choose_score(found, score),
        wrong=found.wrong,
        truth=found.truth,
        flagged=found.flagged,
        scores=found.scores,
        class_names=names,
        score=score,
        method=method,
        expected_precision=found.expected_precision,
        noise_rate=found.noise_rate,
        seconds=seconds,
        settings=settings | {"precision": precision},
        distilled=distilled,
    )


def check_names(*, method: str, protocol: str, network: str | None, score: str) -> None:
    """Raise a ValueError for a name that `denoise` does not know; no data are needed for that."""
    if method not in DETECTORS:
        choose(DISTILLERS, method, "method")
    choose(PROTOCOLS, protocol, "protocol")
    if network is not None:
        choose(NETWORKS, network, "network")
    if score not in SCORES:
        raise unknown("score", score, SCORES)


def _timed(ask: Callable[[], np.ndarray]) -> dict[str, np.ndarray]:
    start = time.monotonic()
    logits = ask()
    if not np.isfinite(logits).all():
        raise ValueError("the networks' predictions are not finite: they diverged; lower the rate or other options")
    return {"logits": logits, "seconds": np.float64(time.monotonic() - start)}
