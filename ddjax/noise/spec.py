"""One specification for all kinds of label noise, and how each kind draws labels."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import names, ranges
from ddjax.noise import human, instance, transition
from ddjax.noise.corrupt import corrupt
from ddjax.noise.labels import as_labels
from ddjax.noise.orders import md5_order
from ddjax.ranges import Seed, Share


@ranges.settings()
class NoiseSpec:
    """Kind, rate and seed of label noise.

    Attributes:
      kind: a name in KINDS, or the matrix builder or `Annotator` of a fork as `module:ATTRIBUTE`.
      rate: nominal share of flips, 0..1. Kinds with labels or a matrix from a file have no rate: leave it at 0.
      seed: of the sampler; published noise uses 0.
      sampler: "numpy_legacy" (equal to published noise bit for bit) or "jax" (a key per id); see `corrupt`.
      order: of the examples for "numpy_legacy": "original" is ascending id, "tfds" the order of a TFDS read.
      labels_file: of human kinds; by default the published file in the TFDS folder of manual downloads.
      matrix_file: of kind "custom", .npy or .csv.

    Example:
      >>> NoiseSpec("symmetric", rate=0.4).seed
      0
    """

    kind: str = "clean"
    rate: Share = 0.0
    seed: Seed = 0
    sampler: Annotated[str, ("numpy_legacy", "jax")] = "numpy_legacy"
    order: Annotated[str, ("original", "tfds")] = "original"
    labels_file: str | None = None
    matrix_file: str | None = None

    def __post_init__(self) -> None:
        """Check the kind, and the fields that depend on it."""
        names.choose(KINDS, self.kind, "noise kind")
        if self.rate and self.kind in RATELESS:
            raise ValueError(f"noise kind {self.kind!r} has its own rate; leave rate at 0 instead of {self.rate}")
        if ("matrix_file" in reads(self.kind)) != (self.matrix_file is not None):
            raise ValueError(f"noise kind 'custom' alone needs matrix_file; got {self.kind!r} and {self.matrix_file!r}")
        if self.labels_file is not None and "labels_file" not in reads(self.kind):
            told = f"labels_file={self.labels_file!r} holds human labels, which noise kind {self.kind!r} does not read"
            raise ValueError(f"{told}: name a kind that does, such as 'worst', or leave the file out")


class Truth(NamedTuple):
    """The inputs of a noise model: the clean labels in ascending id, and the optional arrays."""

    labels: Any  # int32 [n]
    ids: Any  # int [n]
    num_classes: int
    dataset: str | None
    images: Any  # [n h w c] or None
    probabilities: Any  # [n k] or None
    others: Mapping[str, Any]  # other label vectors of the data set, by name, int [n]


class Annotator(NamedTuple):
    """A noise model of a fork that is not a matrix. It may use each example, and is named as `module:ATTRIBUTE`."""

    draw: Callable[[NoiseSpec, Truth], Any]  # -> given labels [n], in the order of `Truth`


def draw(spec: NoiseSpec, truth: Truth) -> tuple[Any, dict]:
    """The given labels in ascending id, and facts for the record of the noise."""
    return KINDS.get(spec.kind, _from_fork)(spec, truth)


def drawing_order(spec: NoiseSpec, truth: Truth) -> Any:
    """The rows in the order in which their labels are drawn."""
    return md5_order(truth.ids.tolist()) if spec.order == "tfds" else slice(None)


def _unchanged(spec: NoiseSpec, truth: Truth) -> tuple[Any, dict]:
    return truth.labels, {}


def _from_matrix(spec: NoiseSpec, truth: Truth, matrix: np.ndarray) -> tuple[Any, dict]:
    order, drawn = drawing_order(spec, truth), np.empty_like(truth.labels)
    drawn[order] = corrupt(truth.labels[order], matrix, sampler=spec.sampler, seed=spec.seed, ids=truth.ids[order])
    return drawn, {"sampler": spec.sampler, "seed": spec.seed}


def _matrix_kind(spec: NoiseSpec, truth: Truth) -> tuple[Any, dict]:
    if spec.matrix_file is not None:
        return _from_matrix(spec, truth, transition.load_matrix(spec.matrix_file, truth.num_classes))
    counts = np.bincount(truth.labels, minlength=truth.num_classes)
    matrix = transition.matrix(spec.kind, spec.rate, truth.num_classes, truth.dataset, counts)
    return _from_matrix(spec, truth, matrix)


def _from_fork(spec: NoiseSpec, truth: Truth) -> tuple[Any, dict]:
    own = names.choose(KINDS, spec.kind, "noise kind")
    if not isinstance(own, Annotator):
        try:
            inspect.signature(own).bind(spec.rate, truth.num_classes, dataset=None, counts=None)
        except TypeError as error:
            words = "must be a function (rate, num_classes, **context) that returns a matrix, or an Annotator"
            raise ValueError(f"noise kind {spec.kind!r} {words}: {error}") from error
        return _matrix_kind(spec, truth)
    drawn = as_labels(own.draw(spec, truth), truth.num_classes, f"labels of {spec.kind!r}")
    if drawn.shape != truth.labels.shape:
        raise ValueError(f"{spec.kind!r} gave {len(drawn)} labels for {len(truth.labels)} examples")
    return drawn, {"sampler": spec.kind, "seed": spec.seed}


def _human(spec: NoiseSpec, truth: Truth, *, name: str, surrogate: bool) -> tuple[Any, dict]:
    expected = human.SETS[name]
    named = (truth.dataset or expected.dataset).removesuffix("_n").removesuffix("_coarse")
    if named != expected.dataset or (truth.num_classes != expected.num_classes):
        raise ValueError(
            f"human labels {name!r} are for {expected.dataset} with {expected.num_classes} classes, not for "
            f"{truth.dataset!r} with {truth.num_classes}"
        )
    own = next((vector for key, vector in truth.others.items() if human.SYNONYMS.get(key, key) == name), None)
    if own is not None and spec.labels_file is None:
        clean, given = truth.labels, as_labels(own, truth.num_classes, f"labels {name!r} of {truth.dataset!r}")
    else:
        examples = {} if surrogate else {"clean": truth.labels, "ids": truth.ids}  # a surrogate counts all labels
        given, clean = human.human_labels(name, path=spec.labels_file, **examples)
    return _from_matrix(spec, truth, transition.estimate(clean, given, truth.num_classes)) if surrogate else (given, {})


def _part_dependent(spec: NoiseSpec, truth: Truth) -> tuple[Any, dict]:
    if not spec.rate:
        return truth.labels, {}
    if truth.images is None:
        raise ValueError("part_dependent noise depends on the images: pass images=[n h w c] to apply()")
    key = jax.random.key(spec.seed)
    drawn = instance.part_dependent(truth.images, truth.labels, truth.num_classes, spec.rate, key, ids=truth.ids)
    pixels = "uint8 / 255" if truth.images.dtype == np.uint8 else f"{truth.images.dtype} as given"
    return drawn, {"sampler": "jax", "seed": spec.seed, "pixels": pixels}


def _pmd(spec: NoiseSpec, truth: Truth, *, kind: str) -> tuple[Any, dict]:
    if not spec.rate:
        return truth.labels, {}
    shape = (len(truth.labels), truth.num_classes)
    if truth.probabilities is None or truth.probabilities.shape != shape:
        raise ValueError(f"pmd noise needs a teacher: pass its soft predictions {list(shape)} as probabilities=")
    probabilities = jnp.asarray(truth.probabilities, jnp.float32)
    factor = instance.tune_factor(probabilities, jnp.asarray(truth.labels), spec.rate, kind=kind)
    ids = jnp.asarray(truth.ids, jnp.uint32)
    drawn = instance.pmd(probabilities, ids, jax.random.key(spec.seed), kind=kind, factor=factor)
    return np.asarray(drawn), {"sampler": "jax", "seed": spec.seed, "factor": factor}


KINDS: dict[str, Callable[..., tuple[Any, dict]]] = {
    "clean": _unchanged,
    **dict.fromkeys(transition.KINDS, _matrix_kind),
    "custom": _matrix_kind,
    **{name: partial(_human, name=name, surrogate=False) for name in human.SETS},
    **{f"human_surrogate:{name}": partial(_human, name=name, surrogate=True) for name in human.SETS},
    "part_dependent": _part_dependent,
    "pmd": partial(_pmd, kind="I"),
    **{f"pmd:{kind}": partial(_pmd, kind=kind) for kind in instance.KEEP},
}
HUMAN = frozenset(name for name, draw in KINDS.items() if getattr(draw, "func", None) is _human)
RATELESS = HUMAN | {"clean", "custom"}
FILES = ("labels_file", "matrix_file")  # the fields of `NoiseSpec` that name a file


def reads(kind: str) -> frozenset[str]:
    """Those of `FILES` that a kind of noise reads. An annotator of a fork may read a file of labels.

    Example:
      >>> [*reads("custom")], [*reads("worst")], [*reads("symmetric")]
      (['matrix_file'], ['labels_file'], [])
    """
    if kind == "custom":
        return frozenset({"matrix_file"})
    return frozenset({"labels_file"}) if kind in HUMAN or kind not in KINDS else frozenset()
