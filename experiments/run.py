"""From an experiment to its row: choose the pieces, run them, write down what came out."""

import dataclasses
import json
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from ddjax import preprocess
from ddjax.data import Dataset, Prepared, in_space, load, moved, prepare
from ddjax.distilled import DistilledSet
from ddjax.distillers import DISTILLERS
from ddjax.evaluation import (
    BASELINES,
    PROTOCOLS,
    FullScores,
    Scores,
    dd_ranking,
    evaluate,
    labelled_by,
    train_full,
)
from ddjax.evaluation.protocols import upright
from ddjax.evaluation.students import rescaled
from ddjax.loop import distill
from ddjax.models import build
from ddjax.names import choose, unknown
from ddjax.noise import NoiseSpec
from ddjax.results import commit, fingerprint, hardware, versions
from ddjax.training import Examples, Recipe, fit, predict
from ddjax.types import Model
from experiments.config import (
    BASELINE_OF,
    PRECISIONS,
    SMALL_SIDE,
    SMALL_WIDTH,
    SPACE_OF,
    UPRIGHT,
    Experiment,
    method_config,
)
from experiments.progress import progress


class Outcome(NamedTuple):
    """A row, and what its figures are drawn from."""

    row: dict[str, Any]
    dataset: Dataset
    noise: dict[str, Any]
    distilled: DistilledSet | None
    scores: Scores | FullScores
    log: dict[str, np.ndarray]  # a distiller's metrics, one entry per step


def run(experiment: Experiment, *, data_dir: str | None = None, quiet: bool = False) -> Outcome:
    """Run one cell."""
    if experiment.precision not in PRECISIONS:
        raise unknown("precision", experiment.precision, PRECISIONS)
    with jax.default_matmul_precision(experiment.precision):
        return run_cell(experiment, data_dir, quiet)


def run_cell(experiment: Experiment, data_dir: str | None, quiet: bool) -> Outcome:
    """The cell itself, whatever the precision."""
    start = time.monotonic()
    protocol = choose(PROTOCOLS, experiment.protocol, "protocol")
    method = choose(DISTILLERS, experiment.method, "method")
    baseline_name = experiment.baseline or BASELINE_OF[protocol.name]
    baseline = choose(BASELINES, baseline_name, "baseline")
    noise = NoiseSpec(
        kind=experiment.noise,
        rate=experiment.rate,
        seed=experiment.noise_seed,
        sampler=experiment.sampler,
        order=experiment.order,
        labels_file=experiment.labels_file,
        matrix_file=experiment.matrix_file,
    )
    config = method_config(method.config, experiment)
    dataset = load(experiment.dataset, data_dir=data_dir)
    teacher = soft_labels(experiment, dataset) if experiment.noise.startswith("pmd") and experiment.rate else None
    prepared = prepare(dataset, noise, limit=experiment.limit, imbalance=experiment.imbalance, probabilities=teacher)
    full = experiment.method == "full"
    space = experiment.preprocess or (baseline.space if full else method.space or SPACE_OF[protocol.name])
    transform = preprocess.fit(space, np.asarray(prepared.train.images), dataset.name)
    if full:
        scores, part = run_full(experiment, baseline, in_space(prepared, transform), quiet)
        distilled, log = None, {}
    else:
        distilled, log = run_distiller(experiment, method, config, prepared, transform, quiet)
        score = run_ranking if protocol.name == "dd-ranking" else run_students
        scores, part = score(experiment, protocol, distilled, prepared, quiet)
    row = {
        "dataset": dataset.name,
        "noise": experiment.noise,
        "rate": experiment.rate,
        "effective_rate": prepared.noise["used_effective_rate"],
        "noise_checksum": prepared.noise["checksum"],
        "method": experiment.method,
        "ipc": None if full else experiment.ipc,
        "seed": experiment.seed,
        "protocol": baseline.name if full else protocol.name,
        **part,
        "space": transform.fingerprint,
        "train_images": len(prepared.train.labels),
        "wall_s": round(time.monotonic() - start, 2),
        "hardware": hardware(),
        "commit": commit(),
        "config": dataclasses.asdict(experiment),
        "fingerprint": fingerprint(experiment),
        "versions": versions(),
    }
    return Outcome(row, dataset, prepared.noise, distilled, scores, log)


def soft_labels(experiment: Experiment, dataset: Dataset) -> np.ndarray:
    """A teacher's class probabilities on the training images, for noise that follows its margin.

    It is trained on the clean labels for a few epochs: what it is unsure of is what will be mislabelled.
    """
    clean = prepare(dataset, NoiseSpec())
    inside = in_space(clean, preprocess.fit("standardize", np.asarray(dataset.images), dataset.name)).train
    model = network(experiment, "convnet", dataset.image_shape, dataset.num_classes)
    examples = Examples(inside.images, preprocess.one_hot(inside.labels, dataset.num_classes))
    recipe = Recipe(epochs=10, batch=64, rate=0.01, momentum=0.9, weight_decay=5e-4)
    params = fit(model, recipe, examples, jax.random.key(experiment.noise_seed)[None]).params
    only = jax.tree.map(lambda leaf: leaf[0], params)
    return np.asarray(jax.nn.softmax(jax.jit(lambda p, x: predict(model, p, x))(only, inside.images)))


def network(experiment: Experiment, name: str, image_shape: tuple[int, ...], num_classes: int) -> Model:
    """The network of a protocol or baseline, with the experiment's wishes."""
    options: dict[str, Any] = {}
    name = experiment.network or name
    if name.startswith("convnet"):
        width = experiment.width or (SMALL_WIDTH if image_shape[0] <= SMALL_SIDE else None)
        options = {"width": width} if width else {}
        options |= {"depth": experiment.depth} if experiment.depth else {}
    return build(name, tuple(image_shape), num_classes, **options)


