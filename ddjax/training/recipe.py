"""A training recipe as a value: all settings of the trainer, without data or networks."""

from typing import Annotated

from ddjax import ranges
from ddjax.augment import AUGMENTATIONS
from ddjax.names import choose
from ddjax.ranges import Count, Natural, NonNegative, Positive, Share
from ddjax.training.sharpness import Sharpness

# a setting, and the option without which it has no effect
_NEEDS = {
    "momentum": ("optimiser", "sgd"),
    "drop_epochs": ("schedule", "drops"),
    "drop": ("schedule", "drops"),
    "reset_at_drops": ("schedule", "drops"),
    "warmup_steps": ("schedule", "warmup_cosine"),
    "floor": ("schedule", "warmup_cosine"),
    "draws": ("order", "draws"),
}


@ranges.settings("recipe.")
class Recipe:
    """Settings of a training.

    With `order="epochs"` each epoch is a new permutation in batches of `batch`, and the mean loss of the last, partial
    batch is exact. With `order="draws"` each step draws `batch` rows without replacement; `draws` steps are an epoch.

    Raises:
      ValueError: a name is unknown, a number is out of range, or a setting has no effect.

    Example:
      >>> from ddjax.training import Recipe
      >>> Recipe(epochs=10, batch=64, rate=0.01).steps_per_epoch(1000)
      16
    """

    epochs: Count
    batch: Count
    rate: Positive
    optimiser: Annotated[str, ("sgd", "adam", "adamw")] = "sgd"
    momentum: Share = 0.0
    # on all parameters; coupled, that is, added to the gradient before momentum, but for adamw after it
    weight_decay: NonNegative = 0.0
    schedule: Annotated[str, ("constant", "drops", "warmup_cosine")] = "constant"
    drop_epochs: tuple[Natural, ...] = ()  # schedule "drops": at the start of each, the rate is multiplied by `drop`
    drop: NonNegative = 0.1
    reset_at_drops: bool = False  # reset the optimiser state, and so its momentum, at each drop
    warmup_steps: Natural = 0  # schedule "warmup_cosine": linear from 0, then a cosine to `floor` times the rate
    floor: Share = 0.0
    loss: Annotated[str, ("cross_entropy", "squared_error")] = "cross_entropy"
    augment: str = "none"
    cutmix: Share = 0.0  # probability per batch
    sharpness: Sharpness | None = None
    order: Annotated[str, ("epochs", "draws")] = "epochs"
    draws: Count = 100

    def __post_init__(self) -> None:
        """Check the name of the augmentation, which may be that of a fork, and that no setting is ignored."""
        choose(AUGMENTATIONS, self.augment, "augmentation")
        for name, (option, needed) in _NEEDS.items():
            changed = getattr(self, name) != getattr(Recipe, name)
            if changed and (chosen := getattr(self, option)) != needed:
                raise ValueError(f"recipe.{name} has no effect with {option}={chosen!r}; it needs {option}={needed!r}")

    def steps_per_epoch(self, n: int) -> int:
        """Optimiser steps in one epoch over n rows."""
        return self.draws if self.order == "draws" else -(-n // self.batch)


def drops(epochs: int, *fractions: float) -> tuple[int, ...]:
    """Epochs at fractions of a schedule, rounded down, but not before the first epoch has passed.

    Example:
      >>> from ddjax.training import drops
      >>> drops(60, 2 / 3, 5 / 6)
      (40, 50)
    """
    return tuple(max(1, int(epochs * fraction + 1e-9)) for fraction in fractions)
