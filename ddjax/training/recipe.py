"""A training recipe as a value: everything that the trainer needs to know, and nothing about data or networks."""

import dataclasses

from ddjax import ranges
from ddjax.augment import AUGMENTATIONS
from ddjax.names import choose, unknown
from ddjax.ranges import Count, Natural, NonNegative, Positive, Share
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

    epochs: Count
    batch: Count
    rate: Positive
    optimiser: str = "sgd"
    momentum: Share = 0.0
    weight_decay: NonNegative = 0.0  # coupled: added to the gradient before momentum, on all parameters
    schedule: str = "constant"
    drop_epochs: tuple[Natural, ...] = ()  # schedule "drops": from the start of each of these the rate is multiplied
    drop: NonNegative = 0.1
    reset_at_drops: bool = False  # a fresh optimiser, so zero momentum, at each drop
    warmup_steps: Natural = 0  # schedule "warmup_cosine": linear from 0, then a cosine to `floor` times the rate
    floor: Share = 0.0
    loss: str = "cross_entropy"
    augment: str = "none"
    cutmix: Share = 0.0  # probability per batch
    sharpness: Sharpness | None = None
    order: str = "epochs"
    draws: Count = 100

    def __post_init__(self) -> None:
        """Refuse what could not be trained, before anything is compiled."""
        ranges.fields(self, "recipe.")
        for name, known in [("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("order", ORDERS), ("loss", LOSSES)]:
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        choose(AUGMENTATIONS, self.augment, "augmentation")

    def steps_per_epoch(self, n: int) -> int:
        """Optimiser steps in one epoch over n rows."""
        return self.draws if self.order == "draws" else -(-n // self.batch)


def drops(epochs: int, *fractions: float) -> tuple[int, ...]:
    """Epochs at whole parts of a schedule: drops(60, 2/3, 5/6) is (40, 50)."""
    return tuple(int(epochs * fraction + 1e-9) for fraction in fractions)
