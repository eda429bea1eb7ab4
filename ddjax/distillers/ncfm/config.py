"""Settings of NCFM."""

import dataclasses
from typing import Annotated

from ddjax.distillers.dance.config import DanceConfig
from ddjax.ranges import Count, Natural, NonNegative, PartialShare, Positive


@dataclasses.dataclass(frozen=True)
class NcfmConfig(DanceConfig):
    """The fields of DANCE, and those below; the defaults are published for CIFAR-10.

    Images are learned by AdamW. `rate`, `momentum` and `optimiser` are its learning rate (0 takes 0.001), its decay of
    first moments, and whether it steps for all classes after each class's gradient (per_class, as published).

    Attributes:
      frequencies: at which characteristic functions are compared. The published sampling network makes 256 and repeats
        each 16 times, which does not change the mean; here it makes one in 16.
      sampler: gaussian (standard normal frequencies, as in the released configurations), or learned (the sampling
        network of the paper, which ascends the distance).
      amplitude: weight of differences in amplitude.
      phase: weight of differences in phase.
      scale: of the distance, in proportion to the calibration.
      weight_decay: of the images and of the sampling network, decoupled from the moments.
      patience: iterations without a lower loss after which the learning rate is halved; 0 keeps the rate.
      sampler_rate: learning rate of the sampling network (SGD with momentum 0.5).
    """

    steps: Natural = 20_000
    momentum: PartialShare = 0.9
    cap: Count = 10_000
    members: Count = 20
    frequencies: Count = 4096
    sampler: Annotated[str, ("gaussian", "learned")] = "gaussian"
    amplitude: NonNegative = 0.5
    phase: NonNegative = 0.5
    scale: Positive = 300.0
    weight_decay: NonNegative = 5e-4
    patience: Natural = 500
    sampler_rate: Positive = 1e-3

    def __post_init__(self) -> None:
        """Raise a ValueError for settings that cannot run, before anything is compiled."""
        super().__post_init__()
        if not self.amplitude + self.phase:
            raise ValueError("amplitude=0 and phase=0 match nothing; give one of them a positive weight")

    def image_rate(self) -> float:
        """The learning rate of the images."""
        return self.rate or 1e-3