def run_full(
    experiment: Experiment, baseline: Any, prepared: Prepared, quiet: bool
) -> tuple[FullScores, dict[str, Any]]:
    """Train on the whole noisy set; the headline is the last epoch, the honest competitor the hold-out's pick."""
    recipe = upright(baseline.recipe) if experiment.dataset in UPRIGHT else baseline.recipe
    recipe = recipe if experiment.epochs is None else rescaled(recipe, experiment.epochs)
    baseline = dataclasses.replace(baseline, recipe=recipe)
    shape, k = prepared.train.images.shape[1:], prepared.train.num_classes
    with progress(f"{baseline.name} on {len(prepared.train.labels)} images", quiet) as report:
        scores = train_full(
            baseline,
            prepared.train,
            prepared.test,
            model=network(experiment, baseline.network, shape, k),
            audit=prepared.audit,
            seed=experiment.seed,
            students=experiment.students or 1,
            holdout=experiment.holdout,
            report=report,
        )
    last, best, picked = (scores.at.get(moment) for moment in ("last", "best", "picked"))
    return scores, {
        "last_acc": float(np.mean(last["test_acc"])),
        "best_acc": float(np.mean(best["test_acc"])),
        "picked_acc": float(np.mean(picked["test_acc"])) if picked else None,
        "last_std": float(np.std(last["test_acc"])),
        "students": last["test_acc"],
        "epochs": baseline.recipe.epochs,
        "moments": scores.at,
    }


def run_distiller(
    experiment: Experiment, method: Any, config: Any, prepared: Prepared, transform: Any, quiet: bool
) -> tuple[DistilledSet, dict[str, np.ndarray]]:
    """Distil in the space of `transform`, and attach all that makes the result usable elsewhere; and the log."""
    ready = moved(prepared.train, transform)  # the students take the test images there
    shape, k = ready.images.shape[1:], ready.num_classes
    own = method.model is not None
    model = (
        method.model(config, shape, k) if own else network(experiment, PROTOCOLS[experiment.protocol].network, shape, k)
    )
    prepare_key, init_key = jax.random.split(jax.random.key(experiment.seed))
    start, feed = method.prepare(config, ready, model, prepare_key)
    distiller = method.build(config, model)
    with progress(f"{experiment.method}, {experiment.ipc} images per class", quiet) as report:
        state = distiller.init(init_key, start)
        state, log = distill(distiller, feed, state, steps=method.steps(config), report=report)
    provenance = {"experiment": dataclasses.asdict(experiment), "noise": prepared.noise, "space": transform.fingerprint}
    distilled = dataclasses.replace(
        distiller.extract(state), preprocess=transform, provenance=json.dumps(provenance, default=str)
    )
    return distilled, log


def run_students(
    experiment: Experiment, protocol: Any, distilled: DistilledSet, prepared: Prepared, quiet: bool
) -> tuple[Scores, dict[str, Any]]:
    """Score a distilled set with fresh students."""
    shape, k = prepared.train.images.shape[1:], prepared.train.num_classes
    with progress(f"students, protocol {protocol.name}", quiet) as report:
        scores = evaluate(
            distilled,
            prepared.test,
            protocol=protocol,
            seed=experiment.seed,
            students=experiment.students,
            model=network(experiment, protocol.network, shape, k),
            train=prepared.train,
            audit=prepared.audit,
            epochs=experiment.epochs,
            mirror=experiment.dataset not in UPRIGHT,
            report=report,
        )
    return scores, columns(scores, distilled)


def columns(scores: Scores, distilled: DistilledSet) -> dict[str, Any]:
    """What a row says about students."""
    return {
        "last_acc": float(np.mean(scores.last)),
        "best_acc": float(np.mean(scores.best)),
        "last_std": float(np.std(scores.last)),
        "students": scores.last,
        "student_rate": scores.rate,
        "denoising": scores.denoising,
        "images": len(distilled.images),
    }


def run_ranking(
    experiment: Experiment, protocol: Any, distilled: DistilledSet, prepared: Prepared, quiet: bool
) -> tuple[Scores, dict[str, Any]]:
    """DD-Ranking: the set against a random one of equal size and against all noisy images, one recipe for each."""
    transform, baseline = distilled.preprocess, BASELINES[experiment.baseline or BASELINE_OF[protocol.name]]
    full, _ = run_full(dataclasses.replace(experiment, holdout=0.0), baseline, in_space(prepared, transform), quiet)
    shape, k = prepared.train.images.shape[1:], prepared.train.num_classes
    expert = jax.tree.map(lambda leaf: leaf[0], full.params)
    method = DISTILLERS["random"]
    chance = dataclasses.replace(experiment, method="random", seed=experiment.seed + 1, options=())
    random, _ = run_distiller(chance, method, method_config(method.config, chance), prepared, transform, quiet)
    random = labelled_by(network(experiment, baseline.network, shape, k), expert, random, distilled)
    ranking = dd_ranking(
        distilled,
        random,
        float(np.mean(full.at["last"]["test_acc"])),
        prepared.test,
        train=prepared.train,
        audit=prepared.audit,
        seed=experiment.seed,
        students=experiment.students,
        model=network(experiment, protocol.network, shape, k),
        epochs=experiment.epochs,
        mirror=experiment.dataset not in UPRIGHT,
    )
    scores = {name: getattr(ranking, name) for name in ("hlr", "ior", "lrs", "ars")}
    return ranking.scores, columns(ranking.scores, distilled) | scores | {"accuracies": ranking.accuracies}
