"""Recipes by which published methods train networks on all images. The preprocessing belongs to the method."""

from ddjax.training.recipe import Recipe, drops
from ddjax.training.sharpness import Sharpness


def pool_recipe(epochs: int = 60, batch: int = 64) -> Recipe:
    """The recipe of DANCE's pool: the rate is multiplied by 0.2 after 2/3 and 5/6 of the epochs, with CutMix.

    Args:
      epochs: of the training.
      batch: examples in a batch.

    Returns:
      The recipe.

    Example:
      >>> pool_recipe(60).drop_epochs
      (40, 50)
    """
    return Recipe(
        epochs=epochs,
        batch=batch,
        rate=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="drops",
        drop_epochs=drops(epochs, 2 / 3, 5 / 6),
        drop=0.2,
        augment="dance_pretrain",
        cutmix=0.5,
    )


def _constant(epochs: int, sharpness: Sharpness | None) -> Recipe:
    return Recipe(epochs=epochs, batch=256, rate=0.01, augment="dsa", sharpness=sharpness)


RECIPES: dict[str, Recipe] = {
    "mtt": _constant(50, None),  # Cazenavette et al., 2022 (arXiv:2203.11932)
    "ftd": _constant(50, Sharpness()),  # Du et al., 2023 (arXiv:2211.11004)
    "datm": _constant(100, Sharpness()),  # Guo et al., 2024 (arXiv:2310.05773), for all data sets
    "dance": pool_recipe(),  # Zhang et al., 2024 (arXiv:2406.01063): images up to 64 pixels
    "dance_128": pool_recipe(80, 128),  # subsets of ImageNet at 128 pixels
}
