"""DATM's settings; those of its predecessors MTT and FTD are other values of the same."""

import dataclasses
from typing import Annotated

from ddjax import ranges
from ddjax.bilevel.unrolled_descent import HYPERGRADIENTS, REMATS
from ddjax.distillers.datm.schedule import Schedule
from ddjax.distillers.datm.settings import settings
from ddjax.experts import RECIPES
from ddjax.names import choose, unknown
from ddjax.ranges import Count, Natural, NonNegative, PartialShare, Positive, Range, Seed
from ddjax.training import Recipe

STARTS = ("correct", "real", "noise")
SHORT = ("error", "real")
KEEPS = ("all", "window")
EPOCH_STEPS = 90  # of an expert at the least, where its batch is not given: what it learns in an epoch is in its steps
LEAST_BATCH = 16
Threshold = Annotated[float, Range(0, above=True, infinite=True)]


@dataclasses.dataclass(frozen=True)
class DatmConfig:
    """Everything that decides a run; the defaults suit small images in minutes on a CPU.

    `published` makes one of the published configurations.

    Attributes:
      width: of the ConvNet; 0 takes 128, or 32 for images of up to 16 pixels.
      depth: of the ConvNet; 0 takes it from the images' side.
      flip: mirror images are among the augmentations of experts and students. Switch it off where a mirror image
        is another thing.
      expert_recipe: how experts are trained: datm (GSAM), mtt (SGD), ftd; with `expert_epochs` for its own number.
      expert_batch: images in a step of theirs; 0 takes the recipe's, or fewer (16 at least) where an epoch would have
        less than 90 steps.
      expert_rate: their rate; 0 takes the recipe's.
      expert_seed: of the experts, which runs of other seeds share.
      storage: float32, or bfloat16 for half the size; `store=False` trains the experts anew in each run.
      keep: the weights of all epochs, which serve every other configuration too, or only of the window that is read.
      inner_steps: T, steps of the student.
      inner_batch: distilled images in each of them; 0 takes all.
      match_epochs: epochs of the expert that the student's steps are to match.
      first_start, last_start: an expert's epochs to start from, the second exclusive.
      early_last_start, growth_steps: the exclusive end grows from the one to `last_start` over the other; 0 steps:
        it is `last_start` from the first.
      image_rate, label_rate, step_size_rate: of SGD on images, label logits and the student's step size.
      step_size: the student's, at first. `positive_step_size` learns it through a softplus.
      learn_labels: soft labels from the experts' logits, learned; otherwise hard ones (MTT).
      threshold: an outer step whose matching loss is larger (or NaN) changes nothing, momenta included.
      average_decay: of a moving average of the images, which is then the result (FTD); 0: the images themselves.
      start: images that an expert predicts as labelled (correct), any real ones, or noise.
      short_class: what fills a class with too few of the first: an error, or real ones.
      hypergradient: exact, adjoint (exact too, explicit), tesla, tesla_replay (constant memory).
      remat: what exact keeps of each inner step: nothing, dots, everything.
      segments: pieces of trajectories per outer step, whose gradients are averaged over those accepted.
      micro_batch: images that a student's gradient takes at a time; 0 takes all.
      memory: GiB that a step may need; `remat` and `micro_batch` are lowered to fit. 0: no bound.
    """

    ipc: Count = 1
    steps: Natural = 300
    width: Natural = 0
    depth: Natural = 0
    flip: bool = True
    expert_recipe: str = "datm"
    experts: Count = 4
    expert_epochs: Count = 30
    expert_batch: Natural = 0
    expert_rate: NonNegative = 0.0
    expert_seed: Seed = 0
    storage: str = "float32"
    store: bool = True
    keep: str = "all"
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
    start: str = "correct"
    short_class: str = "error"
    hypergradient: str = "exact"
    remat: str = "nothing"
    segments: Count = 1
    micro_batch: Natural = 0
    memory: NonNegative = 0.0

    def __post_init__(self) -> None:
        """Refuse what could not run, before anything is compiled."""
        ranges.fields(self)
        for name, known in (
            ("expert_recipe", RECIPES),
            ("start", STARTS),
            ("short_class", SHORT),
            ("keep", KEEPS),
            ("hypergradient", HYPERGRADIENTS),
            ("remat", REMATS),
        ):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
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
            raise ValueError("start='noise' has no labels to learn from: use learn_labels=False, or start='real'")

    def augmentation(self) -> str:
        """The name of what experts and students see their images through."""
        return "dsa" if self.flip else "dsa_noflip"

    def recipe(self, images: int) -> Recipe:
        """How an expert is trained on so many images."""
        named = choose(RECIPES, self.expert_recipe, "expert_recipe")
        return dataclasses.replace(
            named,
            epochs=self.expert_epochs,
            batch=self.expert_batch or min(named.batch, max(LEAST_BATCH, images // EPOCH_STEPS)),
            rate=self.expert_rate or named.rate,
            augment=self.augmentation(),
        )

    def kept(self) -> str | tuple[int, ...]:
        """The epochs whose weights are stored; the last makes images and labels."""
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
        """Distilled images in an inner step, of m; the error says what does not divide them."""
        b = min(self.inner_batch or m, m)
        if m % b:
            raise ValueError(f"inner_batch={self.inner_batch} must divide the {m} distilled images, or be 0 for all")
        if self.micro_batch and b % min(self.micro_batch, b):
            raise ValueError(f"micro_batch={self.micro_batch} must divide the inner batch of {b}, or be 0")
        return b


@dataclasses.dataclass(frozen=True)
class MttConfig(DatmConfig):
    """Matching training trajectories (2203.11932): early epochs, hard labels, no gate, plain experts.

    FTD (2211.11004) is this with expert_recipe="ftd" and an average_decay such as 0.999.
    """

    expert_recipe: str = "mtt"
    growth_steps: Natural = 0
    learn_labels: bool = False
    threshold: Threshold = float("inf")
    start: str = "real"


def published(name: str, ipc: int) -> DatmConfig:
    """A configuration that DATM, or its study of noisy labels, was published with.

    The result is an ordinary configuration: `dataclasses.replace` changes one field and leaves all others as they
    are, `ipc` included.

    Args:
      name: cifar10, cifar100 or tiny_imagenet; or the values tuned to a noise, such as cifar10/symmetric/0.4.
      ipc: images per class, for which the other values were tuned.

    Returns:
      The configuration; what was not published is at its default.

    Raises:
      ValueError: nothing was published under this name, or not for this number of images.
    """
    return DatmConfig(ipc=ipc, **settings(name, ipc))
