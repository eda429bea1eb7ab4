"""The published ways to score a distilled set, as values."""

import dataclasses
from collections.abc import Callable

from ddjax.training import Recipe, drops


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How fresh students are trained on a distilled set.

    Every protocol reports the last epoch's accuracy; nothing is chosen on test data. `checks` above 1 also watches
    the test accuracy that many times, only to fill the `best` column that some publications report.
    """

    name: str
    recipe: Callable[[int], Recipe]  # number of stored images -> recipe
    network: str = "convnet"
    space: str = "own"  # "own": the preprocessing of the set; "standardize": back to pixels, then mean and deviation
    use_step_size: bool = False  # start from the learned rate of the set, where it has one
    rates: tuple[float, ...] = ()  # more than one: chosen on held-out images with given labels
    students: int = 5
    checks: int = 1
    source: str = ""


def datm_recipe(m: int = 0) -> Recipe:
    """1001 epochs; at epoch 502 a tenth of the rate and a fresh momentum."""
    return Recipe(
        epochs=1001,
        batch=128,
        rate=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="drops",
        drop_epochs=(502,),
        reset_at_drops=True,
        augment="dsa",
    )


def dance_recipe(m: int = 0, epochs: int = 1500) -> Recipe:
    """Rate times 0.2 after two thirds and five sixths; CutMix on every other batch."""
    return Recipe(
        epochs=epochs,
        batch=64,
        rate=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="drops",
        drop_epochs=drops(epochs, 2 / 3, 5 / 6),
        drop=0.2,
        augment="dance_eval",
        cutmix=0.5,
    )


def rcig_recipe(m: int) -> Recipe:
    """1000 steps for 10 images, else 2000: warm-up over 500, then a cosine to 1 % of the rate; squared error."""
    steps, draws = (1000 if m == 10 else 2000), 100
    return Recipe(
        epochs=steps // draws,
        draws=draws,
        order="draws",
        batch=256,
        rate=1e-4,
        optimiser="adam",
        schedule="warmup_cosine",
        warmup_steps=500,
        floor=0.01,
        loss="squared_error",
        augment="rcig",
    )


def common_recipe(m: int = 0) -> Recipe:
    """The recipe that every set is also scored by: DATM's without its learned rate and its odd 1001st epoch."""
    return dataclasses.replace(datm_recipe(), epochs=1000, drop_epochs=(500,), reset_at_drops=False)


# What replaces an augmentation on images whose mirror image means something else (digits).
_UPRIGHT = {"dsa": "dsa_noflip", "dance_eval": "dance_eval_noflip", "rcig": "rcig_mnist"}


def upright(recipe: Recipe) -> Recipe:
    """The recipe without mirror images."""
    return dataclasses.replace(recipe, augment=_UPRIGHT.get(recipe.augment, recipe.augment))


RATES = (0.001, 0.005, 0.01, 0.05, 0.1)

PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in [
        Protocol("datm", datm_recipe, use_step_size=True, source="Guo et al., 2024 (arXiv:2310.05773)"),
        Protocol("dance", dance_recipe, checks=6, source="Zhang et al., 2024 (arXiv:2406.01063)"),
        Protocol("rcig", rcig_recipe, network="convnet_rcig", source="Loo et al., 2023 (arXiv:2302.06755)"),
        Protocol("common", common_recipe, space="standardize", rates=RATES, source="ddjax"),
        Protocol("dd-ranking", common_recipe, space="standardize", rates=RATES, source="DD-Ranking (arXiv:2505.13300)"),
    ]
}
