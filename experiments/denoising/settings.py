"""Settings of `experiments.denoise`, and what follows from them before any data are read."""

import dataclasses
import pathlib
from typing import Annotated, Any, Literal

import tyro

from ddjax.ranges import Count, Natural, PositiveShare, Range, Seed, Share


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the command.

    Attributes:
      data: images: a folder with one sub-folder per class, an .npz file, a .csv file of paths and labels, a folder that
        the package datasets reads (load_from_disk or imagefolder), or the name of a data set. Leave it out beside
        --labels.
      features: numbers that describe the examples: an .npy, .npz, .parquet or .csv file with a row for each. They are
        judged in place of images.
      pred_probs: class probabilities of networks that did not train on the labels they are asked about: an .npy, .npz,
        .parquet or .csv file with a row for each example. They are judged as they are.
      embed: compute the features by a pretrained network, as timm:NAME.
      labels: labels of the features or predictions, if there are no images: an .npy, .npz, .parquet or .csv file. A
        table may have the columns id and text as well.
      label_column: name of the column of labels, or of the array in an .npz; by default it is found.
      image_column: name of the column of images in a folder of the package datasets; by default it is found.
      method: what judges: for images ridge, plain, cleanlab, a distiller (dance, herding, ...), module:ATTRIBUTE, ...;
        for features prototypes, ...; an unknown name lists all. By default auto, which takes what was measured best.
      out: output directory; by default runs/denoise/DATA-METHOD, or DATA-METHOD-NOISE with --noise, where DATA is the
        name of the data set, or the path with _ for each separator. The run replaces the files of an earlier one there.
      ipc: distilled images or prototypes per class.
      steps: distillation steps; by default a few hundred for dance, dm, rcig, frepo and kip, else those of the method.
      options: further fields of the method's configuration, as NAME=VALUE; a boolean is true or false.
      students: number of networks of a distiller, and of small_loss.
      protocol: evaluation protocol that trains the students.
      epochs: training epochs of the students; by default those of the protocol.
      plain_epochs: training epochs of networks that learn from all labels, by default 25; for cleanlab, and for
        small_loss, which stops after a tenth of them, by default 200.
      network: architecture of the networks; by default that of the protocol.
      width: channels of the first block, if the network is a ConvNet.
      depth: number of blocks, if the network is a ConvNet.
      flip: augment with horizontal flips. Use --no-flip if a flipped image has another meaning, such as a letter. The
        data sets digits, mnist and svhn_cropped are never flipped.
      score: score for the ranking: posterior, self_confidence, margin, loss, confidence_weighted_entropy, disagreement
        or hybrid.
      precision: flag labels of which at least this share is expected to be wrong.
      folds: folds of cross-validation.
      seed: seed of all training.
      image_size: crop and resize every image to this side; by default 64 if the images differ in size.
      limit: use only the first images, this many.
      noise: label noise to add first, as a test: the original labels are then the truth.
      rate: rate of the added noise; by default 0.4 for kinds with a rate.
      noise_seed: seed of the added noise.
      imbalance: imbalance ratio of a long tail, which is cut before noise is added.
      compare: also run cleanlab and small_loss, or ridge and knn on features, or take the likeliest class of
        predictions, and print all detectors against the truth; needs --noise.
      most: number of examples in the gallery.
      decisions: a file that the gallery has saved: accepted suggestions are applied, rejected ones are not.
      export: also write the findings for labelstudio, fiftyone, cleanlab or hf; several, separated by spaces.
      quiet: print errors only.
      data_dir: TFDS directory, if it is not the default.
      images: where training images are kept, as bytes: on the device, on the host, or "auto" for the device if they
        take at most a quarter of its memory. The place is printed; the results are the same.
      deterministic: bit-equal results on an accelerator, at some cost in speed; a CPU always gives them.
    """

    data: tyro.conf.Positional[str | None] = None
    features: pathlib.Path | None = None
    pred_probs: pathlib.Path | None = None
    embed: str | None = None
    labels: pathlib.Path | None = None
    label_column: str | None = None
    image_column: str | None = None
    method: str | None = None
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
    decisions: pathlib.Path | None = None
    export: tuple[str, ...] = ()
    quiet: bool = False
    data_dir: str | None = None
    images: Literal["auto", "device", "host"] = "auto"
    deterministic: bool = False

    @property
    def kind(self) -> str:
        """What is judged: images, features or pred_probs."""
        from ddjax.denoising.predictor import FEATURES, IMAGES, PREDICTIONS

        if self.pred_probs is not None:
            return PREDICTIONS
        return FEATURES if self.features is not None or self.embed is not None else IMAGES

    @property
    def judge(self) -> str:
        """The method, or the default for what is judged."""
        from ddjax.denoising.registry import DEFAULTS

        return self.method or DEFAULTS[self.kind]


def method_options(settings: Settings) -> tuple[dict[str, Any], float]:
    """The options, parsed by the types of the method's configuration, and the noise rate."""
    from ddjax.denoising.predictor import PREDICTIONS
    from ddjax.denoising.registry import choose_predictor
    from experiments.running.config import Experiment, method_config

    same = ("noise", "rate", "ipc", "steps", "options")
    asked = Experiment(**{name: getattr(settings, name) for name in same}, method=settings.judge)
    rate = asked.settled().rate or 0.0
    kind = None if settings.kind == PREDICTIONS else choose_predictor(settings.judge).config
    if kind is None:
        if settings.options or settings.steps is not None:
            raise ValueError(
                f"--method {settings.judge} has no options: leave --options and --steps out, or name a method that has"
            )
        return {}, rate
    named = [option.partition("=")[0] for option in settings.options]
    if "setting" in named:
        raise ValueError("--options does not take setting=NAME here, because such runs take hours: name single options")
    config = method_config(kind, asked)
    options = {name: getattr(config, name) for name in named}
    if settings.steps is not None:
        if "steps" not in {field.name for field in dataclasses.fields(kind)}:
            raise ValueError(f"--method {settings.judge} has no steps: leave --steps out")
        options["steps"] = settings.steps
    return options, rate


