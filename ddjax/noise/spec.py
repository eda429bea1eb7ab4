"""One specification for all kinds of label noise, and one function that applies it and records the result."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32

from ddjax import names, ranges
from ddjax.noise import human, instance, transition
from ddjax.noise.corrupt import corrupt
from ddjax.noise.labels import as_ids, as_labels, checksum
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
        if (self.kind == "custom") != (self.matrix_file is not None):
            raise ValueError(f"noise kind 'custom' alone needs matrix_file; got {self.kind!r} and {self.matrix_file!r}")
        if self.labels_file is not None and self.kind in KINDS.keys() - HUMAN:  # an annotator of a fork may read it
            told = f"labels_file={self.labels_file!r} holds human labels, which noise kind {self.kind!r} does not read"
            raise ValueError(f"{told}: name a kind that does, such as 'worst', or leave the file out")


class Noisy(NamedTuple):
    """Given labels in the order of the clean labels, and a record of the noise as JSON."""

    labels: Int32[np.ndarray, "n"]
    record: dict[str, Any]


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


def apply(
    spec: NoiseSpec,
    labels: Any,
    ids: Any,
    num_classes: int,
    dataset: str | None = None,
    *,
    images: Any = None,
    probabilities: Any = None,
    others: Mapping[str, Any] | None = None,
) -> Noisy:
    """Draw given labels for clean labels.

    "numpy_legacy" draws by ascending id (or by `spec.order`), regardless of the order of the arguments. Pass the
    complete canonical set, and take subsets of the result. Only a long-tailed subset is chosen before, by clean label.

    Args:
      spec: the noise.
      labels: clean labels [n] or [n, 1]; coarse labels for noisy100_coarse.
      ids: canonical indices [n].
      num_classes: k.
      dataset: its name, for kinds that are defined per data set.
      images: [n h w c] for part_dependent; uint8 is divided by 255, and floats are unchanged.
      probabilities: predictions [n k] of a teacher, for pmd.
      others: label vectors [n] that come with the data set, by name. A human kind without a `labels_file` takes its
        labels from here, under its name or the published key.

    Returns:
      The given labels, and a record of the noise.

    Raises:
      ValueError: an argument is missing, or does not fit the kind.

    Example:
      >>> noisy = apply(NoiseSpec("symmetric", rate=0.5), np.arange(100) % 4, np.arange(100), 4)
      >>> noisy.record["kind"], noisy.record["n"]
      ('symmetric', 100)
    """
    clean = as_labels(labels, num_classes)
    ids = as_ids(ids, len(clean))
    ascending = np.argsort(ids, kind="stable")
    sorted_already = np.array_equal(ascending, np.arange(len(ids)))

    def sort(array: Any, what: str) -> Any:
        array = None if array is None else np.asarray(array)
        if array is not None and array.shape[:1] != clean.shape:
            raise ValueError(f"{what} must have an entry for each of {len(clean)} labels; got {names.briefly(array)}")
        return array if array is None or sorted_already else array[ascending]

    others = {name: sort(vector, f"others[{name!r}]") for name, vector in (others or {}).items()}
    images, probabilities = sort(images, "images"), sort(probabilities, "probabilities")
    truth = Truth(clean[ascending], ids[ascending], num_classes, dataset, images, probabilities, others)
    drawn, facts = KINDS.get(spec.kind, _from_fork)(spec, truth)
    given = np.empty_like(clean)
    given[ascending] = drawn
    flips = int(np.sum(given != clean))
    return Noisy(
        given,
        {
            "kind": spec.kind,
            "rate": float(spec.rate),
            "effective_rate": flips / max(len(clean), 1),
            "n": len(clean),
            "flips": flips,
            "checksum": checksum(drawn, num_classes),  # by ascending id
            "checksum_in_order": checksum(drawn[_order(spec, truth)], num_classes),  # in the order of drawing
            "sampler": None,
            "seed": None,
            "order": spec.order,
            "clean_counts": np.bincount(clean, minlength=num_classes).tolist(),
            "given_counts": np.bincount(given, minlength=num_classes).tolist(),
            **facts,
        },
    )


def _unchanged(spec: NoiseSpec, truth: Truth) -> tuple[Any, dict]:
    return truth.labels, {}


def _order(spec: NoiseSpec, truth: Truth) -> Any:
    """The rows in the order of drawing."""
    return md5_order(truth.ids.tolist()) if spec.order == "tfds" else slice(None)


def _from_matrix(spec: NoiseSpec, truth: Truth, matrix: np.ndarray) -> tuple[Any, dict]:
    order, drawn = _order(spec, truth), np.empty_like(truth.labels)
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
