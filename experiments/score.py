"""Score a distilled set that another library released, by its published protocol and by `common`.

Example: python -m experiments.score images_best.pt --format datm --space datm

Example: python -m experiments.score checkpoint_15000 --format rcig --flip True --architectures convnet resnet18
"""

import dataclasses
import pathlib
import time
from collections.abc import Iterator
from typing import Annotated, Any

import tyro

from ddjax import names
from ddjax.distilled import DistilledSet
from ddjax.distilled.released import FORMATS, Facts, Released, read_released, to_set
from ddjax.distilled.saving import load_distilled
from ddjax.evaluation.protocols import named
from ddjax.execution.guard import intact
from ddjax.precision import default, policy
from ddjax.ranges import Count, Seed
from ddjax.ranges import fields as check_fields
from ddjax.storage.files import sha256
from ddjax.storage.rows import append, fingerprint
from experiments.display.cli import as_repeated, check_file, main, use_data_dir
from experiments.display.progress import View
from experiments.running.config import Experiment
from experiments.running.run import row_of
from experiments.running.scoring import score_students
from experiments.running.shared import Shared, make_ready, pieces

COMMON = "common"


@dataclasses.dataclass(frozen=True)
class Settings(Facts):
    """The file, what it does not say, and how it is scored.

    Attributes:
        file: the released file; for datm and mtt that of the images, with labels_*.pt and lr_*.pt beside it.
        format: datm, mtt, dance, ncfm (torch files), rcig (flax checkpoint), frepo (checkpoint or .npz), npz (any
            .npz of images and labels, or a set that ddjax saved).
        dataset: the data that the set was made from; its test images score it.
        protocol: by default that of the format's publication, and `common`.
        architectures: networks of the students, such as convnet resnet18 vgg11 alexnet; by default the protocol's.
        students: networks per score; by default the protocol's number.
        epochs: of students; replaces the published number.
        width: of a network that has one.
        depth: of a network that has one.
        seed: of the students.
        out: the file that the rows are added to.
        quiet: no progress.
        data_dir: the TFDS directory, if it is not the default.
    """

    file: Annotated[pathlib.Path, tyro.conf.Positional] = tyro.MISSING
    format: str = "npz"
    dataset: str = "cifar10"
    protocol: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    students: Count | None = None
    epochs: Count | None = None
    width: Count | None = None
    depth: Count | None = None
    seed: Seed = 0
    out: pathlib.Path = pathlib.Path("runs/score.jsonl")
    quiet: bool = False
    data_dir: str | None = None

    def __post_init__(self) -> None:
        """Do nothing: `scored` checks the fields. From here, tyro would print the error in its own format."""


def scored(settings: Settings, view: View) -> Iterator[dict[str, Any]]:
    """Score the set once for each protocol and architecture, and yield each row when it is complete.

    Raises:
      ValueError: a name is unknown, or the file cannot be read, does not fit the data set, or leaves a fact open that
        was not given; nothing has been trained.
    """
    check_fields(settings)
    form = names.choose(FORMATS, settings.format, "format")
    if not settings.file.is_file():
        raise ValueError(f"there is no file {settings.file}: name the file of a distilled set")
    facts = Facts(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(Facts)})
    own = settings.format == "npz" and settings.file.with_suffix(".json").exists()
    if own and (told := [name.replace("_", "-") for name, value in vars(facts).items() if value is not None]):
        raise ValueError(f"{settings.file} is a set of ddjax, which says everything: leave out --{', --'.join(told)}")
    released = load_distilled(settings.file) if own else read_released(settings.file, settings.format, facts)
    space = released.facts.space if isinstance(released, Released) else None
    protocols = settings.protocol or tuple(dict.fromkeys((form.protocol, COMMON)))
    networks = settings.architectures or (None,)
    experiments = [
        Experiment(
            dataset=settings.dataset,
            noise="clean",
            rate=0.0,
            method="random",
            ipc=1,
            seed=settings.seed,
            protocol=protocol,
            preprocess=space,
            network=network,
            width=settings.width,
            depth=settings.depth,
            students=settings.students,
            epochs=settings.epochs,
        ).settled()
        for protocol in protocols
        for network in networks
    ]
    for experiment in experiments:
        pieces(experiment)  # reports a wrong name or size before the first score
    use_data_dir(settings.data_dir)
    shared, digest = Shared(), sha256(settings.file)
    for experiment in experiments:
        with policy(experiment.precision or default()):
            row = _row(experiment, released, digest, settings, shared, view)
        yield row


def _row(
    experiment: Experiment,
    released: Released | DistilledSet,
    digest: str,
    settings: Settings,
    shared: Shared,
    view: View,
) -> dict[str, Any]:
    start, cell = time.monotonic(), make_ready(experiment, shared)
    k = cell.prepared.train.num_classes
    made = released if isinstance(released, DistilledSet) else to_set(released, cell.transform, k)
    scores, part = intact(score_students([cell], [made], shared, view)[0])
    row = row_of(cell, part, time.monotonic() - start)
    method, ipc = f"released_{settings.format}", max(1, len(made.images) // k)
    config = dataclasses.asdict(dataclasses.replace(experiment, method=method, ipc=ipc))
    told = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Facts)}
    return row | {
        "method": method,
        "ipc": ipc,
        "config": config,
        "operations": None,
        "student_rate": scores.rate,
        "released": {"file": settings.file.name, "sha256": digest, **told},
        "fingerprint": fingerprint([digest, told, config]),
    }


def score(settings: Annotated[Settings, tyro.conf.arg(name="")]) -> int:
    """Score the set, write the rows, and print the accuracies."""
    check_file("--out", settings.out)
    command = as_repeated("score")
    for row in scored(settings, View(settings.quiet)):
        append(settings.out, row | {"command": command})
        network = row["config"]["network"] or named(row["config"]["protocol"]).network
        print(
            f"{row['protocol']}, {network}: {100 * row['last_acc']:.1f} % after the last epoch "
            f"(standard deviation {100 * row['last_std']:.1f} over {len(row['students'])} networks), "
            f"best epoch {100 * row['best_acc']:.1f} %"
        )
    print(f"written to {settings.out}")
    return 0


if __name__ == "__main__":
    main(score, __doc__)
