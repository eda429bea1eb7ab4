"""One experiment as a value: everything that decides its numbers, and nothing else."""

import dataclasses
import functools
import pathlib
import tomllib
from collections.abc import Callable
from typing import Annotated, Any

from ddjax import ranges
from ddjax.names import unknown
from ddjax.noise import human
from ddjax.noise.spec import RATELESS
from ddjax.precision import fastest
from ddjax.ranges import Count, Natural, PartialShare, Range, Seed, Share
from experiments.running.options import read_options

# Data sets whose mirror images mean something else.
UPRIGHT = ("digits", "mnist", "svhn_cropped")
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
FASTEST = "fastest"  # of these on this machine's backend; a row says which it was
# Which full-set baseline stands beside each protocol.
BASELINE_OF = {
    "datm": "B-DATM",
    "dance": "B-DANCE",
    "rcig": "B-RCIG*",
    "common": "B-PLAIN",
    "dd-ranking": "B-PLAIN",
}
# The space each protocol's methods work in; learned methods of later releases bring their own.
SPACE_OF = {"datm": "datm", "dance": "dance", "rcig": "rcig", "common": "standardize", "dd-ranking": "standardize"}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A cell: which data, which noise, which method, and how its result is scored.

    Attributes:
        dataset: digits, cifar10, cifar100, tiny_imagenet, any TFDS name, a folder, .npz, .csv, or module:ATTRIBUTE.
        noise: clean, symmetric, asymmetric, pairflip, a human label set such as worst, part_dependent, pmd, ..., or
            module:ATTRIBUTE.
        rate: nominal share of flipped labels; by default 0.4 for the kinds that have a rate.
        method: random, herding, kcenter, rcig, ..., full (no reduction), or module:METHOD; a robust rule such as elr or
            coteaching, cleanlab, METHOD+relabel, prune+METHOD (see experiments.running.methods).
        ipc: images per class of the distilled set.
        seed: of everything that is trained; the noise has its own.
        steps: distillation steps, the method's own number by default.
        protocol: how students are trained: datm, dance, rcig, common, dd-ranking.
        baseline: for method full: B-DATM, B-DANCE, B-RCIG*, B-EVAL, B-PLAIN; by default the protocol's.
        noise_seed: which draw of the noise.
        sampler: numpy_legacy (bit-exact to published noise) or jax (a key per id).
        order: original, or tfds to imitate noise drawn in TFDS read order.
        labels_file: a file of human labels, where it is not in TFDS's manual folder.
        matrix_file: a transition matrix for noise custom.
        limit: train on the first so many images; the noise is still drawn over all.
        imbalance: ratio of a long tail cut out before the noise.
        preprocess: unit, standardize, dance, datm, datm_plain, rcig; by default the protocol's.
        network: another architecture than the protocol's, by name or module:ATTRIBUTE.
        width: of the network; by default 32 for images up to 16 pixels, else the published width.
        depth: of a ConvNet; by default by image size.
        students: networks trained per score; by default the protocol's, and one where all images are trained on.
        holdout: share of the training set on whose given labels the full baseline's picked epoch is chosen; 0: none.
        epochs: of students or of the baseline, where the published number is too long.
        precision: of products: float32, or tensorfloat32 or bfloat16 factors, faster on accelerators; fastest: what
            this machine's backend is fastest at.
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
    holdout: PartialShare = 0.1
    precision: str = "float32"
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges, and values of another type; options may be a list, as in JSON."""
        if isinstance(self.options, list):
            object.__setattr__(self, "options", tuple(self.options))
        ranges.fields(self)

    def settled(self) -> "Experiment":
        """The same with its rate and precision filled in, so that the same run always has the same fingerprint."""
        rate = self.rate if self.rate is not None else 0.0 if self.noise in RATELESS else 0.4
        filled = {"rate": rate, "precision": fastest() if self.precision == FASTEST else self.precision}
        return Experiment(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Experiment)} | filled)


def drawn(noise: str, rate: float | None) -> bool:
    """Whether labels of this noise are drawn: clean ones are not, and people's come from a file."""
    return noise != "clean" and noise not in human.SETS and (noise in RATELESS or bool(rate))


def from_file(path: pathlib.Path) -> Experiment:
    """Settings from a TOML file of the fields above; flags given beside it win."""
    try:
        table = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    known = [field.name for field in dataclasses.fields(Experiment)]
    for name in table:
        if name not in known:
            raise unknown(f"setting in {path}", name, known)
    return Experiment(**table)


def method_config(kind: type, experiment: Experiment) -> Any:
    """The method's configuration: ipc, steps where it has any, and the options, read by the type of each field.

    The option `setting=NAME` of DATM selects the configuration published under that name for this `ipc`. Flags and
    other options then replace its fields.

    Raises:
      ValueError: an option is not readable, or repeats what the experiment itself says.
    """
    start, fields = kind, ranges.annotations(kind)
    chosen: dict[str, Any] = {"ipc": experiment.ipc}
    for name in ("steps", "width", "depth"):
        if name in fields and getattr(experiment, name) is not None:
            chosen[name] = getattr(experiment, name)
    given = list(experiment.options)
    names = [option for option in given if option.startswith("setting=")]
    if len(names) == 1 and (published := _published(kind)):
        given.remove(names[0])
        start = functools.partial(dataclasses.replace, published(names[0].partition("=")[2], experiment.ipc))
    options = read_options(kind, given, experiment.method)
    for name in ("ipc", "steps"):
        if name in options and name in chosen:
            raise ValueError(f"option {name}={options[name]} stands beside {name}={chosen[name]}: leave the option out")
    if "flip" in fields and experiment.dataset in UPRIGHT:
        chosen["flip"] = False
    return start(**(chosen | options))


def _published(kind: type) -> Callable[[str, int], Any] | None:
    """The constructor of published configurations; None where none have names."""
    from ddjax.distillers.datm import config as datm_config

    return datm_config.published if kind is datm_config.DatmConfig else None
