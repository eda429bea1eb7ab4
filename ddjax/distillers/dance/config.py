"""Settings of DANCE."""

import dataclasses
from typing import Annotated

from ddjax import ranges
from ddjax.augment import DiffAug, diffaug
from ddjax.distilled.decode import FORMATIONS
from ddjax.models.sizes import is_small
from ddjax.ranges import Count, Natural, NonNegative, PartialShare

Optimiser = Annotated[str, ("per_class", "whole")]
Encoder = Annotated[str, ("between", "random")]
FirstImages = Annotated[str, ("mix", "random", "noise")]
SMALL_FACTOR, FACTOR = 1, 2  # cells of small images would show nothing
BOUND = 128  # images of a class that students decode from the formation "bound", see `decode.plan`


@ranges.settings()
class DanceConfig:
    """Settings of DANCE; the defaults are those published for images of up to 64 pixels.

    IDC's parameterisation without DANCE's two views is `encoder="random", calibrations=0`.

    Attributes:
      ipc: images per class.
      steps: iterations.
      width: channels of the ConvNet; 0 takes 128, or 32 for images of up to 16 pixels.
      depth: blocks of the ConvNet; 0 derives the number from the side of the images.
      factor: each image is a mosaic of factor x factor cells, each of which is a training image; 1 is a plain image,
        and 0 takes 2, or 1 for images of up to 16 pixels.
      formation: how cells are decoded to training images: single, multi or bound (see `decode.plan`).
      batch: real images per class and step, at most.
      cap: decoded images per class and step, at most; if there are more, a random subset is taken.
      rate: learning rate of the images; 0 takes the published 0.01 times `ipc`.
      momentum: of the images.
      optimiser: per_class (published: a step for the images of all classes after the gradient of each class, so that a
        momentum of 0.5 doubles the rate and averages no gradients), or whole (one step of momentum SGD for all classes
        in each view).
      encoder: the networks in whose features means are matched: between (a random point between the initial and the
        trained weights of a pool network), or random (a new network in each step, as in DM and IDC).
      calibrations: passes of cross-entropy with the trained weights in each step.
      augment: the strategy of both views, with one row of parameters for a class's real and learned images.
      one_operation: apply one of all its operations at a time (DSA, DM) instead of colour, cutout and one of the rest.
      unit_box: learn images on the scale 0..1 and clamp them at the start of each step; otherwise they are learned in
        the space of the training images, without bounds.
      start: mix (downsampled real images as cells), random (one real image each), or noise.
      start_order: the first real images are drawn at random, or are the first of each class as published.
      members: networks in the pool.
      pool_epochs: epochs of their training; 0 takes the published 60.
      keep_pool: store the pool in ddjax's cache, where runs with the same data, labels and seed find it.
      class_chunk: classes per block of computation; 0 derives the number from the device. The result does not depend
        on it.
      block: images of a class per forward pass; 0 derives the number from the device. The result does not depend on it.
    """

    ipc: Count = 1
    steps: Natural = 10_000
    width: Natural = 0
    depth: Natural = 0
    factor: Natural = 0
    formation: Annotated[str, FORMATIONS] = "single"
    batch: Count = 128
    cap: Count = 200
    rate: NonNegative = 0.0
    momentum: PartialShare = 0.5
    optimiser: Optimiser = "per_class"
    encoder: Encoder = "between"
    calibrations: Natural = 1
    augment: str = "color_crop_cutout"
    one_operation: bool = False
    unit_box: bool = True
    start: FirstImages = "mix"
    start_order: Annotated[str, ("drawn", "first")] = "drawn"
    members: Count = 5
    pool_epochs: Natural = 0
    keep_pool: bool = True
    class_chunk: Natural = 0
    block: Natural = 0

    def __post_init__(self) -> None:
        """Raise a ValueError for settings that cannot run, before anything is compiled."""
        if self.encoder == "random" and self.calibrations:
            raise ValueError(
                f"calibrations={self.calibrations} needs trained networks, and encoder='random' has none: "
                "use encoder='between', or calibrations=0"
            )
        if self.formation == "bound" and (most := min(self.cap, BOUND)) < self.ipc:
            raise ValueError(
                f"formation 'bound' decodes at least ipc={self.ipc} images of a class, and at most {most}: the smaller "
                f"of cap={self.cap} and the {BOUND} that students take"
            )
        self.augmentation()

    def image_rate(self) -> float:
        """The learning rate of the images; it grows with `ipc`: the loss is a mean over a class."""
        return self.rate or 0.01 * self.ipc

    def augmentation(self) -> DiffAug:
        """The augmentation strategy."""
        strategy = diffaug(self.augment)
        if not self.one_operation:
            return strategy
        return dataclasses.replace(strategy, always=(), choices=strategy.always + strategy.choices)

    def factor_for(self, image_shape: tuple[int, ...]) -> int:
        """The factor for images [h w ...]: the given one, or the automatic one."""
        return self.factor or (SMALL_FACTOR if is_small(image_shape) else FACTOR)
