"""A training recipe as a value: everything that the trainer needs to know, and nothing about data or networks."""

import dataclasses

from ddjax.augment import AUGMENTATIONS
from ddjax.checks import number, whole
from ddjax.names import choose, unknown
from ddjax.training.losses import LOSSES
from ddjax.training.sharpness import Sharpness

OPTIMISERS = ("sgd", "adam")
SCHEDULES = ("constant", "drops", "warmup_cosine")
ORDERS = ("epochs", "draws")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    `order="epochs"`: each epoch is a new permutation in batches of `batch`, the last one partial and weighted
    exactly. `order="draws"`: each step draws `batch` rows without replacement, and an epoch is `draws` steps.
    """

    epochs: int
    batch: int
    rate: float
    optimiser: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0  # coupled: added to the gradient before momentum, on all parameters
    schedule: str = "constant"
    drop_epochs: tuple[int, ...] = ()  # schedule "drops": from the start of each of these the rate is multiplied
    drop: float = 0.1
    reset_at_drops: bool = False  # a fresh optimiser, so zero momentum, at each drop
    warmup_steps: int = 0  # schedule "warmup_cosine": linear from 0, then a cosine to `floor` times the rate
    floor: float = 0.0
    loss: str = "cross_entropy"
    augment: str = "none"
    cutmix: float = 0.0  # probability per batch
    sharpness: Sharpness | None = None
    order: str = "epochs"
    draws: int = 100

    def __post_init__(self) -> None:
        """Refuse what could not be trained, before anything is compiled."""
        for name, known in [("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("order", ORDERS), ("loss", LOSSES)]:
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        choose(AUGMENTATIONS, self.augment, "augmentation")
        for name in ("epochs", "batch", "draws"):
            whole(getattr(self, name), f"recipe.{name}")
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"recipe.rate must be positive and finite; got {self.rate}")
        for name, most in [("momentum", 1), ("weight_decay", float("inf")), ("cutmix", 1), ("floor", 1)]:
            number(getattr(self, name), f"recipe.{name}", 0, most)

    def steps_per_epoch(self, n: int) -> int:
        """Optimiser steps in one epoch over n rows."""
        return self.draws if self.order == "draws" else -(-n // self.batch)


def drops(epochs: int, *fractions: float) -> tuple[int, ...]:
    """Epochs at whole parts of a schedule: drops(60, 2/3, 5/6) is (40, 50)."""
    return tuple(int(epochs * fraction + 1e-9) for fraction in fractions)
