"""Set up a method on a training set: its configuration, its network, its data and its distiller."""

import dataclasses
import functools
from collections.abc import Collection
from typing import Any, NamedTuple

from ddjax import checks
from ddjax.models import build_sized
from ddjax.names import check_known
from ddjax.types import Distiller, Feed, Method, Model, PRNGKey, TrainSet


class Setup(NamedTuple):
    """A method that is ready to run on a training set."""

    distiller: Distiller
    start: Any  # `distiller.init(key, start)` is the initial state
    feed: Feed
    steps: int


def set_up(method: Method, config: Any, train: TrainSet, key: PRNGKey, model: Model | None = None) -> Setup:
    """Prepare the data of a method and build its distiller.

    Args:
      method, config: the method and its configuration.
      train: preprocessed images with given labels.
      key: of the preparation.
      model: the network, for methods without one of their own; by default a ConvNet.

    Returns:
      Everything that a run needs but its key.

    Raises:
      ValueError: the images are raw pixels or of one class, or the method cannot use them.

    Example:
      >>> import jax
      >>> from ddjax.distillers import DISTILLERS
      >>> from ddjax.testing import toy_train
      >>> method = DISTILLERS["random"]
      >>> setup = set_up(method, method.config(ipc=1), toy_train(), jax.random.key(0))
      >>> setup.distiller.extract(setup.distiller.init(jax.random.key(1), setup.start)).images.shape
      (3, 8, 8, 3)
    """
    checks.learnable(train)
    if train.num_classes < 2:
        raise ValueError(f"a method needs two classes or more; train.num_classes is {train.num_classes}")
    model = network(method, config, train, model)
    distiller = _built(method, config, model)  # before the preparation, which may train experts: it can raise
    prepared = method.prepare(config, train, model, key)
    if not isinstance(prepared, tuple) or len(prepared) != 2:
        raise ValueError(f"the method's prepare must return the pair (start, feed); got {type(prepared).__name__}")
    checks.kind(prepared[1], Feed, "the feed that the method's prepare returns", "Return (start, ddjax.Feed(data, at))")
    return Setup(distiller, *prepared, method.steps(config))


def network(method: Method, config: Any, train: TrainSet, model: Model | None = None) -> Model:
    """The network of a method: its own; else `model`; else a ConvNet, of width 32 for images of up to 16 pixels."""
    shape = tuple(train.images.shape[1:])
    if method.model is not None:
        return method.model(config, shape, train.num_classes)
    if model is not None:
        return model
    return build_sized("convnet", shape, train.num_classes)


def make_config(method: Method, config: Any = None, **fields: Any) -> Any:
    """The method's configuration with some fields replaced.

    Raises:
      ValueError: `config` is not of the method's type, a field is unknown or without a value, a value is out of range,
        or the configuration has no hash or no number of steps.

    Example:
      >>> from ddjax.distillers import DISTILLERS
      >>> make_config(DISTILLERS["random"], ipc=3).ipc
      3
    """
    if config is None:
        check_fields(method.config, fields)
        made = method.config(**fields)
    else:
        checks.kind(config, method.config, "config", "Build it by `method.config`, or pass its fields instead")
        check_fields(method.config, [*fields, *(field.name for field in dataclasses.fields(config))])
        made = dataclasses.replace(config, **fields)
    kind = method.config.__name__
    try:
        hash(made)
    except TypeError as error:
        raise ValueError(
            f"the configuration {kind} needs a hash ({error}): declare it by @dataclasses.dataclass(frozen=True), with "
            "tuples in place of lists"
        ) from error
    if method.steps is Method._field_defaults["steps"] and not hasattr(made, "steps"):
        raise ValueError(f"the configuration {kind} has no field steps: add it, or pass steps= to Method")
    return made


def check_fields(kind: type, given: Collection[str]) -> None:
    """Check that a configuration has all fields that are given, and defaults for the others.

    Raises:
      ValueError: a field is unknown, or has neither a value nor a default.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in given:
        check_known("field of the method's configuration", name, fields)
    for name, field in fields.items():
        if name not in given and field.default is field.default_factory:  # both are MISSING
            raise ValueError(f"field {name} of {kind.__name__} has no default: give it one that runs")


@functools.lru_cache(maxsize=16)  # the same record for the same settings, so that cached programs are found
def _built(method: Method, config: Any, model: Model) -> Distiller:
    distiller = method.build(config, model)
    checks.kind(distiller, Distiller, "what the method's build returns", "Return Distiller(init, step, extract)")
    return distiller
