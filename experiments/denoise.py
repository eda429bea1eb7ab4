"""Find the wrong labels of an image set.

python -m experiments.denoise path/to/folder --out cleaned
"""

import dataclasses
import pathlib
import shlex
import sys
from typing import Annotated, Any

import tyro

from ddjax import ranges
from ddjax.ranges import Count, Natural, PositiveShare, Range, Seed, Share
from experiments.display.cli import keep_compiled, main, make_deterministic, with_huge_pages

DESCRIPTION = """Distil an image set, train students on the distilled images, and let them judge every label.

Writes labels.csv, a cleaned copy of the labels, the distilled set, report.npz and .json (which ddjax.DenoiseReport.load
reads) and gallery.html. Stopped by SIGTERM or Ctrl-C it exits with status 75, and the same command goes on from what it
has."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to clean, and how.

    Attributes:
      data: a folder with a sub-folder for each class, an .npz, a .csv of paths and labels, or a data set by name.
      method: a distiller (dance, rcig, datm, herding, ...), module:ATTRIBUTE, cleanlab, or small_loss.
      out: the directory; by default runs/denoise/DATA-METHOD.
      ipc: distilled images per class.
      steps: of distillation.
      options: further fields of the method's configuration, as name=value; a boolean is true or false.
      students: networks that judge.
      protocol: how they are trained.
      epochs: of their training, where the protocol's number is too long.
      plain_epochs: of cleanlab's networks, and of the training that small_loss stops a tenth into; by default 200.
      network: another architecture; width and depth are of a ConvNet.
      width: of the networks.
      depth: of the networks.
      upright: mirror images mean something else (digits, letters); digits, mnist and svhn need not be told.
      score: posterior, self_confidence, margin, loss, confidence_weighted_entropy, disagreement or hybrid.
      precision: the share of flagged labels that shall be wrong, at least.
      calibration: channel or mixture.
      folds: of cleanlab's cross-validation.
      seed: of everything that is trained.
      image_size: crop and resize every image to this side.
      limit: look at the first so many images.
      noise: label noise to put in first, to measure with: the labels as they came are then the truth.
      rate: of the noise; by default 0.4 for the kinds that have one.
      noise_seed: which draw of the noise.
      imbalance: ratio of a long tail cut out before the noise.
      compare: run cleanlab and small_loss as well and print all against the truth; needs noise.
      most: images in the gallery.
      quiet: print nothing but errors.
      data_dir: the TFDS directory, when it is not the usual one.
      deterministic: bit-equal results on an accelerator, at some cost in speed; on a CPU they are so anyway.
    """

    data: tyro.conf.Positional[str]
    method: str = "dance"
    out: pathlib.Path | None = None
    ipc: Count = 10
    steps: Natural | None = None
    options: tuple[str, ...] = ()
    students: Count = 5
    protocol: str = "common"
    epochs: Count | None = None
    plain_epochs: Count | None = None
    network: str | None = None
    width: Count | None = None
    depth: Count | None = None
    upright: bool = False
    score: str = "posterior"
    precision: PositiveShare = 0.8
    calibration: str = "channel"
    folds: Annotated[int, Range(2)] = 5
    seed: Seed = 0
    image_size: Count | None = None
    limit: Count | None = None
    noise: str = "clean"
    rate: Share | None = None
    noise_seed: Seed = 0
    imbalance: Annotated[float, Range(1)] | None = None
    compare: bool = False
    most: Natural = 200
    quiet: bool = False
    data_dir: str | None = None
    deterministic: bool = False


def denoise(settings: Annotated[Settings, tyro.conf.arg(name="")]) -> int:
    """Read, judge, write, print."""
    ranges.fields(settings)
    if settings.deterministic:
        make_deterministic()
    import numpy as np

    from ddjax.data import load_all, prepare
    from ddjax.denoising.denoiser import check_names
    from ddjax.noise import NoiseSpec
    from experiments.denoising.stages import what_was_read
    from experiments.display.progress import View

    if settings.compare and settings.noise == "clean":
        raise ValueError("--compare measures against the truth, which is there only where --noise put errors in")
    names = ("method", "protocol", "network", "width", "depth", "score", "calibration")
    check_names(**{name: getattr(settings, name) for name in names})
    options, rate = method_options(settings)
    view = View(settings.quiet)
    view.say(f"reading {settings.data}")
    where = {"image_size": settings.image_size, "data_dir": settings.data_dir}
    dataset = load_all(settings.data, **where, least=least(settings, options))
    noise = NoiseSpec(kind=settings.noise, rate=rate, seed=settings.noise_seed)
    made = prepare(dataset, noise, limit=settings.limit, imbalance=settings.imbalance)
    for line in what_was_read(len(made.train.images), dataset):
        view.say(line)
    rows = np.searchsorted(dataset.ids, made.train.ids)
    name = f"{dataset.name.replace('/', '_')}-{settings.method.replace(':', '_')}"
    out = settings.out or pathlib.Path("runs") / "denoise" / name
    found = judged(
        settings,
        np.asarray(made.train.images),
        np.asarray(made.train.labels),
        options=options,
        ids=made.train.ids.astype(str) if dataset.keys is None else dataset.keys[rows],
        class_names=dataset.class_names,
        keep=out / "stages",
    )
    view.say(f"writing to {out}")
    written = write(found[0], np.asarray(made.train.images), dataset, settings, out)
    said = [found[0].report()]
    if skipped := dataset.provenance.get("skipped"):
        said.append(f"{len(skipped)} files could not be read: see {out / 'skipped.txt'}")
    if settings.noise != "clean":
        said += ["", measure(found, np.asarray(made.audit.labels), dataset.name, rate, settings, out)]
    if not settings.quiet:
        print("\n".join([*said, "", f"written to {out}: {', '.join(written)}"]))
    return 0


