"""Membership inference: train shadow models, attack each by the likelihood-ratio attack, and write a row.

Example: python -m experiments.membership --dataset digits --rate 0.4 --method dance --ipc 10 --shadows 16
"""

import dataclasses
import pathlib
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import tyro

from ddjax.data import to_space
from ddjax.denoising.networks import Networks, students_of
from ddjax.distilled import DistilledSet
from ddjax.evaluation import membership
from ddjax.execution.guard import intact
from ddjax.precision import default, policy
from ddjax.storage.rows import append, fingerprint
from ddjax.training import stacked_logits
from experiments.display.cli import as_repeated, check_file, main, use_data_dir
from experiments.display.progress import View
from experiments.running.config import Experiment, method_config
from experiments.running.distilling import distill_cells
from experiments.running.run import settings_of
from experiments.running.shared import Ready, Shared, make_ready, preprocessed

APART = 1000  # distance between the seeds of the shadow models of two attacks


@dataclasses.dataclass(frozen=True)
class Settings(Experiment):
    """Attack the models of one cell. Method full trains on all images by the protocol of the distilled sets.

    Claim C9 compares three such rows: of a distilled set, of a random set of its size (--method random), and of all
    images (--method full) with so many --epochs that it is as accurate as the distilled set.

    Attributes:
        shadows: number of models, each trained on a random half of the images; even, at least 8.
        out: file to which the row is added.
        quiet: print no progress.
        data_dir: TFDS directory, if it is not the default.
    """

    shadows: int = 16
    out: pathlib.Path = pathlib.Path("runs/membership.jsonl")
    quiet: bool = False
    data_dir: str | None = None


def attacked(experiment: Experiment, shadows: int, view: View) -> dict[str, Any]:
    """The row of an attack, with the column `membership`: train all shadow models, and attack each by the others.

    Raises:
      ValueError: the method distils nothing, or the number of shadows is odd or below eight.
    """
    cell = make_ready(experiment, Shared())
    if cell.parsed.on_all and experiment.method != "full":
        raise ValueError(f"method {experiment.method!r} distils nothing: an attack takes a distiller, random or full")
    train, test = cell.prepared.train, cell.prepared.test
    halves = membership.halves(len(train.labels), shadows, experiment.seed)
    scores, accuracies = [], []
    with view.task("shadow models") as report:
        for number, mask in enumerate(halves):
            shadow = half(cell, mask, APART * experiment.seed + number)
            logits, right = answers(shadow, train, test)
            scores.append(membership.log_odds(logits, np.asarray(train.labels)).mean(axis=0))
            accuracies.append(right)
            report(number + 1, shadows, {"accuracy": right})
    found = membership.attack(np.stack(scores), halves)
    accuracy = float(np.mean(accuracies))
    return {
        **settings_of(cell),
        "protocol": cell.protocol.name,
        "last_acc": accuracy,
        "best_acc": accuracy,
        "membership": {"auc": found.auc, "tpr_at_1": found.tpr, "shadows": found.shadows},
        "train_images": int(halves[0].sum()),
        "fingerprint": fingerprint([dataclasses.asdict(experiment), "membership", shadows]),
    }


def half(cell: Ready, mask: np.ndarray, seed: int) -> Ready:
    """The cell on a half of its training images, with a seed of its own."""
    rows, prepared = np.flatnonzero(mask), cell.prepared
    train = dataclasses.replace(
        prepared.train,
        images=prepared.train.images[rows],
        labels=prepared.train.labels[rows],
        ids=prepared.train.ids[rows],
    )
    audit = dataclasses.replace(prepared.audit, labels=prepared.audit.labels[rows], ids=prepared.audit.ids[rows])
    experiment = dataclasses.replace(cell.experiment, seed=seed)
    config = method_config(cell.method.config, experiment)
    return cell._replace(experiment=experiment, config=config, prepared=prepared._replace(train=train, audit=audit))


def answers(cell: Ready, pool: Any, test: Any) -> tuple[np.ndarray, float]:
    """Logits [s n k] of the cell's students for the whole pool, and their accuracy on test images."""
    experiment, shared = cell.experiment, Shared()  # not shared: its keys do not tell halves apart
    made = (
        everything(cell, shared)
        if cell.parsed.on_all
        else intact(distill_cells([cell], shared, View(quiet=True))[0]).distilled
    )
    model = cell.network(cell.protocol.network)
    networks = Networks(
        model, experiment.seed, experiment.students or cell.protocol.students, experiment.epochs, experiment.mirrored
    )
    params, transform = students_of(made, cell.prepared.train, cell.protocol, networks)
    tested = np.asarray(stacked_logits(model, params, to_space(test, transform).images)).argmax(axis=-1)
    logits = np.asarray(stacked_logits(model, params, to_space(pool, transform).images))
    return logits, float(np.mean(tested == np.asarray(test.labels)))


def everything(cell: Ready, shared: Shared) -> DistilledSet:
    """All images of the cell as a distilled set, so that the same protocol trains on them."""
    train = preprocessed(cell, shared).train
    return DistilledSet(
        images=jnp.asarray(train.images),
        labels=jnp.asarray(train.labels, jnp.int32),
        num_classes=train.num_classes,
        space=cell.transform.fingerprint,
        preprocess=cell.transform,
    )


def membership_of(settings: Annotated[Settings, tyro.conf.arg(name="")]) -> int:
    """Attack, write the row, and print the result."""
    check_file("--out", settings.out)
    use_data_dir(settings.data_dir)
    view = View(settings.quiet)
    experiment = settings.settled()
    with policy(experiment.precision or default()):
        row = attacked(experiment, settings.shadows, view)
    append(settings.out, row | {"command": as_repeated("membership")})
    found = row["membership"]
    print(
        f"AUC {found['auc']:.3f}, {100 * found['tpr_at_1']:.1f} % found at 1 % false alarms, accuracy "
        f"{100 * row['last_acc']:.1f} %; written to {settings.out}"
    )
    return 0


if __name__ == "__main__":
    main(membership_of, __doc__)
