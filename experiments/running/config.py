"""The settings of one experiment, which determine its numbers."""

import dataclasses
import functools
import pathlib
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from ddjax import ranges
from ddjax.distillers.setup import check_fields
from ddjax.names import check_known
from ddjax.noise import human
from ddjax.noise.spec import RATELESS
from ddjax.precision import default
from ddjax.ranges import Count, Natural, PartialShare, Range, Seed, Share
from experiments.running.options import read_options

# Data sets whose images change their meaning in a mirror.
NO_FLIP = ("digits", "mnist", "svhn_cropped")
# protocol -> the baseline that trains on the whole set
BASELINE_OF = {
    "datm": "B-DATM",
    "dance": "B-DANCE",
    "rcig": "B-RCIG*",
    "frepo": "B-RCIG*",
    "ncfm": "B-DANCE",
    "common": "B-PLAIN",
    "quick": "B-COSINE",
    "dd-ranking": "B-PLAIN",
}
# protocol -> the preprocessing of methods without one of their own
SPACE_OF = {
    **{"datm": "datm", "dance": "dance", "rcig": "rcig", "frepo": "rcig", "ncfm": "dance"},
    **{"common": "standardize", "quick": "standardize", "dd-ranking": "standardize"},
}


def baseline_of(protocol: str) -> str:
    """The training on the whole set that belongs to a protocol; that of `common` for a protocol of a fork."""
    return BASELINE_OF.get(protocol, BASELINE_OF["common"])


def flips(dataset: str) -> bool:
    """Whether training may flip the images of a data set; `tfds:NAME` is NAME."""
    return re.sub(r"^tfds:(\w+).*", r"\1", dataset) not in NO_FLIP


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A cell: the data, the noise, the method, and how its result is scored.

    Attributes:
        dataset: digits, cifar10, cifar100, tiny_imagenet, any TFDS name, a folder, .npz, .csv, or module:ATTRIBUTE.
        noise: clean, symmetric, asymmetric, pairflip, a human label set such as worst, part_dependent, pmd, ..., or
            module:ATTRIBUTE.
        rate: nominal share of wrong labels; by default 0.4 for the kinds of noise that have a rate.
        method: random, herding, kcenter, rcig, ..., full (no reduction), or module:METHOD; a robust rule such as elr or
            coteaching, cleanlab, METHOD+relabel, prune+METHOD; an unknown name lists all.
        ipc: images per class of the distilled set.
        seed: of everything that is trained; the noise has a seed of its own.
        steps: distillation steps, the method's own number by default.
        protocol: how students are trained: datm, dance, rcig, frepo, ncfm, common, quick, dd-ranking, or
            module:ATTRIBUTE.
        baseline: for method full and robust rules: B-DATM, B-DANCE, B-RCIG*, B-EVAL, B-COSINE, B-AUGMENTED, B-PLAIN; by
            default the protocol's.
        noise_seed: of the noise.
        sampler: numpy_legacy (bit-exact to published noise) or jax (one key per id).
        order: original, or tfds for noise that was drawn in the read order of TFDS.
        labels_file: a file of human labels, if it is not in the manual folder of TFDS.
        matrix_file: the transition matrix of the noise custom.
        limit: train on the first `limit` images; the noise is still drawn for all images.
        imbalance: ratio of a long tail that is sampled before the noise is drawn.
        preprocess: unit, standardize, dance, datm, datm_plain, rcig; by default the method's or the protocol's.
        network: replaces the protocol's architecture, by name or module:ATTRIBUTE.
        width: of a network that has one; by default 32 for a ConvNet on images of up to 16 pixels, else as published.
        depth: of a network that has one; by default that of a ConvNet depends on the image size.
        students: networks trained per score; by default the protocol's number, and one for training on the whole set.
        flip: whether training may use mirror images; off for images with another meaning in a mirror, such as letters.
            The data sets digits, mnist and svhn_cropped are never flipped.
        holdout: share of the whole set left out of a second training, whose given labels pick an epoch; 0: none.
        epochs: of students or of the baseline; replaces the published number.
        precision: of the products of networks: float32, tensorfloat32, bfloat16_3x or bfloat16; by default float32 on
            a CPU, tensorfloat32 on a GPU and bfloat16 on a TPU. A row names it.
        options: further fields of the method's configuration, as name=value; a boolean is true or false.
    """

    dataset: str = "digits"
    noise: str = "symmetric"
    rate: Share | None = None
    method: str = "full"
    ipc: Count = 10
    seed: Seed = 0
    steps: Natural | None = None
    protocol: str = "common"
    baseline: str | None = None
    noise_seed: Seed = 0
    sampler: str = "numpy_legacy"
    order: str = "original"
    labels_file: str | None = None
    matrix_file: str | None = None
    limit: Count | None = None
    imbalance: Annotated[float, Range(1)] | None = None
    preprocess: str | None = None
    network: str | None = None
    width: Count | None = None
    depth: Count | None = None
    students: Count | None = None
    epochs: Count | None = None
    flip: bool = True
    holdout: PartialShare = 0.1
    precision: str | None = None
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check types and ranges; options may be a list, as in JSON."""
        if isinstance(self.options, str):
            raise ValueError(f"options must be a list, such as [{self.options!r}]; got {self.options!r}")
        if isinstance(self.options, list):
            object.__setattr__(self, "options", tuple(self.options))
        ranges.fields(self)

    def settled(self) -> "Experiment":
        """The same with default rate and precision filled in, and without integers in place of floats, as in TOML.

        Equal runs then have equal fingerprints.
        """
        rate = self.rate if self.rate is not None else 0.0 if self.noise in RATELESS else 0.4
        filled = {"rate": float(rate), "holdout": float(self.holdout), "precision": self.precision or default()}
        filled |= {"imbalance": self.imbalance and float(self.imbalance)}
        return Experiment(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Experiment)} | filled)

    @property
    def mirrored(self) -> bool:
        """Whether training uses mirror images."""
        return self.flip and flips(self.dataset)

    def without(self, names: Collection[str]) -> "Experiment":
        """The same with the defaults of these fields."""
        fields = dataclasses.fields(Experiment)
        return dataclasses.replace(self, **{field.name: field.default for field in fields if field.name in names})


