"""Published recipes for training on the whole noisy set, with the network and preprocessing of each."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ddjax.evaluation.protocols import datm_recipe
from ddjax.preprocess import centered, one_hot
from ddjax.training import Recipe
from ddjax.training.published import RECIPES


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A recipe for the whole set, with its network and preprocessing."""

    name: str
    recipe: Recipe
    space: str  # a name in preprocess.SPECS
    network: str = "convnet"


_COSINE = Recipe(epochs=30, batch=64, rate=0.02, momentum=0.9, weight_decay=5e-4, schedule="warmup_cosine")
BASELINES: dict[str, Baseline] = {
    b.name: b
    for b in [
        Baseline("B-DATM", RECIPES["datm"], "datm"),
        Baseline("B-DANCE", RECIPES["dance"], "dance"),
        Baseline(
            "B-RCIG*",
            Recipe(
                epochs=100,
                batch=256,
                rate=3e-4,
                optimiser="adam",
                schedule="warmup_cosine",
                loss="squared_error",
                augment="rcig",
            ),
            "rcig",
            "convnet_rcig",
        ),
        Baseline("B-EVAL", dataclasses.replace(datm_recipe(), epochs=1000), "datm"),
        Baseline("B-COSINE", _COSINE, "standardize"),
        # for rules with a loss of their own, which cannot take the CutMix or the sharpness of the published recipes
        Baseline("B-AUGMENTED", dataclasses.replace(_COSINE, augment="dance_pretrain"), "standardize"),
        Baseline("B-PLAIN", Recipe(epochs=200, batch=64, rate=0.01, momentum=0.9, weight_decay=5e-4), "standardize"),
    ]
}


def make_targets(baseline: Baseline, labels: Any, num_classes: int) -> jax.Array:
    """The targets of the baseline's loss: centred one-hot for a squared error, one-hot for cross-entropy.

    Example:
      >>> make_targets(BASELINES["B-PLAIN"], [1], 2).tolist()
      [[0.0, 1.0]]
    """
    encode = centered if baseline.recipe.loss == "squared_error" else one_hot
    return encode(jnp.asarray(labels), num_classes)
