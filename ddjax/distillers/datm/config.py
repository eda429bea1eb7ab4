"""Settings of DATM; other values give its predecessors MTT and FTD."""

import dataclasses
from typing import Annotated

from ddjax import ranges
from ddjax.bilevel.unrolled_descent import HYPERGRADIENTS, REMATS
from ddjax.distillers.datm.schedule import Schedule
from ddjax.distillers.datm.settings import settings
from ddjax.experts import RECIPES
from ddjax.experts.identity import Storage
from ddjax.names import choose
from ddjax.ranges import Count, Natural, NonNegative, PartialShare, Positive, Range
from ddjax.training import Recipe

EPOCH_STEPS = 90  # minimal number of an expert's steps per epoch if its batch size is automatic
LEAST_BATCH = 16
ExpertRecipe = Annotated[str, tuple(RECIPES)]
FirstImages = Annotated[str, ("correct", "real", "noise")]
Threshold = Annotated[float, Range(0, above=True, infinite=True)]


@ranges.settings()
class DatmConfig:
    """Settings of DATM; the defaults suit small images within minutes on a CPU.

    `published` makes one of the published configurations.

    Attributes:
      ipc: images per class.
      steps: outer steps.
      width: channels of the ConvNet; 0 takes 128, or 32 for images of up to 16 pixels.
      depth: blocks of the ConvNet; 0 derives the number from the side of the images.
      flip: flip images at random when experts and students are trained. Switch it off where a flipped image has another
        meaning.
      expert_recipe: training recipe of the experts: datm (GSAM), mtt (SGD) or ftd.
      experts: number of experts.
      expert_epochs: epochs of their training.
      expert_batch: their batch size; 0 takes the recipe's, or less (at least 16) if an epoch would have fewer than 90
        steps.
      expert_rate: their learning rate; 0 takes the recipe's.
      expert_seed: their seed, shared by runs of all seeds; -1 derives it from the key of the run.
      storage: dtype of stored weights: float32, or bfloat16 for half the size.
      store: keep the experts in ddjax's cache; without it, each run trains them again.
      keep: store the weights of all epochs, which serve every other configuration, or only of the window that is read.
      inner_steps: steps of the student (T).
      inner_batch: distilled images per step of the student; 0 takes all.
      match_epochs: epochs of the expert that the student's steps are matched to.
      first_start: the first start epoch.
      last_start: the end of the start epochs, exclusive.
      early_last_start: the exclusive end at the first outer step.
      growth_steps: outer steps over which the end grows from `early_last_start` to `last_start`; 0 uses `last_start`
        from the beginning.
      image_rate, image_momentum: of SGD on the images.
      label_rate, label_momentum: of SGD on the label logits.
      step_size_rate, step_size_momentum: of SGD on the student's step size.
      step_size: the student's step size at the start.
      positive_step_size: learn the step size through a softplus.
      learn_labels: learn soft labels that start at the experts' logits; otherwise labels are hard (MTT).
      threshold: an outer step whose matching loss is larger (or NaN) changes nothing, including momenta.
      average_decay: decay of a moving average of the images, which is then the result (FTD); 0 returns the images.
      start: images that an expert predicts as labelled (correct), any real images, or noise.
      short_class: what to do with a class that has too few correct images: raise an error, or fill up with real images.
      hypergradient: exact, adjoint (also exact, explicit), tesla, or tesla_replay (constant memory).
      remat: what `exact` keeps of each inner step: nothing, dots, or everything.
      segments: trajectory segments per outer step; gradients are averaged over the accepted ones.
      micro_batch: images per piece of a student's gradient; 0 takes all.
      memory: bound on the memory of a step of one run in GiB, met by lowering `remat` and `micro_batch`; 0 sets none.
    """

    ipc: Count = 1
    steps: Natural = 300
    width: Natural = 0
    depth: Natural = 0
    flip: bool = True
    expert_recipe: ExpertRecipe = "datm"
    experts: Count = 4
    expert_epochs: Count = 30
    expert_batch: Natural = 0
    expert_rate: NonNegative = 0.0
    expert_seed: Annotated[int, Range(-1, 2**32 - 1)] = -1
    storage: Storage = "float32"
    store: bool = True
    keep: Annotated[str, ("all", "window")] = "all"
    inner_steps: Count = 40
    inner_batch: Natural = 0
    match_epochs: Count = 8
    first_start: Natural = 0
    early_last_start: Natural = 10
    last_start: Count = 20
    growth_steps: Natural = 500
    image_rate: NonNegative = 100.0
    image_momentum: PartialShare = 0.5
    label_rate: NonNegative = 5.0
    label_momentum: PartialShare = 0.9
    step_size_rate: NonNegative = 1e-4
    step_size_momentum: PartialShare = 0.5
    step_size: Positive = 0.02
    positive_step_size: bool = False
    learn_labels: bool = True
    threshold: Threshold = 1.0
    average_decay: PartialShare = 0.0
    start: FirstImages = "correct"
    short_class: Annotated[str, ("error", "real")] = "error"
    hypergradient: Annotated[str, tuple(HYPERGRADIENTS)] = "exact"
    remat: Annotated[str, tuple(REMATS)] = "nothing"
    segments: Count = 1
    micro_batch: Natural = 0
    memory: NonNegative = 0.0

    def __post_init__(self) -> None:
        """Raise a ValueError for settings that cannot run, before anything is compiled."""
        earliest = min(self.early_last_start, self.last_start) if self.growth_steps else self.last_start
        if self.first_start >= earliest:
            raise ValueError(
                f"first_start={self.first_start} leaves no epoch to start from below {earliest}: lower it, or raise "
                "last_start (and early_last_start, where growth_steps is not 0)"
            )
        if self.last_start - 1 + self.match_epochs > self.expert_epochs:
            raise ValueError(
                f"last_start={self.last_start} and match_epochs={self.match_epochs} read epoch "
                f"{self.last_start - 1 + self.match_epochs} of experts trained for expert_epochs={self.expert_epochs}: "
                "train them longer, or lower last_start"
            )
        if self.start == "noise" and self.learn_labels:
            raise ValueError("start='noise' gives no labels to start from: use learn_labels=False, or start='real'")

    def augmentation(self) -> str:
        """The name of the augmentation of experts and students."""
        return "dsa" if self.flip else "dsa_noflip"

    def recipe(self, images: int) -> Recipe:
        """The training recipe of an expert on this many images."""
        named = choose(RECIPES, self.expert_recipe, "expert_recipe")
        return dataclasses.replace(
            named,
            epochs=self.expert_epochs,
            batch=self.expert_batch or min(named.batch, max(LEAST_BATCH, images // EPOCH_STEPS)),
            rate=self.expert_rate or named.rate,
            augment=self.augmentation(),
        )

    def kept(self) -> str | tuple[int, ...]:
        """The epochs whose weights are stored; the last one makes the first images and labels."""
        if self.keep == "all":
            return "all"
        return (*range(self.first_start, self.last_start + self.match_epochs), self.expert_epochs)

    def schedule(self) -> Schedule:
        """Which expert and which start epoch each outer step draws."""
        return Schedule(
            first=self.first_start,
            early=self.early_last_start,
            last=self.last_start,
            growth=self.growth_steps,
            count=self.experts,
            segments=self.segments,
        )

    def batch(self, m: int) -> int:
        """Distilled images per inner step, of m in all.

        Raises:
          ValueError: a batch size does not divide the number of images.
        """
        b = min(self.inner_batch or m, m)
        if m % b:
            raise ValueError(f"inner_batch={self.inner_batch} must divide the {m} distilled images, or be 0 for all")
        if self.micro_batch and b % min(self.micro_batch, b):
            raise ValueError(f"micro_batch={self.micro_batch} must divide the inner batch of {b}, or be 0")
        return b


@dataclasses.dataclass(frozen=True)
class MttConfig(DatmConfig):
    """Settings of MTT (2203.11932): early epochs, hard labels, no threshold, plain experts.

    FTD (2211.11004) is this with expert_recipe="ftd" and an average_decay such as 0.999.
    """

    expert_recipe: ExpertRecipe = "mtt"
    growth_steps: Natural = 0
    learn_labels: bool = False
    threshold: Threshold = float("inf")
    start: FirstImages = "real"


def published(name: str, ipc: int) -> DatmConfig:
    """A configuration with which DATM, or its study of noisy labels, was published.

    `dataclasses.replace` changes single fields of the result and keeps all others, including those tuned for `ipc`.

    Args:
      name: cifar10, cifar100 or tiny_imagenet; or values tuned to one noise, such as cifar10/symmetric/0.4.
      ipc: images per class.

    Returns:
      The configuration; unpublished fields have their defaults.

    Raises:
      ValueError: nothing was published under this name, or not for this number of images.

    Example:
      >>> published("cifar10", 10).last_start
      20
    """
    return DatmConfig(ipc=ipc, **settings(name, ipc))
