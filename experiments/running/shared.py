"""Values that the cells of a process share: data, given labels, fitted preprocessings, distilled sets."""

import collections
import dataclasses
import shlex
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from ddjax import preprocess
from ddjax.data import Dataset, Prepared, load, prepare, to_space
from ddjax.data.images import RESIZE
from ddjax.denoising.distilling import least_images
from ddjax.distillers.shared.start import check_class_sizes
from ddjax.evaluation import BASELINES, Baseline, Protocol, protocols
from ddjax.models import build_sized, program
from ddjax.models.sizes import sizes
from ddjax.names import choose
from ddjax.noise import NoiseSpec
from ddjax.precision import POLICIES, default
from ddjax.preprocess import Preprocess
from ddjax.storage.checkpoints import Checkpoints
from ddjax.timing import Timer
from ddjax.training import Recipe, examples_of, fit, stacked_logits
from ddjax.types import Method, Model
from experiments.running.checkpointing import Keeping
from experiments.running.config import SPACE_OF, Experiment, baseline_of, method_config
from experiments.running.methods import Parsed, parse

T = TypeVar("T")
TOO_FEW = (
    "lower ipc, take more training images, or set short_class='repeat' or start='noise' if the method has that option"
)


class Shared:
    """A cache of the most recent values of each kind, by key. A sweep has one in each process."""

    def __init__(
        self,
        mesh: Mesh | None = None,
        sets: Callable[[str], tuple | None] = lambda name: None,
        keeping: Keeping | None = None,
        images: str = "auto",
    ):
        """Start with an empty cache.

        Args:
          mesh: shards a distillation over several devices.
          sets: finds a distilled set that was made before, by its name: (the set, its log, its seconds).
          keeping: where checkpoints are stored. Without it an interrupted run starts again.
          images: where training images are kept as bytes: "device", "host" or "auto"; see `preprocess.placing`.
        """
        self.images = images
        self.mesh, self.sets, self.keeping = mesh, sets, keeping
        self._kept: dict[str, collections.OrderedDict[Hashable, Any]] = {}

    def once(self, kind: str, key: Hashable, make: Callable[[], T], keep: int = 4) -> T:
        """The cached value for this key, or the result of `make`; `keep` is the number of values of this kind."""
        kept = self._kept.setdefault(kind, collections.OrderedDict())
        if key not in kept:
            kept[key] = make()
        kept.move_to_end(key)
        while len(kept) > keep:
            kept.popitem(last=False)
        return kept[key]

    def checkpoints(self, cells: list["Ready"], stage: str, **more: Any) -> Checkpoints | None:
        """The checkpoints of a stage of the cells, where some are stored; see `Keeping.checkpoints`."""
        return self.keeping and self.keeping.checkpoints(cells, stage, **more)


def loaded(name: str) -> Dataset:
    """Load a data set, all of whose images must have one size.

    Raises:
      ValueError: it cannot be read. For images that differ in size the message names the command that resizes them.
    """
    try:
        return load(name)
    except ValueError as error:
        if RESIZE not in str(error):
            raise
        resize = shlex.join(["python", "-m", "experiments.data", "write", name, "resized.npz", "--image-size", "32"])
        way = f"write them at one size, for example by `{resize}`, and use that file"
        raise ValueError(str(error).replace(RESIZE, way)) from error


class Ready(NamedTuple):
    """A cell with its parts chosen and its data prepared, in pixels."""

    experiment: Experiment
    parsed: Parsed
    protocol: Protocol
    baseline: Baseline
    config: Any  # of the method
    dataset: Dataset
    prepared: Prepared
    transform: Preprocess
    space_s: float  # seconds that fitting it took

    @property
    def method(self) -> Method:
        """The distiller; for training on the whole set, the one that keeps all images."""
        return self.parsed.method

    def network(self, name: str) -> Model:
        """The network `name` of a protocol or baseline, or the experiment's, for the images of the cell."""
        return network(self.experiment, name, self.dataset.image_shape, self.dataset.num_classes)


class Pieces(NamedTuple):
    """The objects that the names and numbers of an experiment refer to."""

    parsed: Parsed
    protocol: Protocol
    baseline: Baseline
    noise: NoiseSpec
    config: Any  # of the method
    space: str


def chosen_baseline(experiment: Experiment) -> Baseline:
    """The training on the whole set that an experiment names, or that of its protocol."""
    return choose(BASELINES, experiment.baseline or baseline_of(experiment.protocol), "baseline", Baseline)


def pieces(experiment: Experiment) -> Pieces:
    """Choose everything that does not need data, so that a wrong name or option is an error before any work.

    Raises:
      ValueError: a name is unknown, an option is unknown or out of range, or the network has no width or depth.
    """
    protocol = protocols.named(experiment.protocol)
    parsed = parse(experiment.method)
    baseline = chosen_baseline(experiment)
    own = baseline.space if parsed.on_all else parsed.method.space
    space = experiment.preprocess or own or SPACE_OF.get(experiment.protocol, SPACE_OF["common"])
    choose(preprocess.SPECS, space, "preprocessing")
    used = baseline.network if parsed.on_all else protocol.network
    sizes(experiment.network or used, experiment.width, experiment.depth)
    choose(POLICIES, experiment.precision or default(), "precision")
    noise = NoiseSpec(
        kind=experiment.noise,
        rate=experiment.rate,
        seed=experiment.noise_seed,
        sampler=experiment.sampler,
        order=experiment.order,
        labels_file=experiment.labels_file,
        matrix_file=experiment.matrix_file,
    )
    return Pieces(parsed, protocol, baseline, noise, method_config(parsed.method.config, experiment), space)


