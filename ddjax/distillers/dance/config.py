"""DANCE's settings: what its two views look at, and how the images move."""

import dataclasses

from ddjax import ranges
from ddjax.augment import DiffAug, diffaug
from ddjax.distilled.decode import FORMATIONS
from ddjax.models.sizes import is_small
from ddjax.names import unknown
from ddjax.ranges import Count, Natural, NonNegative, PartialShare

STARTS = ("mix", "random", "noise")
ORDERS = ("drawn", "first")
OPTIMISERS = ("per_class", "whole")
ENCODERS = ("between", "random")
SMALL_FACTOR, FACTOR = 1, 2  # cells of small images would show nothing


@dataclasses.dataclass(frozen=True)
class DanceConfig:
    """Everything that decides a run; the defaults are those published for images of up to 64 pixels.

    IDC's parameterisation without DANCE's two views is `encoder="random", calibrations=0`.

    Attributes:
      width: of the ConvNet; 0 takes 128, or 32 for images of up to 16 pixels.
      depth: of the ConvNet; 0 takes it from the images' side.
      factor: each image is a mosaic of factor x factor cells, each a training image; 1 is a plain image, and 0 takes
        2, or 1 for images of up to 16 pixels.
      formation: how cells become training images: single, multi or bound (see `decode.plan`).
      batch: real images per class and step, at most.
      cap: decoded images per class and step, at most; a random subset is taken where there are more.
      rate: of the images; 0 takes the published 0.01 for each image of a class.
      momentum: of the images.
      optimiser: per_class (published: a step of the whole tensor after each class's gradient, so that momentum
        doubles the rate and averages nothing), or whole (one step of momentum SGD for all classes in each view).
      encoder: what features are matched in: between (a random point between a network's first weights and its
        trained ones), or random (a fresh network in each step, as DM and IDC have it).
      calibrations: passes of cross-entropy at the trained weights in each step.
      augment: the strategy that both views draw from, one row of parameters for a class's real and learned images.
      one_operation: one of all its operations at a time (DSA, DM), rather than colour and cutout and one of the rest.
      unit_box: images are learned on the 0..1 scale and clamped to it as each step begins; otherwise in the space of
        the training images, without bounds.
      start: mix (shrunk real images as cells), random (whole real images), or noise.
      start_order: real images to start from are drawn at random, or the first of each class as published.
      members: networks in the pool.
      pool_epochs: that they are trained for; 0 takes the published 60.
      keep_pool: in ddjax's cache, where the next run with the same data, labels and seed finds it.
      class_chunk: classes that are computed side by side, and
      block: images of a class that a network sees at a time; 0 takes what suits the machine, and the result is the
        same.
    """

    ipc: Count = 1
    steps: Natural = 10_000
    width: Natural = 0
    depth: Natural = 0
    factor: Natural = 0
    formation: str = "single"
    batch: Count = 128
    cap: Count = 200
    rate: NonNegative = 0.0
    momentum: PartialShare = 0.5
    optimiser: str = "per_class"
    encoder: str = "between"
    calibrations: Natural = 1
    augment: str = "color_crop_cutout"
    one_operation: bool = False
    unit_box: bool = True
    start: str = "mix"
    start_order: str = "drawn"
    members: Count = 5
    pool_epochs: Natural = 0
    keep_pool: bool = True
    class_chunk: Natural = 0
    block: Natural = 0

    def __post_init__(self) -> None:
        """Refuse what could not run, before anything is compiled."""
        ranges.fields(self)
        for name, known in (
            ("optimiser", OPTIMISERS),
            ("encoder", ENCODERS),
            ("start", STARTS),
            ("start_order", ORDERS),
            ("formation", FORMATIONS),
        ):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        if self.encoder == "random" and self.calibrations:
            raise ValueError(
                f"calibrations={self.calibrations} needs trained networks, and encoder='random' has none: "
                "use encoder='between', or calibrations=0"
            )
        if self.formation == "bound" and self.cap < self.ipc:
            raise ValueError(f"formation 'bound' decodes at least ipc={self.ipc} images; cap={self.cap} is less")
        self.augmentation()

    def image_rate(self) -> float:
        """The rate of the images: a class mean over n times as many images moves each of them an n-th as far."""
        return self.rate or 0.01 * self.ipc

    def augmentation(self) -> DiffAug:
        """The strategy."""
        strategy = diffaug(self.augment)
        if not self.one_operation:
            return strategy
        return dataclasses.replace(strategy, always=(), choices=strategy.always + strategy.choices)

    def factor_for(self, image_shape: tuple[int, ...]) -> int:
        """The factor for images [h w ...]: the given one, or the automatic one."""
        return self.factor or (SMALL_FACTOR if is_small(image_shape) else FACTOR)
