"""Find wrong labels in an image set.

Example: python -m experiments.denoise path/to/folder --out cleaned
"""

import dataclasses
import pathlib
import shlex
import sys
from typing import Annotated, Any

import tyro

from ddjax import ranges
from ddjax.ranges import Count, Natural, PositiveShare, Range, Seed, Share
from experiments.display.cli import main, make_deterministic, with_huge_pages

DESCRIPTION = """Distil an image set, train students on the distilled images, and let them judge every label.

Writes labels.csv, a cleaned copy of the labels, gallery.html, the distilled set, and report.npz with report.json, which
ddjax.DenoiseReport.load reads. SIGTERM and Ctrl-C save the run and exit with status 75. The same command continues."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the command.

    Attributes:
      data: a folder with one sub-folder per class, an .npz file, a .csv file of paths and labels, or the name of a data
        set.
      method: a distiller (dance, rcig, datm, herding, ...), module:ATTRIBUTE, cleanlab, or small_loss.
      out: output directory; by default runs/denoise/DATA-METHOD.
      ipc: distilled images per class.
      steps: distillation steps; by default those of the method.
      options: further fields of the method's configuration, as NAME=VALUE; a boolean is true or false.
      students: number of networks that judge the labels.
      protocol: evaluation protocol that trains the students.
      epochs: training epochs of the students; by default those of the protocol.
      plain_epochs: training epochs of cleanlab's networks; small_loss stops after a tenth of them. By default 200.
      network: architecture of the networks; by default that of the protocol.
      width: channels of the first block, if the network is a ConvNet.
      depth: number of blocks, if the network is a ConvNet.
      flip: augment with horizontal flips. Use --no-flip if a flipped image has another meaning, such as a letter. The
        data sets digits, mnist and svhn are never flipped.
      score: score for the ranking: posterior, self_confidence, margin, loss, confidence_weighted_entropy, disagreement
        or hybrid.
      precision: flag labels of which at least this share is expected to be wrong.
      folds: folds of cleanlab's cross-validation.
      seed: seed of all training.
      image_size: crop and resize every image to this side.
      limit: use only the first images, this many.
      noise: label noise to add first, as a test: the original labels are then the truth.
      rate: rate of the added noise; by default 0.4 for kinds with a rate.
      noise_seed: seed of the added noise.
      imbalance: imbalance ratio of a long tail, which is cut before noise is added.
      compare: also run cleanlab and small_loss, and print all detectors against the truth; needs --noise.
      most: number of images in the gallery.
      quiet: print errors only.
      data_dir: TFDS directory, if it is not the default.
      deterministic: bit-equal results on an accelerator, at some cost in speed; a CPU always gives them.
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
    flip: bool = True
    score: str = "posterior"
    precision: PositiveShare = 0.8
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
    """Read the images, judge their labels, write the files and print a summary.

    Args:
      settings: from the command line.

    Returns:
      The exit status, 0.

    Raises:
      ValueError: a setting or the data are wrong; nothing has been trained.
    """
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
        raise ValueError("--compare needs the true labels: add errors with --noise, or leave --compare out")
    names = ("method", "protocol", "network", "width", "depth", "score")
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
    reports = judged(
        settings,
        np.asarray(made.train.images),
        np.asarray(made.train.labels),
        options=options,
        ids=made.train.ids.astype(str) if dataset.keys is None else dataset.keys[rows],
        class_names=dataset.class_names,
        keep=out / "stages",
    )
    view.say(f"writing to {out}")
    clean = None if settings.noise == "clean" else np.asarray(made.audit.labels)
    written = write(reports[0], np.asarray(made.train.images), dataset, settings, out, clean)
    lines = [reports[0].report()]
    if skipped := dataset.provenance.get("skipped"):
        lines.append(f"{len(skipped)} files could not be read; {out / 'skipped.txt'} lists them")
    if clean is not None:
        lines += ["", measure(reports, clean, dataset.name, rate, settings, out)]
    if not settings.quiet:
        print("\n".join([*lines, "", f"written to {out}: {', '.join(written)}"]))
    return 0


def method_options(settings: Settings) -> tuple[dict[str, Any], float]:
    """The options, parsed by the types of the method's configuration, and the noise rate."""
    from ddjax.denoising import WITNESSES
    from ddjax.distillers import DISTILLERS
    from ddjax.names import choose
    from experiments.running.config import Experiment, method_config

    same = ("noise", "rate", "method", "ipc", "steps", "options")
    asked = Experiment(**{name: getattr(settings, name) for name in same})
    rate = asked.settled().rate or 0.0
    if settings.method in WITNESSES:
        if settings.options or settings.steps is not None:
            raise ValueError(f"--method {settings.method} does not distil: leave --options and --steps out")
        return {}, rate
    kind = choose(DISTILLERS, settings.method, "method").config
    named = [option.partition("=")[0] for option in settings.options]
    if "setting" in named:
        raise ValueError("--options does not take setting=NAME here, because such runs take hours: name single options")
    config = method_config(kind, asked)
    options = {name: getattr(config, name) for name in named}
    if settings.steps is not None:
        if "steps" not in {field.name for field in dataclasses.fields(kind)}:
            raise ValueError(f"--method {settings.method} has no steps: leave --steps out")
        options["steps"] = settings.steps
    return options, rate


def least(settings: Settings, options: dict[str, Any]) -> int:
    """Smallest number of images per class in the files; 1 if labels are changed or images left out afterwards."""
    from ddjax.denoising import WITNESSES
    from ddjax.denoising.distilling import WIDTH, configured, least_images
    from ddjax.distillers import DISTILLERS
    from ddjax.names import choose

    if settings.method in WITNESSES or settings.noise != "clean" or settings.imbalance is not None:
        return 1
    method = choose(DISTILLERS, settings.method, "method")
    config = configured(method, settings.method, settings.ipc, options, settings.width or WIDTH, True)
    return least_images(settings.method, config)


def judged(settings: Settings, images: Any, given: Any, *, options: dict[str, Any], **more: Any) -> list:
    """The report of the method, and with --compare those of the other detectors."""
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
        "precision",
        "folds",
        "seed",
    )
    more |= {name: getattr(settings, name) for name in names}
    more["flip"] = settings.flip and settings.data not in NO_FLIP
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
        # the authors of cleanlab and of small loss rank by the probability of the given label
        more |= {"score": "self_confidence", "report": tell}
        return [first, *(find(images, given, method=name, **more) for name in methods[1:])]


def write(report: Any, images: Any, dataset: Any, settings: Settings, out: pathlib.Path, clean: Any) -> list[str]:
    """Write all files except detection.jsonl; returns their names."""
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
        title = f"Suspicious labels of {dataset.name}"
        file.write(gallery(report, images, title, skipped, settings.most, clean))
    return ["labels.csv", cleaned.name, "gallery.html", "conflicts.csv", "skipped.txt", "report.npz"]


def measure(reports: list, clean: Any, name: str, rate: float, settings: Settings, out: pathlib.Path) -> str:
    """Write one row per detector to detection.jsonl; returns the rows as a table."""
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
    main(denoise, DESCRIPTION)
