"""`denoise`: from labels, and images, features or predictions, to a report of the labels that are probably wrong."""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ddjax.data.identical import first_rows
from ddjax.denoising.inputs import training_set
from ddjax.denoising.judging import SCORES, caveat, judge
from ddjax.denoising.keeping import Stages
from ddjax.denoising.predictor import FEATURES, IMAGES, PREDICTIONS, Plan, Predictions, Request
from ddjax.denoising.progress import Report, begun
from ddjax.denoising.registry import DEFAULTS, PREDICTORS, choose_predictor
from ddjax.denoising.report import DenoiseReport
from ddjax.denoising.tables import PRED_PROBS, as_table, is_file, read_labels, read_table
from ddjax.denoising.vectors import by_class, feature_set, predictions
from ddjax.evaluation import protocols
from ddjax.models.sizes import sizes
from ddjax.names import briefly, check_known
from ddjax.ranges import Count, PositiveShare, Seed, checked
from ddjax.storage.files import array_digest

log = logging.getLogger("ddjax.denoising")


@checked
def denoise(
    images: Any = None,
    labels: Any = None,
    *,
    features: Any = None,
    pred_probs: Any = None,
    method: str | None = None,
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
    early: Callable[[DenoiseReport], None] | None = None,
) -> DenoiseReport:
    """Find the labels that are probably wrong, from one of images, features and predictions.

    A predictor learns from the given labels and predicts a class for every example; `judge` compares the predictions
    with the labels. By default, ridge regression and, for 3000 images or more, also networks predict the classes of
    images. A distiller can do it as well: fresh students are trained on the distilled images alone, so they have not
    memorised the labels of the others. Features are distilled into a few prototypes per class, which predict the
    examples of another fold; by default ridge regression predicts them as well. Predictions are judged as they are.

    Args:
      images: [n h w c] or [n h w], uint8 or floats from 0 to 1; all of one size.
      labels: [n] class numbers from 0, or names; or a file of them, see `tables.read_labels`.
      features: [n d] numbers that describe the examples: embeddings of images, texts or sounds, or columns of a table.
        Or a file: .npy (memory-mapped), .npz, .parquet or .csv.
      pred_probs: [n k] class probabilities from networks that did not train on the labels they are asked about, such as
        cross-validated ones; or [s n k] of s networks; or a file of them.
      method: what judges; by default auto, what was measured best. For images: ridge, plain, cleanlab, a robust rule or
        a distiller by name, module:ATTRIBUTE, or a combination such as plain*3+ridge. For features: prototypes, ridge,
        knn or simifeat. An unknown name lists all.
      ipc: images or prototypes per class of the distilled set.
      options: further fields of the method's configuration. By default dance, dm, rcig, frepo and kip take a few
        hundred steps (`distilling.SHORT`).
      class_names: of the class numbers, and of the columns of `pred_probs`. Without it, labels that are names are
        numbered in sorted order, or in that of the columns of a table of `pred_probs` that names them.
      ids: [n] names of the examples in the report; by default those of the file of labels, or the rows.
      students: number of networks of a distiller, and of small_loss.
      protocol: how students are trained.
      epochs: of students; replaces the protocol's number.
      plain_epochs: of networks that learn from all labels, by default 25; for cleanlab, and for small_loss, which stops
        after a tenth, by default 200.
      network, width, depth: of the judging networks; by default the protocol's ConvNet, with width 32 for images of up
        to 16 pixels and 64 for larger ones. The distilling network has the same width.
      flip: False for images whose meaning changes in a mirror, such as digits and letters.
      score: the score that suspicion is ranked by; a name in SCORES.
      precision: the expected share of wrong labels among the flagged ones is at least this; see `ddjax.judge`.
      folds: of cross-validation.
      seed: of the distillation and of all networks.
      keep: a directory for finished stages. A run with the same data, settings and versions continues from there.
      report: called with (stage, done, total, newest metrics); before each stage with 0 done and no metrics. The total
        is 0 if it is unknown.
      early: called with the report of each quick predictor that auto runs before slower ones.

    Returns:
      Scores, flags and suggestions for every label.

    Raises:
      ValueError: a name is unknown, a number is out of range, or the data or labels cannot be used.
      Diverged: the distillation or a network diverged.

    Example:
      >>> import ddjax
      >>> data = ddjax.synthetic(2, 6, (4, 4, 1))
      >>> small = {"method": "random", "ipc": 1, "students": 1, "network": "mlp", "width": 4, "epochs": 2}
      >>> ddjax.denoise(data.images, data.labels, protocol="dance", **small).suspicion.shape
      (12,)
    """
    kind = _only(images=images, features=features, pred_probs=pred_probs)
    method = method or DEFAULTS[kind]
    check_names(method=method, protocol=protocol, score=score, network=network, width=width, depth=depth, kind=kind)
    predictor = None if kind == PREDICTIONS else choose_predictor(method)
    if not isinstance(options or {}, Mapping):
        raise ValueError(f"options must be a dict of fields of the method's configuration; got {briefly(options)}")
    if isinstance(class_names, str | Mapping):
        raise ValueError(f"class_names must be a list of names, by class number; got {briefly(class_names)}")
    if options and (predictor is None or predictor.config is None):
        raise ValueError(f"method={method!r} has no options; got {sorted(options)}")
    if labels is None:
        raise ValueError("labels are missing: pass labels=, one for each example, or a file of them")
    if is_file(labels):
        listed = read_labels(labels)
        labels, ids = listed.labels, listed.ids if ids is None else ids
    if kind == IMAGES:
        data, class_names = training_set(images, labels, class_names)
        seen = np.asarray(data.images)
    elif kind == FEATURES:
        seen = (read_table(features) if is_file(features) else as_table(features)).values
        data, class_names = feature_set(seen, labels, class_names)
    else:
        seen, labels, class_names = by_class(
            read_table(pred_probs, PRED_PROBS) if is_file(pred_probs) else as_table(pred_probs), labels, class_names
        )
        seen, numbers, class_names = predictions(seen, labels, class_names)
        data = None
    given = numbers if data is None else np.asarray(data.labels)
    ids = np.arange(len(given)).astype(str) if ids is None else np.asarray(ids, np.str_)
    if ids.shape != (len(given),):
        raise ValueError(f"ids must have an entry for each of {len(given)} examples; got {briefly(ids)}")
    plan = Plan(
        method=method,
        ipc=ipc,
        options=options or {},
        students=students,
        protocol=protocol,
        epochs=epochs,
        plain_epochs=plain_epochs,
        network=network,
        width=width,
        depth=depth,
        flip=flip,
        folds=folds,
        seed=seed,
    )
    digest = array_digest(seen, given)
    same_as = np.arange(len(given)) if data is None else first_rows(seen)

    def judged(predicted: Predictions) -> DenoiseReport:
        begun(report, "judge")
        start = time.monotonic()
        found = judge(predicted.members, given, precision=precision)
        if words := caveat(found, given, alone=len(predicted.members) == 1 and not (predictor and predictor.judge)):
            log.warning(words)
        found = found._replace(scores=found.scores | dict(predicted.scores))
        if predictor and predictor.judge:
            found = predictor.judge(found, predicted.members, given)
        made = DenoiseReport(
            ids=ids,
            same_as=same_as,
            given=given,
            suggested=given,
            suspicion=found.scores[score],
            wrong=found.wrong,
            truth=found.truth,
            flagged=found.flagged,
            scores=found.scores,
            class_names=class_names,
            score=score,
            method=method,
            expected_precision=found.expected_precision,
            noise_rate=found.noise_rate,
            seconds={**predicted.seconds, "judge": time.monotonic() - start},
            settings=dataclasses.asdict(plan) | {"precision": float(precision), "data": digest},
            distilled=predicted.distilled,
        )
        return dataclasses.replace(made, suggested=np.where(made.flagged, made.likeliest_other, given).astype(np.int32))

    if predictor is None:
        return judged(Predictions(seen))
    if predictor.check:
        predictor.check(data, plan, class_names)
    tell = early and (lambda predicted: early(judged(predicted)))
    return judged(Request(data, plan, Stages(keep), {"data": digest}, choose_predictor, report, tell).predict(method))


