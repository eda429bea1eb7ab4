"""`denoise`: from images and labels to a report of the labels that are probably wrong."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ddjax import preprocess
from ddjax.data import to_space
from ddjax.data.identical import first_rows
from ddjax.data.validate import small_classes
from ddjax.denoising.distilling import WIDTH, configured, distilled_set, least_images, width_for
from ddjax.denoising.inputs import training_set
from ddjax.denoising.judging import SCORES, choose_score, judge, through_cleanlab
from ddjax.denoising.keeping import Stages
from ddjax.denoising.report import DenoiseReport
from ddjax.denoising.telling import Report, begun
from ddjax.denoising.witnesses import predict_cross_validated, predict_early_stopped, predict_students
from ddjax.distillers import DISTILLERS
from ddjax.evaluation import PROTOCOLS
from ddjax.models import build_sized
from ddjax.models.sizes import sizes
from ddjax.names import choose, unknown
from ddjax.ranges import Count, PositiveShare, Seed, check_int, checked
from ddjax.run import SPACE
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
    flip: bool = True,
    score: str = "posterior",
    precision: PositiveShare = 0.8,
    folds: Count = 5,
    seed: Seed = 0,
    keep: Any = None,
    report: Report | None = None,
) -> DenoiseReport:
    """Find the labels that are probably wrong.

    The images are distilled. Fresh students are trained on the distilled images alone and then judge every image. They
    did not train on it, so they have not memorised its label.

    Args:
      images: [n h w c] or [n h w], uint8 or floats from 0 to 1; all of one size.
      labels: [n] class numbers from 0, or names.
      method: a distiller by name, or module:ATTRIBUTE. cleanlab: cross-validated predictions of plain training, judged
        by the package cleanlab. small_loss: networks early in plain training.
      ipc: images per class of the distilled set.
      options: further fields of the method's configuration. By default a learned set is made in a few hundred steps
        (`distilling.SHORT`).
      class_names: of the class numbers. Without it, labels that are names are numbered in sorted order.
      ids: [n] names of the images in the report; by default their rows.
      students: number of networks that judge.
      protocol: how students are trained.
      epochs: of students; replaces the protocol's number.
      plain_epochs: of plain training for cleanlab and small_loss, which stops after a tenth; by default 200.
      network, width, depth: of the judging networks; by default the protocol's ConvNet, with width 32 for images of up
        to 16 pixels and 64 for larger ones. The distilling network has the same width.
      flip: False for images whose meaning changes in a mirror, such as digits and letters.
      score: the score that suspicion is ranked by; a name in SCORES.
      precision: the expected share of wrong labels among the flagged ones is at least this; see `ddjax.judge`.
      folds: of cleanlab's cross-validation.
      seed: of the distillation and of all networks.
      keep: a directory for finished stages. A run with the same data and settings continues from there.
      report: called with (stage, done, total, newest metrics); before each stage with 0 done and no metrics. The total
        is 0 if it is unknown.

    Returns:
      Scores, flags and suggestions for every label.

    Raises:
      ValueError: a name is unknown, a number is out of range, or the images or labels cannot be used.
      Diverged: the distillation or a network diverged.

    Example:
      >>> import ddjax
      >>> data = ddjax.synthetic(2, 6, (4, 4, 1))
      >>> small = {"method": "random", "ipc": 1, "students": 1, "network": "mlp", "width": 4, "epochs": 2}
      >>> ddjax.denoise(data.images, data.labels, protocol="dance", **small).suspicion.shape
      (12,)
    """
    names = {"method": method, "protocol": protocol, "score": score}
    check_names(**names, network=network, width=width, depth=depth)
    how = choose(PROTOCOLS, protocol, "protocol")
    train, class_names = training_set(images, labels, class_names)
    if method == "cleanlab":
        check_int(folds, "folds", 2, len(train.labels))
    ids = np.arange(len(train.labels)).astype(str) if ids is None else np.asarray(ids, np.str_)
    if ids.shape != (len(train.labels),):
        raise ValueError(f"ids must have an entry for each of {len(train.labels)} images; got {len(ids)}")
    shape = tuple(train.images.shape[1:])
    model = build_sized(network or how.network, shape, train.num_classes, width=width, depth=depth, usual=WIDTH)
    width = width_for(shape, width)
    settings = {
        "method": method,
        "ipc": ipc,
        "options": dict(options or {}),
        "students": students,
        "protocol": protocol,
        "epochs": epochs,
        "plain_epochs": plain_epochs,
        "network": [network or how.network, width, depth],
        "flip": flip,
        "folds": folds,
        "seed": seed,
        "data": array_digest(train.images, train.labels),
    }
    stages, seconds, distilled = Stages(keep), {}, None
    judging = {"model": model, "flip": flip, "seed": seed}
    if method not in DETECTORS:
        chosen = choose(DISTILLERS, method, "method")
        config = configured(chosen, method, ipc, options or {}, width, flip)
        if problem := small_classes(np.asarray(train.labels), class_names, least_images(method, config)):
            raise ValueError(problem)
        decides = {"data": settings["data"], "method": method, "config": dataclasses.asdict(config), "seed": seed}
        decides |= {"network": settings["network"]}
        unfinished = stages.checkpoints("distilled", decides)
        distilled, seconds["distil"] = stages.distilled(
            decides, lambda: distilled_set(chosen, config, train, model, seed, report, unfinished)
        )
        decides |= {name: settings[name] for name in ("students", "protocol", "epochs", "flip")}

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
        preprocessed = to_space(train, preprocess.fit(SPACE, train.images))
        stage = "folds" if method == "cleanlab" else "networks"

        def ask() -> np.ndarray:
            how_long = {"epochs": plain_epochs, "report": report}
            how_long["checkpoints"] = stages.checkpoints("logits", decides)
            if method == "cleanlab":
                return predict_cross_validated(preprocessed, **judging, **how_long, folds=folds)
            return predict_early_stopped(preprocessed, **judging, **how_long, students=students)

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
        ids=ids,
        same_as=first_rows(np.asarray(train.images)),
        given=given,
        suggested=np.where(found.flagged, others.argmax(axis=1), given).astype(np.int32),
        suspicion=choose_score(found, score),
        wrong=found.wrong,
        truth=found.truth,
        flagged=found.flagged,
        scores=found.scores,
        class_names=class_names,
        score=score,
        method=method,
        expected_precision=found.expected_precision,
        noise_rate=found.noise_rate,
        seconds=seconds,
        settings=settings | {"precision": precision},
        distilled=distilled,
    )


def check_names(
    *, method: str, protocol: str, network: str | None, width: int | None, depth: int | None, score: str
) -> None:
    """Check the names that `denoise` is given, and that the network has a width and a depth; data are not needed.

    Raises:
      ValueError: a name is unknown, or the network has no such option.
    """
    if method not in DETECTORS:
        choose(DISTILLERS, method, "method")
    sizes(network or choose(PROTOCOLS, protocol, "protocol").network, width, depth)
    if score not in SCORES:
        raise unknown("score", score, SCORES)


def _timed(ask: Callable[[], np.ndarray]) -> dict[str, np.ndarray]:
    start = time.monotonic()
    logits = ask()
    if not np.isfinite(logits).all():
        raise ValueError("the networks' predictions are not finite: they diverged; lower the rate or other options")
    return {"logits": logits, "seconds": np.float64(time.monotonic() - start)}
