"""`denoise`: from images and labels to a report of the labels that are probably wrong."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddjax.data.identical import first_rows
from ddjax.denoising.asking import Plan, Question
from ddjax.denoising.inputs import training_set
from ddjax.denoising.judging import SCORES, choose_score, judge
from ddjax.denoising.keeping import Stages
from ddjax.denoising.registry import choose_witness
from ddjax.denoising.report import DenoiseReport
from ddjax.denoising.telling import Report, begun
from ddjax.evaluation import PROTOCOLS
from ddjax.models.sizes import sizes
from ddjax.names import choose, unknown
from ddjax.ranges import Count, PositiveShare, Seed, checked
from ddjax.storage.files import array_digest


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
    check_names(method=method, protocol=protocol, score=score, network=network, width=width, depth=depth)
    train, class_names = training_set(images, labels, class_names)
    ids = np.arange(len(train.labels)).astype(str) if ids is None else np.asarray(ids, np.str_)
    if ids.shape != (len(train.labels),):
        raise ValueError(f"ids must have an entry for each of {len(train.labels)} images; got {len(ids)}")
    plan = Plan(
        method=method,
        ipc=ipc,
        options=dict(options or {}),
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
    witness, digest = choose_witness(method), array_digest(train.images, train.labels)
    if witness.check:
        witness.check(train, plan, class_names)
    said = Question(train, plan, Stages(keep), {"data": digest}, choose_witness, report).consult(method)
    begun(report, "judge")
    start = time.monotonic()
    given = np.asarray(train.labels)
    found = judge(said.predictions, given, precision=precision)
    found = found._replace(scores=found.scores | dict(said.scores))
    if witness.judge:
        found = witness.judge(found, said.predictions, given)
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
        seconds={**said.seconds, "judge": time.monotonic() - start},
        settings=dataclasses.asdict(plan) | {"precision": precision, "data": digest},
        distilled=said.distilled,
    )


def check_names(
    *, method: str, protocol: str, network: str | None, width: int | None, depth: int | None, score: str
) -> None:
    """Check the names that `denoise` is given, and that the network has a width and a depth; data are not needed.

    Raises:
      ValueError: a name is unknown, or the network has no such option.
    """
    choose_witness(method)
    sizes(network or choose(PROTOCOLS, protocol, "protocol").network, width, depth)
    if score not in SCORES:
        raise unknown("score", score, SCORES)