def _only(**inputs: Any) -> str:
    """The name of the one argument that is given."""
    given = [name for name, value in inputs.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"denoise takes one of {', '.join(inputs)}; got {' and '.join(given) or 'none of them'}")
    return given[0]


def check_names(
    *,
    method: str,
    protocol: str,
    network: str | None,
    width: int | None,
    depth: int | None,
    score: str,
    kind: str,
) -> None:
    """Check the names that `denoise` is given, and that the network has a width and a depth; data are not needed.

    Raises:
      ValueError: a name is unknown, the method cannot judge this kind of data, or the network has no such option.
    """
    if kind == PREDICTIONS:
        if method != DEFAULTS[kind]:
            raise ValueError(f"method={method!r} makes predictions; leave it out beside pred_probs")
    elif kind not in (takes := choose_predictor(method).takes):
        known = [name for name, other in PREDICTORS.items() if kind in other.takes]
        judged = (
            f"judges {' and '.join(takes)}, not {kind}" if takes else "has parts that judge different kinds of data"
        )
        raise ValueError(
            f"method={method!r} {judged}; for {kind} use {', '.join(known)}"
            + (", or a distiller" if kind == IMAGES else "")
        )
    sizes(network or protocols.named(protocol).network, width, depth)
    check_known("score", score, SCORES)
