"""Run a method from start to end: preprocess, prepare, build, initialise, distil, and attach the preprocessing."""

import dataclasses
from typing import Any, NamedTuple, overload

import jax
import numpy as np
from jax.sharding import Mesh

from ddjax import checks, preprocess
from ddjax.data import to_space
from ddjax.distilled import DistilledSet
from ddjax.distillers import DISTILLERS
from ddjax.distillers.setup import Setup, make_config, network, set_up
from ddjax.execution.distill import distill
from ddjax.execution.fleet import init_members, per_member
from ddjax.execution.guard import SKIPPED, Diverged, attempted, intact
from ddjax.execution.loop import Log
from ddjax.execution.mesh import distill_over
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.names import choose
from ddjax.preprocess import Preprocess
from ddjax.storage.compiled import keep_compiled
from ddjax.timing import Share, Timer, ledger
from ddjax.types import PIXELS, Method, Model, PRNGKey, TrainSet

SPACE = "standardize"  # of a method without a preprocessing of its own


class Outcome(NamedTuple):
    """The result of a method.

    Attributes:
      distilled: the distilled set, with its preprocessing.
      log: metric name -> its value at each step.
      seconds: wall time, with compilation and earlier processes; a fleet's is divided by the number of its members.
      steady: the same without compilation, and without work that several runs share.
      shared: name -> work that several runs share, such as experts.
    """

    distilled: DistilledSet
    log: Log
    seconds: float
    steady: float
    shared: dict[str, Share]

    @property
    def skipped(self) -> int | None:
        """The number of rejected updates; None for a method without steps."""
        return int(self.log[SKIPPED].sum()) if SKIPPED in self.log else None


@overload
def run_method(
    method: str | Method,
    train: TrainSet,
    key: PRNGKey,
    config: Any = None,
    *,
    transform: Preprocess | None = None,
    model: Model | None = None,
    mesh: Mesh | None = None,
    images: str = "auto",
    options: RunOptions = DEFAULTS,
    **fields: Any,
) -> Outcome: ...


@overload
def run_method(
    method: str | Method,
    train: list[TrainSet],
    key: PRNGKey | list[PRNGKey],
    config: Any = None,
    *,
    transform: Preprocess | None = None,
    model: Model | None = None,
    mesh: Mesh | None = None,
    images: str = "auto",
    options: RunOptions = DEFAULTS,
    **fields: Any,
) -> list[Outcome | Diverged]: ...