def least(settings: Settings, options: dict[str, Any]) -> int:
    """Smallest number of images per class in the files; 1 if labels are changed or images left out afterwards."""
    from ddjax.denoising.distilling import WIDTH, configured, least_images
    from ddjax.denoising.predictor import IMAGES
    from ddjax.denoising.registry import distiller

    if settings.kind != IMAGES or settings.noise != "clean" or settings.imbalance is not None:
        return 1
    method = distiller(settings.judge)
    if method is None:
        return 1
    config = configured(method, settings.judge, settings.ipc, options, settings.width or WIDTH, True)
    return least_images(settings.judge, config)


def check(settings: Settings) -> None:
    """Raise a ValueError for settings that contradict each other or name what does not exist."""
    from ddjax.denoising.denoiser import check_names
    from ddjax.denoising.judging import need_cleanlab
    from ddjax.denoising.predictor import IMAGES
    from ddjax.names import choose
    from ddjax.noise import NoiseSpec
    from experiments.denoising import decisions
    from experiments.denoising.embedding import check_name
    from experiments.denoising.exports import EXPORTS
    from experiments.denoising.unread import refuse_unread

    evidence = [name for name in ("features", "pred_probs", "embed") if getattr(settings, name) is not None]
    if len(evidence) > 1:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in evidence)
        raise ValueError(f"one of {flags} is judged: leave the others out")
    if settings.data is None and not evidence:
        raise ValueError("name a folder, a file or a data set, or pass --features or --pred-probs with --labels")
    if settings.data is None and settings.embed:
        raise ValueError("--embed needs images: name a folder, a file or a data set")
    if (settings.data is None) == (settings.labels is None):
        raise ValueError(
            "--labels belongs to --features or --pred-probs without images; the labels of images come with them"
            if settings.labels
            else "--features and --pred-probs need --labels, or the images that they describe"
        )
    of_images = ("imbalance", "limit", "image_size", "image_column")
    needing = [f"--{name.replace('_', '-')}" for name in of_images if getattr(settings, name) is not None]
    needing += ["--noise part_dependent"] if settings.noise == "part_dependent" else []
    if settings.data is None and needing:
        words = "images are needed; name a folder, a file or a data set, or leave this out"
        raise ValueError(f"{', '.join(needing)}: {words}")
    if settings.noise.startswith("pmd"):
        raise ValueError(f"--noise {settings.noise} needs the predictions of a teacher: choose another kind here")
    if settings.noise == "custom":
        words = "--noise custom reads a matrix from a file, for which this command has no flag"
        raise ValueError(f"{words}: name a function that returns the matrix as module:ATTRIBUTE")
    for flag, value in {"--rate": settings.rate, "--noise-seed": settings.noise_seed}.items():
        if settings.noise == "clean" and value:
            raise ValueError(f"{flag} {value} needs --noise: name a kind of noise, or leave {flag} out")
    NoiseSpec(kind=settings.noise, rate=settings.rate or 0.0)  # its name, before data are read
    if settings.compare and settings.noise == "clean":
        raise ValueError("--compare needs true labels: add errors to them with --noise, or leave --compare out")
    if settings.compare and settings.kind == IMAGES:
        need_cleanlab()
    if settings.decisions and not settings.decisions.is_file():
        raise FileNotFoundError(f"--decisions {settings.decisions} does not exist")
    if settings.decisions:
        decisions.read(settings.decisions)  # its columns, before anything is judged
    for name in settings.export:
        choose(EXPORTS, name, "export")
    if settings.embed:
        check_name(settings.embed)
    names = ("protocol", "network", "width", "depth", "score")
    check_names(method=settings.judge, kind=settings.kind, **{name: getattr(settings, name) for name in names})
    refuse_unread(settings)
