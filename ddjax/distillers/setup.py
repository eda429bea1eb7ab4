"""Set up a method on a training set: its configuration, its network, its data and its distiller."""

import dataclasses
import functools
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
    start, feed = method.prepare(config, train, model, key)
    return Setup(distiller, start, feed, method.steps(config))


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
      ValueError: `config` is not of the method's type, a field is unknown, or a value is out of range.

    Example:
      >>> from ddjax.distillers import DISTILLERS
      >>> make_config(DISTILLERS["random"], ipc=3).ipc
      3
    """
    known = [field.name for field in dataclasses.fields(method.config)]
    for name in fields:
        check_known("field of the method's configuration", name, known)
    if config is None:
        return method.config(**fields)
    checks.kind(config, method.config, "config", "Build it by `method.config`, or pass its fields instead")
    return dataclasses.replace(config, **fields)


@functools.lru_cache(maxsize=16)  # the same record for the same settings, so that cached programs are found
def _built(method: Method, config: Any, model: Model) -> Distiller:
    return method.build(config, model)