def method_options(settings: Settings) -> tuple[dict[str, Any], float]:
    """The options read by the types of the method's configuration, and the noise rate."""
    from ddjax.denoising import DETECTORS
    from ddjax.distillers import DISTILLERS
    from ddjax.names import choose
    from experiments.running.config import Experiment, method_config

    same = ("noise", "rate", "method", "ipc", "steps", "options")
    asked = Experiment(**{name: getattr(settings, name) for name in same})
    rate = asked.settled().rate or 0.0
    if settings.method in DETECTORS:
        if settings.options or settings.steps is not None:
            raise ValueError(f"method {settings.method!r} distils nothing: leave --options and --steps out")
        return {}, rate
    kind = choose(DISTILLERS, settings.method, "method").config
    config = method_config(kind, asked)
    named = [option.partition("=")[0] for option in settings.options]
    if "setting" in named and not hasattr(config, "setting"):
        raise ValueError("denoise takes no setting=NAME, whose runs take hours: give the options that you want changed")
    options = {name: getattr(config, name) for name in named}
    if settings.steps is not None:
        if "steps" not in {field.name for field in dataclasses.fields(kind)}:
            raise ValueError(f"method {settings.method!r} has no number of steps; leave --steps out")
        options["steps"] = settings.steps
    return options, rate


def least(settings: Settings, options: dict[str, Any]) -> int:
    """How many images each class of the files must hold; 1 where labels are changed or images left out afterwards."""
    from ddjax.denoising import DETECTORS
    from ddjax.denoising.distilling import WIDTH, configured, least_images
    from ddjax.distillers import DISTILLERS
    from ddjax.names import choose
    from ddjax.types import SMALL_SIDE

    if settings.method in DETECTORS or settings.noise != "clean" or settings.imbalance is not None:
        return 1
    method, side = choose(DISTILLERS, settings.method, "method"), settings.image_size or 2 * SMALL_SIDE
    config = configured(method, settings.method, settings.ipc, options, side, settings.width or WIDTH, True)
    return least_images(settings.method, config)


def judged(settings: Settings, images: Any, given: Any, *, options: dict[str, Any], **more: Any) -> list:
    """The report of the method, and where it is compared those of the other detectors."""
    from ddjax.denoising import denoise as find
    from experiments.denoising.forecast import compared, forecast
    from experiments.denoising.stages import staged
    from experiments.running.config import NO_FLIP
    from experiments.sweeping.machines import here
    from experiments.sweeping.work import Shape

    names = (
        "students",
        "protocol",
        "epochs",
        "plain_epochs",
        "network",
        "width",
        "depth",
        "calibration",
        "precision",
        "folds",
        "seed",
    )
    more |= {name: getattr(settings, name) for name in names}
    more["flip"] = not (settings.upright or settings.data in NO_FLIP)
    methods, expected = compared(settings.method, settings.compare), {}
    if not settings.quiet:
        shape = Shape(len(images), 0, tuple(images.shape[1:]), len(more["class_names"]))
        expected = forecast(settings, methods, options, more["flip"], shape, here())
    with staged(settings.quiet, expected) as tell:
        first = find(
            images,
            given,
            method=settings.method,
            ipc=settings.ipc,
            options=options,
            score=settings.score,
            report=tell,
            **more,
        )
        # cleanlab and small loss rank as their authors do, by the probability of the given label
        more |= {"score": "self_confidence", "report": tell}
        return [first, *(find(images, given, method=name, **more) for name in methods[1:])]


def write(report: Any, images: Any, dataset: Any, settings: Settings, out: pathlib.Path) -> list[str]:
    """Everything that is left for people and programs; returns the names of the files."""
    from ddjax.storage.files import replacing
    from experiments.denoising import writing
    from experiments.denoising.gallery import gallery

    skipped = dataset.provenance.get("skipped") or []
    report.save(out)
    writing.write_labels(report, out / "labels.csv")
    cleaned = writing.write_cleaned(report, settings.data, dataset, out)
    writing.write_conflicts(report, out / "conflicts.csv")
    writing.write_skipped(skipped, out / "skipped.txt")
    with replacing(out / "gallery.html", "w") as file:
        file.write(gallery(report, images, f"Suspicious labels of {dataset.name}", skipped, settings.most))
    return ["labels.csv", cleaned.name, "gallery.html", "conflicts.csv", "skipped.txt", "report.npz"]


def measure(reports: list, clean: Any, name: str, rate: float, settings: Settings, out: pathlib.Path) -> str:
    """Write a row for each detector into detection.jsonl; returns them as a table."""
    from ddjax.storage.files import replacing
    from ddjax.storage.rows import commit, fingerprint, hardware, to_line, versions
    from experiments.denoising import comparing

    rows = [comparing.measured(report, clean) for report in reports]
    common = {"dataset": name, "noise": settings.noise, "rate": rate, "noise_seed": settings.noise_seed}
    common |= {"seed": settings.seed, "images": len(clean), "limit": settings.limit, "imbalance": settings.imbalance}
    made = {"hardware": hardware(), "commit": commit(), "versions": versions()}
    made["command"] = shlex.join(["python", "-m", "experiments.denoise", *sys.argv[1:]])
    with replacing(out / "detection.jsonl", "w") as file:
        for row, report in zip(rows, reports, strict=True):
            decides = common | {"settings": report.settings, "score": report.score}
            file.write(
                to_line(common | row | made | {"settings": report.settings, "fingerprint": fingerprint(decides)})
            )
            file.write("\n")
    return comparing.as_text(rows)


if __name__ == "__main__":
    with_huge_pages()
    keep_compiled()
    main(denoise, DESCRIPTION)
