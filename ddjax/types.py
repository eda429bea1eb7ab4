"""The nouns of the library: what one layer hands to the next.

The same letters mean the same axes in every file: n real rows, m distilled rows, b rows of a batch, k classes,
d features, p members of a pool, s students; h w c are height, width and channels of an image.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int, Key

from ddjax.trees import record

PRNGKey = Key[Array, ""]
Images = Float[Array, "n h w c"]
Params = Any  # a pytree of arrays; a network with batch norm keeps its running statistics under "batch_stats"
Metrics = dict[str, Array]

PIXELS = "pixels"  # the space of raw uint8 images; every other space is named by a Preprocess's fingerprint


@record(static=("num_classes", "space"))
class TrainSet:
    """What a method may see: images, the labels as given (perhaps wrong), and ids. Never the truth."""

    images: Any  # [n h w c], uint8 pixels or floats of `space`
    labels: Any  # int32 [n]
    ids: Any  # int32 [n], the canonical index of each example
    num_classes: int
    space: str = PIXELS


@record(static=("num_classes",))
class Audit:
    """The clean labels by id. Only measurements receive one; no distiller, feed or expert can."""

    ids: Any  # int32 [n], the canonical index of each example
    labels: Any  # int32 [n]
    num_classes: int


@record(static=("num_classes", "space"))
class TestSet:
    """Clean test images and labels, read once, after training."""

    __test__ = False  # pytest must not collect it

    images: Any  # [n h w c], uint8 pixels or floats of `space`
    labels: Any  # int32 [n]
    num_classes: int
    space: str = PIXELS


class Model(NamedTuple):
    """A network as distillers see it: no framework, no variables, no mutable collections.

    `apply` and `features` are the test-time functions. `train` is `apply` in training mode: it also takes a 0/1
    weight per image (padding of a last batch) and hands back the params with running statistics moved on; for a
    network without batch norm that is `apply` and the params unchanged. `spec` says in words what the network was built
    from; `models.specification` adds a hash of its program, and the two are the network's part of a cache's key.
    """

    init: Callable[[PRNGKey], Params]
    apply: Callable[[Params, Images], Float[Array, "n k"]]
    features: Callable[[Params, Images], Float[Array, "n d"]]  # what the last layer reads
    train: Callable[[Params, Images, Float[Array, "n"]], tuple[Float[Array, "n k"], Params]]
    spec: str = ""


class Feed(NamedTuple):
    """Batches as a function of the step. `data` holds the arrays, so none is compiled in as a constant.

    Where they do not fit, `fetch(first, count)` reads what `at` needs for those steps, and takes the place of `data`.
    """

    data: Any
    at: Callable[[Any, Int[Array, ""]], Any]
    fetch: Callable[[int, int], Any] | None = None


class Distiller(NamedTuple):
    """A method as three pure functions; jit, vmap, scan, sharding and donation are applied by whoever holds it.

    A state is a pytree with a field `step`, int32 []: how many steps were taken, from 0. Randomness is a function of
    a key and that number. `ddjax.execution.guard` rejects an update that is not finite; `step` still moves on.
    Members of which a step changes at most one are a `trees.Stacked`.
    """

    init: Callable[[PRNGKey, Any], Any]  # (key, start) -> state
    step: Callable[[Any, Any], tuple[Any, Metrics]]  # (state, batch) -> the same structure, shapes and dtypes
    extract: Callable[[Any], "Any"]  # state -> DistilledSet


def steps_of(config: Any) -> int:
    """The field `steps` of a method's configuration."""
    return config.steps


class Method(NamedTuple):
    """A distiller with everything that an experiment needs to run it; a fork adds one file that defines a `Method`."""

    config: type  # a frozen dataclass whose defaults run
    prepare: Callable[..., tuple[Any, Feed]]  # (config, train, model, key) -> what init starts from, and the feed
    build: Callable[..., Distiller]  # (config, model) -> the three functions
    steps: Callable[[Any], int] = steps_of  # config -> number of steps of a run; by default its field `steps`
    model: Callable[..., Model] | None = None  # (config, image_shape, num_classes) -> the network it distils with
    space: str | None = None  # the preprocessing it is published with; None for the protocol's
    split: tuple[str, ...] = ()  # fields of a batch whose leading axis `ddjax.execution.mesh` may split over devices
