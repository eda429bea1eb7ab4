"""DM: distribution matching, that is DANCE's first view under networks that were never trained.

Images are plain and learned in the preprocessed space, with one step of momentum SGD for all classes at once and
without clamping. With `factor=2, start="mix"` this is IDC's mosaic without DANCE's two views. Source: Zhao and Bilen,
2023 (arXiv:2110.04181).
"""

import dataclasses

from ddjax.augment import DiffAug
from ddjax.distillers import dance
from ddjax.distillers.dance.config import DanceConfig, Encoder, FirstImages, Optimiser
from ddjax.ranges import Count, Natural, NonNegative


@dataclasses.dataclass(frozen=True)
class DmConfig(DanceConfig):
    """The fields of DANCE; the defaults are those published for DM with up to 50 images per class.

    Attributes:
      flip: whether `augment` may flip images. Switch it off where a flipped image has another meaning.
    """

    steps: Natural = 20_000
    factor: Natural = 1
    batch: Count = 256
    rate: NonNegative = 1.0
    optimiser: Optimiser = "whole"
    encoder: Encoder = "random"
    calibrations: Natural = 0
    augment: str = "color_crop_cutout_flip_scale_rotate"
    flip: bool = True
    one_operation: bool = True
    unit_box: bool = False
    start: FirstImages = "random"

    def augmentation(self) -> DiffAug:
        """The augmentation strategy."""
        strategy = super().augmentation()
        if self.flip:
            return strategy
        always, choices = (
            tuple(name for name in names if name != "flip") for names in (strategy.always, strategy.choices)
        )
        return dataclasses.replace(strategy, always=always, choices=choices)


METHOD = dance.METHOD._replace(config=DmConfig)
