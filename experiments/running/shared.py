"""What the cells of a process have in common, made once: data, given labels, fitted spaces, distilled sets."""

import collections
import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from ddjax import preprocess
from ddjax.data import Dataset, Prepared, load, prepare, to_space
from ddjax.evaluation import BASELINES, PROTOCOLS, Baseline, Protocol
from ddjax.evaluation.protocols import upright
from ddjax.evaluation.students import rescaled
from ddjax.models import build
from ddjax.models.registry import NETWORKS
from ddjax.models.sizes import auto_width
from ddjax.names import choose, unknown
from ddjax.noise import NoiseSpec
from ddjax.preprocess import Preprocess
from ddjax.timing import Timer
from ddjax.training import Examples, Recipe, fit, stacked_logits
from ddjax.types import Method, Model
from experiments.running.checkpointing import Keeping
from experiments.running.config import BASELINE_OF, PRECISIONS, SPACE_OF, UPRIGHT, Experiment, method_config
from experiments.running.methods import Asked, read

T = TypeVar("T")


class Shared:
    """The last few of everything that was asked for, by its key. A sweep keeps one for each process."""

    def __init__(
        self,
        data_dir: str | None = None,
        keep: int = 4,
        mesh: Mesh | None = None,
        sets: Callable[[str], tuple | None] = lambda name: None,
        keeping: Keeping | None = None,
    ):
        """Nothing yet; `keep` of each kind.

        A distillation is spread over `mesh`, where there is one. `sets` finds a distilled set that was made before, by
        its name: (the set, its log, what it cost). Without `keeping` an interrupted run starts anew.
        """
        self.data_dir, self.mesh, self.sets, self.keeping = data_dir, mesh, sets, keeping
        self.keep = keep
        self._kept: dict[str, collections.OrderedDict[Hashable, Any]] = {}

    def once(self, kind: str, key: Hashable, make: Callable[[], T], keep: int = 0) -> T:
        """What `make` gave for this key, or gives now; `keep` of this kind where it is not the usual number."""
        kept = self._kept.setdefault(kind, collections.OrderedDict())
        if key not in kept:
            kept[key] = make()
        kept.move_to_end(key)
        while len(kept) > (keep or self.keep):
            kept.popitem(last=False)
        return kept[key]


class Ready(NamedTuple):
    """A cell with its pieces chosen and its data prepared, in pixels."""

    experiment: Experiment
    asked: Asked
    protocol: Protocol
    method: Method
    baseline: Baseline
    config: Any
    dataset: Dataset
    prepared: Prepared
    transform: Preprocess
    space_s: float  # seconds that fitting it took


class Pieces(NamedTuple):
    """What the names and numbers of an experiment stand for."""

    asked: Asked
    protocol: Protocol
    baseline: Baseline
    noise: NoiseSpec
    config: Any  # of the method
    space: str


def pieces(experiment: Experiment) -> Pieces:
    """Choose what needs no data, so that a wrong name or option is an error before any work.

    Raises:
      ValueError: a name is unknown, or an option is not one of the method's or outside its range.
    """
    protocol = choose(PROTOCOLS, experiment.protocol, "protocol")
    asked = read(experiment.method)
    baseline = choose(BASELINES, experiment.baseline or BASELINE_OF[protocol.name], "baseline")
    space = experiment.preprocess or (baseline.space if asked.whole else asked.method.space or SPACE_OF[protocol.name])
    choose(preprocess.SPECS, space, "preprocessing")
    choose(NETWORKS, experiment.network or protocol.network, "network")
    if experiment.precision not in PRECISIONS:
        raise unknown("precision", experiment.precision, PRECISIONS)
    noise = NoiseSpec(
        kind=experiment.noise,
        rate=experiment.rate,
        seed=experiment.noise_seed,
        sampler=experiment.sampler,
        order=experiment.order,
        labels_file=experiment.labels_file,
        matrix_file=experiment.matrix_file,
    )
    return Pieces(asked, protocol, baseline, noise, method_config(asked.method.config, experiment), space)


def make_ready(experiment: Experiment, shared: Shared) -> Ready:
    """Choose the pieces and prepare the data; what does not fit is an error before anything is trained."""
    asked, protocol, baseline, noise, config, space = pieces(experiment)
    dataset = shared.once("dataset", experiment.dataset, lambda: load(experiment.dataset, data_dir=shared.data_dir))
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
    images = np.asarray(prepared.train.images)

    def fitted() -> tuple[Preprocess, float]:
        timer = Timer()
        return preprocess.fit(space, images, dataset.name), timer.steady

    transform, space_s = shared.once("space", (*pictures, space), fitted)
    network(experiment, baseline.network if asked.whole else protocol.network, dataset.image_shape, dataset.num_classes)
    return Ready(experiment, asked, protocol, asked.method, baseline, config, dataset, prepared, transform, space_s)


def full_recipe(ready: Ready) -> Recipe:
    """The baseline's recipe with the experiment's wishes."""
    recipe = upright(ready.baseline.recipe) if ready.experiment.dataset in UPRIGHT else ready.baseline.recipe
    return recipe if ready.experiment.epochs is None else rescaled(recipe, ready.experiment.epochs)


def inside(ready: Ready, shared: Shared) -> Prepared:
    """The cell's data with their images on the device, in its space; cells with the same images share the arrays."""
    key = (ready.experiment.dataset, ready.experiment.limit, ready.experiment.imbalance, ready.transform.fingerprint)
    moved = shared.once("images", key, lambda: to_space(ready.prepared, ready.transform))
    place = {"images": moved.train.images, "space": moved.train.space}
    tests = {"images": moved.test.images, "space": moved.test.space}
    prepared = ready.prepared
    return prepared._replace(
        train=dataclasses.replace(prepared.train, **place), test=dataclasses.replace(prepared.test, **tests)
    )


def soft_labels(experiment: Experiment, dataset: Dataset) -> np.ndarray:
    """A teacher's class probabilities on the training images, for noise that follows its margin.

    It is trained on the clean labels for a few epochs: what it is unsure of is what will be mislabelled.
    """
    clean = prepare(dataset, NoiseSpec())
    moved = to_space(clean, preprocess.fit("standardize", np.asarray(dataset.images), dataset.name)).train
    model = network(experiment, "convnet", dataset.image_shape, dataset.num_classes)
    examples = Examples(moved.images, preprocess.one_hot(moved.labels, dataset.num_classes))
    recipe = Recipe(epochs=10, batch=64, rate=0.01, momentum=0.9, weight_decay=5e-4)
    params = fit(model, recipe, examples, jax.random.key(experiment.noise_seed)[None]).params
    [logits] = stacked_logits(model, params, moved.images)
    return np.asarray(jax.nn.softmax(logits))


def network(experiment: Experiment, name: str, image_shape: tuple[int, ...], num_classes: int) -> Model:
    """The network of a protocol or baseline, with the experiment's wishes."""
    options: dict[str, Any] = {}
    name = experiment.network or name
    if name.startswith("convnet"):
        width = auto_width(image_shape, experiment.width, None)
        options = {"width": width} if width else {}
        options |= {"depth": experiment.depth} if experiment.depth else {}
    return build(name, tuple(image_shape), num_classes, **options)