def drawn(noise: str, rate: float | None) -> bool:
    """Whether labels of this noise are drawn: clean ones are not, and people's come from a file."""
    return noise != "clean" and noise not in human.SETS and (noise in RATELESS or bool(rate))


def from_file(path: pathlib.Path) -> Experiment:
    """Read an experiment from a TOML file whose keys are fields of `Experiment`.

    Raises:
      ValueError: the file is not TOML, a key is unknown, or a value is wrong.
    """
    table = read_toml(path)
    if isinstance(table.get("datasets", table.get("methods")), list):
        raise ValueError(f"{path} describes a grid: run it with python -m experiments.sweep --config {path}")
    known_settings(table, Experiment, path)
    try:
        return Experiment(**table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_toml(path: pathlib.Path) -> dict[str, Any]:
    """The content of the TOML file that --config names, or a ValueError that names the file."""
    if not path.is_file():
        raise ValueError(f"--config {path} is not a file: name a TOML file, or leave --config out")
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error


def known_settings(table: Mapping[str, Any], kind: type, path: pathlib.Path) -> None:
    """Raise a ValueError that names a key of the table which is no field of the dataclass `kind`."""
    known = [field.name for field in dataclasses.fields(kind)]
    for name in table:
        check_known(f"setting in {path}", name, known)


def method_config(kind: type, experiment: Experiment) -> Any:
    """The method's configuration from the experiment's ipc, steps, width, depth and options.

    The option `setting=NAME` of DATM selects the configuration published under that name for this `ipc`. Flags and
    other options then replace its fields.

    Raises:
      ValueError: an option cannot be read, or repeats a setting of the experiment.
    """
    start, fields = kind, ranges.annotations(kind)
    chosen: dict[str, Any] = {"ipc": experiment.ipc}
    for name in ("steps", "width", "depth"):
        if name in fields and getattr(experiment, name) is not None:
            chosen[name] = getattr(experiment, name)
    given = list(experiment.options)
    names = [option for option in given if option.startswith("setting=")]
    if len(names) == 1:
        from ddjax.distillers.datm.config import DatmConfig, published

        if kind is DatmConfig:
            given.remove(names[0])
            start = functools.partial(dataclasses.replace, published(names[0].partition("=")[2], experiment.ipc))
    options = read_options(kind, given, experiment.method)
    for name in ("ipc", "steps"):
        if name in options and name in chosen:
            raise ValueError(f"option {name}={options[name]} stands beside {name}={chosen[name]}: leave the option out")
    if "flip" in fields and not experiment.mirrored:
        chosen["flip"] = False
    check_fields(kind, chosen | options)
    return start(**(chosen | options))
