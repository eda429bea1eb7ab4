"""The choice of a student's base rate on training images with given labels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import preprocess
from ddjax.data import to_space
from ddjax.distilled import DistilledSet
from ddjax.evaluation.predicted import predict_all
from ddjax.evaluation.protocols import Protocol
from ddjax.execution.guard import Diverged
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.training import Examples, Recipe, fit
from ddjax.training.fit import for_each
from ddjax.types import Model, TrainSet

SAMPLE = 2000  # number of training images on which a rate is chosen


def base_rate(protocol: Protocol, recipe: Recipe, distilled: DistilledSet) -> float | Diverged:
    """The rate of the recipe, or the learned step size of the set where the protocol uses it.

    Returns:
      The rate, or the error of a learned step size that is not positive.
    """
    if not protocol.use_step_size or distilled.step_size is None:
        return recipe.rate
    rate = float(distilled.step_size)
    if rate > 0:
        return rate
    return Diverged(
        f"the learned step size is {rate:g}, and students need a positive one. Distil with a smaller step_size_rate, "
        "or with positive_step_size=True"
    )


def chosen_rates(
    model: Model,
    recipe: Recipe,
    examples: list[Examples],
    protocol: Protocol,
    trains: list[TrainSet | None],
    transform: preprocess.Preprocess,
    seeds: list[int],
    options: RunOptions = DEFAULTS,
) -> list[float]:
    """The rate of each set whose student agrees best with the given labels of a sample of training images.

    Neither test data nor clean labels are used. The sample is not held out: the distiller has seen it. A rate whose
    student diverges is not chosen. Names of reported metrics begin with search_.

    Raises:
      ValueError: training images are missing.
    """
    held, labels, keys = [], [], []
    for train, seed in zip(trains, seeds, strict=True):
        if train is None:
            raise ValueError(
                f"protocol {protocol.name!r} chooses its rate among {protocol.rates} on training images with given "
                "labels: pass train=, or a protocol without rates"
            )
        rows = np.sort(np.random.default_rng(seed).permutation(len(train.labels))[:SAMPLE])
        part = dataclasses.replace(train, images=train.images[rows], labels=train.labels[rows])
        held.append(to_space(part, transform).images)
        labels.append(np.asarray(part.labels))
        keys.append(jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), len(protocol.rates)))
    count, report = len(protocol.rates), options.report

    def search(done: int, total: int, metrics: dict[str, float]) -> None:
        report(done, total, {f"search_{name}": value for name, value in metrics.items()})

    fitted = fit(
        model,
        recipe,
        for_each(examples, count),
        jnp.concatenate(keys),
        rates=jnp.tile(jnp.array(protocol.rates, jnp.float32), len(seeds)),
        options=dataclasses.replace(options.part("rates"), report=search if report else None),
    )
    finite = np.isfinite(fitted.loss[:, -1]).reshape(-1, count)
    rates = []
    for i, (images, own) in enumerate(zip(held, labels, strict=True)):
        params = jax.tree.map(lambda leaf, i=i: leaf[i * count : (i + 1) * count], fitted.params)
        agreement = [np.mean(said.classes == own) for said in predict_all(model, params, images)]
        rates.append(float(np.float32(protocol.rates[np.where(finite[i], agreement, -1.0).argmax()])))
    return rates
