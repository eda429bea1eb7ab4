"""Robust rules as trainers of the full-set baseline, with the data that each rule needs."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ddjax.execution.options import RunOptions
from ddjax.noise import transition
from ddjax.robust import confident, make_rule
from ddjax.robust.held_out import held_out_probabilities
from ddjax.robust.rules.transition import estimate_transition, invertible
from ddjax.training import Examples, Recipe, Rule, examples_of, fit
from ddjax.types import Model
from experiments.running.config import method_config
from experiments.running.methods import Parsed
from experiments.running.nested import nested_trainer
from experiments.running.shared import Ready, Shared, full_recipe, networks_key, preprocessed

FOLDS = 5
ANCHORS = 0.97  # the published quantile of anchor images; 1 for a hundred classes or more
_TINY = 1e-12
# rules that receive the share of wrong labels, and the setting's name; published code uses the true share
RATES = {"small_loss": "forget", "coteaching": "forget", "nested_coteaching": "forget", "echo_select": "noise"}
NESTED = ("nested_dropout", "nested_coteaching")  # rules with stages and a choice of width
MOST = {"forget": 0.9, "noise": 0.8}  # the largest share that these settings accept


class Needs(NamedTuple):
    """A rule, with the settings and data that it was made from."""

    rule: Rule | None  # None for the trainers in `nested`
    settings: dict[str, Any]  # other than the published ones
    data: Any  # of one network; None if the rule needs none
    by_row: bool  # whether the data have a row for each image


def needs(cell: Ready, shared: Shared) -> Needs:
    """The rule of a cell's method with its settings and data."""
    parsed, experiment = cell.parsed, cell.experiment
    assert parsed.rule is not None
    config = method_config(parsed.method.config, experiment)
    named = [option.partition("=")[0] for option in experiment.options]
    settings = {name: getattr(config, name) for name in named}
    if (name := RATES.get(parsed.rule)) and name not in settings:
        settings[name] = min(float(cell.prepared.noise["used_effective_rate"]), MOST[name])
    if parsed.rule == "ill" and experiment.mirrored:
        settings.setdefault("strong", "dance_eval")
    data, by_row = None, False
    if parsed.weights:
        data, by_row = jnp.asarray(weights(cell, shared), jnp.float32), True
    elif parsed.rule in ("forward", "backward"):
        matrix = known_matrix(cell) if parsed.known else estimated_matrix(cell, shared)
        data = jnp.asarray(invertible(matrix) if parsed.rule == "backward" else matrix, jnp.float32)
    elif parsed.rule == "kd":
        logits = np.log(np.maximum(held_out(cell, shared), _TINY))
        data, by_row = {"logits": jnp.asarray(logits, jnp.float32)}, True
    if parsed.rule in NESTED:
        return Needs(None, settings, None, False)
    return Needs(make_rule(parsed.rule, full_recipe(cell).epochs, **settings), settings, data, by_row)


def asks_folds(parsed: Parsed) -> bool:
    """Whether `needs` trains cross-validated networks for this method."""
    estimated = parsed.rule in ("forward", "backward") and not parsed.known
    return estimated or parsed.rule == "kd" or parsed.weights == "cleanlab"


def trainer(given: Needs) -> Callable[[np.ndarray | None], Callable[..., Any]]:
    """The trainer for `train_full`: a function of the rows to train on (None for all) that gives one like `fit`."""

    if given.rule is None:
        return nested_trainer(given.settings.get("spread", 10.0), given.settings.get("forget"))
    rule = given.rule

    def on(rows: np.ndarray | None) -> Callable[..., Any]:
        data = given.data if rows is None or not given.by_row else jax.tree.map(lambda x: x[rows], given.data)

        def train(model: Model, recipe: Recipe, examples: Examples, keys: Any, **more: Any) -> Any:
            stacked = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (len(keys), *x.shape)), data)
            return fit(model, recipe, examples, keys, rule=rule, data=stacked, **more)

        return train

    return on


def held_out(cell: Ready, shared: Shared) -> Float[np.ndarray, "n k"]:
    """Cross-validated probabilities by the baseline's recipe, cached for all methods with equal labels and seed."""
    recipe, model, train = full_recipe(cell), cell.network(cell.baseline.network), preprocessed(cell, shared).train
    seed = cell.experiment.seed
    kept = shared.checkpoints([cell], "folds", recipe=dataclasses.asdict(recipe))
    made = functools.partial(
        held_out_probabilities,
        model,
        recipe,
        examples_of(train),
        jax.random.fold_in(jax.random.key(seed), 2),
        folds=FOLDS,
        seed=seed,
        options=RunOptions(checkpoints=kept),
    )
    return shared.once("held_out", (*networks_key(cell, model), recipe), made)


def pruned(cell: Ready, shared: Shared) -> Bool[np.ndarray, "n"]:
    """The labels that cleanlab prunes by default."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise ValueError(f"method {cell.experiment.method!r} needs cleanlab: pip install -e '.[denoise]'") from error
    labels = np.asarray(cell.prepared.train.labels)
    probabilities, labels = confident.checked(held_out(cell, shared), labels)
    return find_label_issues(labels, probabilities, n_jobs=1)


def weights(cell: Ready, shared: Shared) -> Float[np.ndarray, "n"]:
    """A weight for each image: 0 if cleanlab, the oracle or a random choice drops it.

    For cleanlab, kept images are weighted by class with 1 / P(given = k | true = k), like in its CleanLearning.
    """
    given, clean = np.asarray(cell.prepared.train.labels), np.asarray(cell.prepared.audit.labels)
    right = given == clean
    if cell.parsed.weights == "oracle":
        return right.astype(np.float32)
    if cell.parsed.weights == "random_prune":
        return np.random.default_rng(cell.experiment.seed).permutation(right).astype(np.float32)
    keep = ~pruned(cell, shared)
    from cleanlab.count import compute_confident_joint

    probabilities, _ = confident.checked(held_out(cell, shared), given)
    counts = confident.calibrated(compute_confident_joint(given, probabilities, calibrate=False), given)
    return keep * confident.class_weights(counts)[given]


def estimated_matrix(cell: Ready, shared: Shared) -> Float[np.ndarray, "k k"]:
    """The transition matrix, estimated from anchor images by cross-validated predictions."""
    probabilities = held_out(cell, shared)
    return estimate_transition(probabilities, ANCHORS if probabilities.shape[1] < 100 else 1.0)


def known_matrix(cell: Ready) -> Float[np.ndarray, "k k"]:
    """The transition matrix that generated the labels."""
    experiment, dataset = cell.experiment, cell.dataset
    try:
        found = transition.matrix(experiment.noise, experiment.rate or 0.0, dataset.num_classes, dataset=dataset.name)
        return np.asarray(found)
    except ValueError as error:
        raise ValueError(f"noise {experiment.noise!r} has no known transition matrix: {error}") from error