def least_of(experiment: Experiment, parsed: Parsed, config: Any) -> int:
    """Smallest number of images per class that distilling the given labels takes; 1 where nobody knows before."""
    return 1 if parsed.on_all or parsed.wrapper else least_images(experiment.method, config)


def make_ready(experiment: Experiment, shared: Shared) -> Ready:
    """Choose the parts and prepare the data. Parts that do not fit together are an error before anything is trained."""
    parsed, protocol, baseline, noise, config, space = pieces(experiment)
    dataset = shared.once("dataset", experiment.dataset, lambda: loaded(experiment.dataset))
    pictures = (experiment.dataset, experiment.limit, experiment.imbalance)

    def given() -> Prepared:
        teacher = soft_labels(experiment, dataset) if experiment.noise.startswith("pmd") and experiment.rate else None
        made = prepare(dataset, noise, limit=experiment.limit, imbalance=experiment.imbalance, probabilities=teacher)
        images, tests = shared.once("pixels", pictures, lambda: (made.train.images, made.test.images))
        return made._replace(
            train=dataclasses.replace(made.train, images=images), test=dataclasses.replace(made.test, images=tests)
        )

    teacher_network = (experiment.network, experiment.width, experiment.depth, experiment.precision)
    prepared = shared.once("labels", (*pictures, noise, teacher_network), given)
    if (least := least_of(experiment, parsed, config)) > 1:
        check_class_sizes(prepared.train.labels, prepared.train.num_classes, least, TOO_FEW)
    images = np.asarray(prepared.train.images)

    def fitted() -> tuple[Preprocess, float]:
        timer = Timer()
        return preprocess.fit(space, images, dataset.name), timer.steady

    transform, space_s = shared.once("space", (*pictures, space), fitted)
    used = baseline.network if parsed.on_all else protocol.network
    network(experiment, used, dataset.image_shape, dataset.num_classes)  # an architecture that does not fit is an error
    return Ready(experiment, parsed, protocol, baseline, config, dataset, prepared, transform, space_s)


def full_recipe(ready: Ready) -> Recipe:
    """The baseline's recipe with the experiment's epochs, and without flips where they change the meaning."""
    experiment = ready.experiment
    return protocols.adapted(ready.baseline.recipe, flip=experiment.mirrored, epochs=experiment.epochs)


def preprocessed(ready: Ready, shared: Shared) -> Prepared:
    """The cell's data in its space; cells with the same images share the arrays."""
    key = (ready.experiment.dataset, ready.experiment.limit, ready.experiment.imbalance, ready.transform.fingerprint)
    placed = shared.once("images", key, lambda: to_space(ready.prepared, ready.transform, "auto"))
    place = {"images": placed.train.images, "space": placed.train.space}
    tests = {"images": placed.test.images, "space": placed.test.space}
    prepared = ready.prepared
    return prepared._replace(
        train=dataclasses.replace(prepared.train, **place), test=dataclasses.replace(prepared.test, **tests)
    )


def networks_key(ready: Ready, model: Model) -> tuple[Hashable, ...]:
    """What decides networks that are trained on the given labels of a cell, beside their recipe: the key of a cache.

    A fork's network may have the words of another one, so its program is part of the key, or the network itself.
    """
    own, noise = ready.experiment, ready.prepared.noise["checksum"]
    data = (own.dataset, own.limit, own.imbalance, ready.transform.fingerprint, noise)
    return (*data, own.seed, own.mirrored, own.precision, program(model, ready.dataset.image_shape) or model)


def soft_labels(experiment: Experiment, dataset: Dataset) -> np.ndarray:
    """A teacher's class probabilities of the training images, for margin-dependent noise.

    The teacher is trained on the clean labels for a few epochs. Images that it is unsure of are mislabelled.
    """
    clean = prepare(dataset, NoiseSpec())
    transform = preprocess.fit("standardize", np.asarray(dataset.images), dataset.name)
    train = to_space(clean.train, transform, "auto")
    model = network(experiment, "convnet", dataset.image_shape, dataset.num_classes)
    recipe = Recipe(epochs=10, batch=64, rate=0.01, momentum=0.9, weight_decay=5e-4)
    params = fit(model, recipe, examples_of(train), jax.random.key(experiment.noise_seed)[None]).params
    [logits] = stacked_logits(model, params, train.images)
    return np.asarray(jax.nn.softmax(logits))


def network(experiment: Experiment, name: str, image_shape: tuple[int, ...], num_classes: int) -> Model:
    """The network `name` of a protocol or baseline, or the experiment's, with the experiment's width and depth.

    Raises:
      ValueError: the network has no such option.
    """
    size = {"width": experiment.width, "depth": experiment.depth}
    return build_sized(experiment.network or name, tuple(image_shape), num_classes, **size)
