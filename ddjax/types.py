"""The types that the layers of the library share.

Letters for axes, in every file: n training examples, m distilled images, b examples of a batch, k classes, d features,
p members of a pool, s students; h, w, c are height, width and channels of an image.
"""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int, Key

from ddjax.trees import record

PRNGKey = Key[Array, ""]
Images = Float[Array, "n h w c"]
Params = Any  # a pytree of arrays; running statistics of batch norm are under "batch_stats"
Metrics = dict[str, Array]

PIXELS = "pixels"  # the space of raw uint8 images; any other space is the fingerprint of a Preprocess


@record(static=("num_classes", "space"))
class TrainSet:
    """Training data of a method: images, the given labels (possibly wrong), and ids. It has no clean labels."""

    images: Any  # [n h w c], uint8 pixels or floats of `space`; or a `rows.Images` of it, which is read by row
    labels: Any  # int32 [n]
    ids: Any  # int32 [n], the canonical index of each example
    num_classes: int
    space: str = PIXELS


@record(static=("num_classes",))
class Audit:
    """The clean labels by id. Only the evaluation receives them; distillers, feeds and experts do not."""

    ids: Any  # int32 [n], the canonical index of each example
    labels: Any  # int32 [n]
    num_classes: int


@record(static=("num_classes", "space"))
class TestSet:
    """Test images and clean labels. Nothing is chosen by them."""

    __test__ = False  # pytest must not collect it

    images: Any  # [n h w c], uint8 pixels or floats of `space`
    labels: Any  # int32 [n]
    num_classes: int
    space: str = PIXELS


class Model(NamedTuple):
    """A network as pure functions, without a framework or mutable variables.

    `apply` and `features` are the functions in test mode. `train` is `apply` in training mode. It also takes a 0/1
    weight per image (0 for the padding of a last batch), and returns the params with updated running statistics. For a
    network without batch norm it returns `apply` and the unchanged params. `spec` describes the network in words. A
    cache key contains `spec` and a hash of the program from `models.specification`.
    """

    init: Callable[[PRNGKey], Params]
    apply: Callable[[Params, Images], Float[Array, "n k"]]
    features: Callable[[Params, Images], Float[Array, "n d"]]  # the input of the last layer
    train: Callable[[Params, Images, Float[Array, "n"]], tuple[Float[Array, "n k"], Params]]
    spec: str = ""


class Feed(NamedTuple):
    """Batches as a function of the step: `at(data, step)`.

    `data` holds the arrays, so they are arguments of the compiled program and not constants. Images may be on the host
    (`rows.HostRows`): the loop reads the rows ahead that `at` asks for as `data.images[rows]`. Other arrays that do not
    fit in memory are read by `fetch(first, count)`, for `count` steps from step `first` on; `at` then receives the pair
    of `data` and what was fetched.
    """

    data: Any
    at: Callable[[Any, Int[Array, ""]], Any]
    fetch: Callable[[int, int], Any] | None = None
    most: int | None = None  # number of steps that are fetched together, at most


class Distiller(NamedTuple):
    """A method as three pure functions. The caller applies jit, vmap, scan, sharding and donation.

    A state is a pytree with a field `step`, int32 [], the number of completed steps. Randomness is a function of a key
    and that number. `ddjax.execution.guard` rejects an update that is not finite, and still increments `step`. Stacked
    members of which a step changes at most one are a `trees.Stacked`.
    """

    init: Callable[[PRNGKey, Any], Any]  # (key, start) -> state
    step: Callable[[Any, Any], tuple[Any, Metrics]]  # (state, batch) -> (state of the same structure, metrics)
    extract: Callable[[Any], "Any"]  # state -> DistilledSet


class Method(NamedTuple):
    """A distiller and everything that an experiment needs to run it. A fork adds a method by defining one."""

    config: type  # a frozen dataclass whose defaults run
    prepare: Callable[..., tuple[Any, Feed]]  # (config, train, model, key) -> (start of init, feed)
    build: Callable[..., Distiller]  # (config, model) -> distiller
    steps: Callable[[Any], int] = operator.attrgetter("steps")  # config -> number of steps of a complete run
    model: Callable[..., Model] | None = None  # (config, image_shape, num_classes) -> network for distilling
    space: str | None = None  # its published preprocessing; None for that of the protocol
    split: tuple[str, ...] = ()  # fields of a batch whose leading axis `execution.mesh` may split over devices