def run_method(
    method: str | Method,
    train: TrainSet | list[TrainSet],
    key: PRNGKey | list[PRNGKey],
    config: Any = None,
    *,
    transform: Preprocess | None = None,
    model: Model | None = None,
    mesh: Mesh | None = None,
    images: str = "auto",
    options: RunOptions = DEFAULTS,
    **fields: Any,
) -> Outcome | list[Outcome | Diverged]:
    """Distil a training set by a method.

    A list of training sets of one shape runs a fleet in one compiled program, with a mesh one member after the other.
    Images that are the same array in several sets are stored once. A member that diverges has the error in place of an
    outcome; the others finish.

    Args:
      method: a name in DISTILLERS, "module:METHOD", or a Method.
      train: a training set, or a list of them. Pixels are preprocessed first.
      key: a typed random key. One for all members, or a list.
      config: the method's configuration; by default `method.config(**fields)`.
      transform: the preprocessing. By default the method's, or "standardize", fitted on pixels. Images that are
        preprocessed already need it only to be attached to the distilled set.
      model: the network, only for methods without one of their own; by default a ConvNet.
      mesh: shards the batches of the method over several devices; see `execution.mesh`.
      images: where pixels are kept, as bytes that are preprocessed in each batch: "device", "host", or "auto" for the
        device if they take at most a quarter of its memory. The result has the same bits.
      options: progress, checkpoints and patience. The report is first called with 0 steps done.
      fields: fields of the configuration, for example ipc=10. They replace those of `config`.

    Returns:
      The outcome; for a list, the outcome or the error of each member.

    Raises:
      ValueError: a name or a field is unknown, a value is out of range, the training sets cannot be used, or the method
        cannot use a mesh or a model.
      Diverged: a single run diverged.

    Example:
      >>> import ddjax, jax
      >>> data = ddjax.prepare(ddjax.synthetic(3, 8, (4, 4, 1)), ddjax.NoiseSpec("symmetric", rate=0.4))
      >>> outcome = ddjax.run_method("herding", data.train, jax.random.key(0), ipc=2)
      >>> outcome.distilled.images.shape, outcome.distilled.preprocess is not None
      ((6, 4, 4, 1), True)
    """
    timer = Timer()
    keep_compiled()
    trains = train if isinstance(train, list) else [train]
    keys = per_member(key, len(trains), "key")
    method = choose(DISTILLERS, method, "method", Method) if isinstance(method, str) else method
    checks.kind(method, Method, "method", "Name one in ddjax.DISTILLERS, or pass the Method of a fork")
    checks.kind(options, RunOptions, "options", "Pass fields of the method's configuration by name: ipc=10")
    config = make_config(method, config, **fields)
    _check(trains, keys)
    if len(trains) > 1 and not isinstance(key, list):
        keys = list(map(jax.random.clone, keys))  # members that share a key do not reuse it by mistake
    preprocess.check_place(images)
    if model is not None:
        checks.kind(model, Model, "model", "ddjax.build makes one")
        if method.model is not None:
            raise ValueError(
                "model is for methods without a network of their own, and this method builds one by its configuration, "
                "such as width= and depth=: leave out model"
            )
    if mesh is not None:
        checks.kind(mesh, Mesh, "mesh", "ddjax.execution.mesh.mesh_of makes one")
    if mesh is not None and not method.split and method.steps(config):
        raise ValueError(
            "mesh divides the fields that a method names in `split`, and this method names none: leave out mesh"
        )
    model = network(method, config, trains[0], model)  # its errors come before the pixels are preprocessed
    trains, transforms = _preprocessed(method, trains, transform, images)

    def begun(train: TrainSet, key: PRNGKey) -> tuple[Setup, PRNGKey, dict[str, Share]]:
        prepare_key, init_key = jax.random.split(key)
        with ledger() as shared:
            setup = set_up(method, config, train, prepare_key, model)
        return setup, init_key, shared

    members = [attempted(begun, *member) for member in zip(trains, keys, strict=True)]
    running = [i for i, member in enumerate(members) if not isinstance(member, Diverged)]
    outcomes: list[Any] = list(members)
    if running:
        setups, init_keys, shares = zip(*(members[i] for i in running), strict=True)
        ended = _distilled(method, list(setups), list(init_keys), mesh, options)
        for i, shared, member in zip(running, shares, ended, strict=True):
            outcomes[i] = member
            if not isinstance(member, Diverged):
                state, log = member
                made = setups[0].distiller.extract(state)
                checks.kind(made, DistilledSet, "what the method's extract returns", "See ddjax.DistilledSet")
                chosen = trains[i].images[made.images] if made.images.ndim == 1 else made.images  # selected rows
                made = dataclasses.replace(made, images=chosen, preprocess=transforms[i], space=trains[i].space)
                outcomes[i] = Outcome(made, log, 0.0, 0.0, shared)
        jax.block_until_ready([each.distilled.images for each in outcomes if isinstance(each, Outcome)])
        here = sum(share.here for shared in shares for share in shared.values())
        carried = options.checkpoints.carried if options.checkpoints else 0.0
        spent = {"seconds": timer.seconds + carried, "steady": max(0.0, timer.steady - here) + carried}
        spent = {name: seconds / len(trains) for name, seconds in spent.items()}
        outcomes = [each._replace(**spent) if isinstance(each, Outcome) else each for each in outcomes]
    return outcomes if isinstance(train, list) else intact(outcomes[0])


def _check(trains: list[TrainSet], keys: list[PRNGKey]) -> None:
    if not trains:
        raise ValueError("train must be a training set or a list of at least one; got an empty list")
    for train in trains:
        checks.train_set(train)
    for key in keys:
        checks.key(key, "key")
    kinds = {(tuple(train.images.shape), train.num_classes, train.space) for train in trains}
    if len(kinds) != 1:
        raise ValueError(f"training sets that run together have one shape, number of classes and space; got {kinds}")


def _preprocessed(
    method: Method, trains: list[TrainSet], transform: Preprocess | None, images: str
) -> tuple[list[TrainSet], list[Preprocess | None]]:
    """The training sets in the method's space, and the preprocessing of each."""
    made: dict[int, tuple[TrainSet, Preprocess | None]] = {}  # by the id of the images, which sets may share
    for train in trains:
        if id(train.images) not in made:
            own = transform
            if own is None and train.space == PIXELS:
                own = preprocess.fit(method.space or SPACE, np.asarray(train.images))
            made[id(train.images)] = (train if own is None else to_space(train, own, images), own)
    pairs = [made[id(train.images)] for train in trains]
    moved = [
        dataclasses.replace(train, images=there.images, space=there.space)
        for train, (there, _) in zip(trains, pairs, strict=True)
    ]
    return moved, [own for _, own in pairs]


def _distilled(
    method: Method, setups: list[Setup], keys: list[PRNGKey], mesh: Mesh | None, options: RunOptions
) -> list[tuple[Any, Log] | Diverged]:
    """The last state and the log of each member, or its error."""
    distiller, steps = setups[0].distiller, setups[0].steps
    if options.report:
        options.report(0, steps, {})
    if mesh is None:
        states = init_members(distiller, keys, [setup.start for setup in setups])
        return distill(distiller, [setup.feed for setup in setups], states, steps=steps, options=options)

    def over(number: int) -> tuple[Any, Log]:
        own = options if len(setups) == 1 else options.part(f"member-{number}")
        state = distiller.init(keys[number], setups[number].start)
        feed = setups[number].feed
        return distill_over(mesh, distiller, feed, state, split=method.split, steps=steps, options=own)

    return [attempted(over, number) for number in range(len(setups))]
