"""The published protocols for scoring a distilled set, and how a recipe is adapted to a data set."""

import dataclasses
from collections.abc import Callable

from ddjax import checks, ranges
from ddjax.names import choose
from ddjax.ranges import Count, Positive, checked
from ddjax.training import Recipe, drops
from ddjax.training.published import pool_recipe


@ranges.settings("protocol.")
class Protocol:
    """How fresh students are trained on a distilled set.

    Every protocol reports the accuracy after the last epoch. Nothing is chosen on test data.

    Attributes:
      name: of the protocol.
      recipe: number of stored images -> the training recipe.
      network: of the students.
      space: "own" for the preprocessing of the set; else the set is converted to pixels and then to this space.
      use_step_size: use the learned rate of the set as the base rate if it has one.
      rates: the base rate is chosen among these on training images with given labels; () takes that of the recipe.
      students: number of students.
      checks: above 1: also record the test accuracy this number of times, for the `best` column of some papers.
      source: the publication.

    Raises:
      ValueError: a field has a wrong type, is out of range or has no effect.
    """

    name: str
    recipe: Callable[[int], Recipe]
    network: str = "convnet"
    space: str = "own"
    use_step_size: bool = False
    rates: tuple[Positive, ...] = ()
    students: Count = 5
    checks: Count = 1
    source: str = ""

    def __post_init__(self) -> None:
        """Check that no setting is ignored."""
        if len(self.rates) == 1:
            raise ValueError(
                f"protocol.rates={self.rates} leaves nothing to choose: name two rates or more, or set that of the "
                "recipe and leave rates out"
            )
        if self.rates and self.use_step_size:
            raise ValueError(
                f"protocol.use_step_size has no effect with protocol.rates={self.rates}, among which the base rate is "
                "chosen: leave one of both out"
            )


def datm_recipe(m: int = 0) -> Recipe:
    """1001 epochs; at epoch 502 the rate drops to a tenth and the momentum is reset."""
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


def dance_recipe(m: int = 0) -> Recipe:
    """The recipe of DANCE's pool over 1500 epochs, with flips, scaling and rotation."""
    return dataclasses.replace(pool_recipe(1500), augment="dance_eval")


def rcig_recipe(m: int) -> Recipe:
    """1000 steps for 10 images, else 2000; warm-up over 500 steps, then a cosine to 1 % of the rate; squared error."""
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


# stored images -> steps of a student of FRePo; other sizes take those of the next larger one
_FREPO_STEPS = {10: 1000, 100: 2000, 200: 20_000, 400: 5000, 500: 5000, 1000: 10_000, 2000: 40_000, 5000: 40_000}


def frepo_recipe(m: int) -> Recipe:
    """Between 1000 and 40 000 steps of up to 500 images, by their number; warm-up and cosine as for RCIG.

    FRePo draws one augmentation for a whole batch, and here each image has its own, as for RCIG.
    """
    steps = next((steps for size, steps in _FREPO_STEPS.items() if m <= size), 40_000)
    return dataclasses.replace(rcig_recipe(m), epochs=steps // 100, batch=500, rate=3e-4)


def ncfm_recipe(m: int = 0) -> Recipe:
    """AdamW; the rate is halved after each fifth of the epochs; CutMix is applied to half of the batches."""
    return Recipe(
        epochs=2000,
        batch=128,
        rate=1e-3,
        optimiser="adamw",
        weight_decay=5e-4,
        schedule="drops",
        drop_epochs=drops(2000, 0.2, 0.4, 0.6, 0.8),
        drop=0.5,
        augment="ncfm",
        cutmix=0.5,
    )


def common_recipe(m: int = 0) -> Recipe:
    """DATM's recipe with 1000 epochs and without the reset of the momentum."""
    return dataclasses.replace(datm_recipe(), epochs=1000, drop_epochs=(500,), reset_at_drops=False)


def quick_recipe(m: int) -> Recipe:
    """About 200 steps from rate 0.05, with a cosine to zero, for sets that are stored as `m` images."""
    batch = 128
    return Recipe(
        epochs=-(-200 // -(-m // batch)),
        batch=batch,
        rate=0.05,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="warmup_cosine",
        augment="dsa",
    )


# augmentation -> the same without flips, for images that a flip gives another meaning (digits)
_WITHOUT_FLIP = {
    "dsa": "dsa_noflip",
    "dance_eval": "dance_eval_noflip",
    "rcig": "rcig_mnist",
    "ncfm": "ncfm_noflip",
    "crop_flip": "crop",
}


@checked
def adapted(recipe: Recipe, *, flip: bool = True, epochs: Count | None = None) -> Recipe:
    """The recipe with or without flips, over another number of epochs.

    Args:
      recipe: a published recipe.
      flip: False removes horizontal flips from an augmentation of `AUGMENTATIONS`; a fork's own stays as it is.
      epochs: the number of epochs. Rate drops and warm-up stay at the same fractions of the training, rounded down;
        the first epoch of a short training has the full rate. None keeps it.

    Example:
      >>> adapted(dance_recipe(), flip=False, epochs=150).drop_epochs
      (100, 125)
    """
    if not flip:
        recipe = dataclasses.replace(recipe, augment=_WITHOUT_FLIP.get(recipe.augment, recipe.augment))
    if epochs is None:
        return recipe
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        drop_epochs=tuple(max(1, e * epochs // recipe.epochs) for e in recipe.drop_epochs),
        warmup_steps=recipe.warmup_steps * epochs // recipe.epochs,
    )


RATES = (0.001, 0.005, 0.01, 0.05, 0.1)

PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in [
        Protocol("datm", datm_recipe, use_step_size=True, source="Guo et al., 2024 (arXiv:2310.05773)"),
        Protocol("dance", dance_recipe, checks=6, source="Zhang et al., 2024 (arXiv:2406.01063)"),
        Protocol("rcig", rcig_recipe, network="convnet_rcig", source="Loo et al., 2023 (arXiv:2302.06755)"),
        Protocol("frepo", frepo_recipe, network="convnet_rcig", source="Zhou et al., 2022 (arXiv:2206.00719)"),
        Protocol("ncfm", ncfm_recipe, checks=20, source="Wang et al., 2025 (arXiv:2502.20653)"),
        Protocol("common", common_recipe, space="standardize", rates=RATES, source="ddjax"),
        Protocol("quick", quick_recipe, space="standardize", source="ddjax"),
        Protocol("dd-ranking", common_recipe, space="standardize", rates=RATES, source="DD-Ranking (arXiv:2505.13300)"),
    ]
}


def named(protocol: str | Protocol) -> Protocol:
    """The protocol of a name in `PROTOCOLS` or of `module:PROTOCOL`; a protocol itself stays as it is.

    Raises:
      ValueError: the name is unknown, or the argument is no protocol.
    """
    if isinstance(protocol, str):
        return choose(PROTOCOLS, protocol, "protocol", Protocol)
    checks.kind(protocol, Protocol, "protocol", "Name one in ddjax.PROTOCOLS, or pass the Protocol of a fork")
    return protocol
