"""DATM's settings; those of its predecessors MTT and FTD are other values of the same."""

import dataclasses
from typing import Any

from ddjax.bilevel.unrolled_descent import HYPERGRADIENTS, REMATS
from ddjax.distillers.datm_settings import settings
from ddjax.experts import RECIPES
from ddjax.names import choose, unknown
from ddjax.training import Recipe

STARTS = ("correct", "real", "noise")
SHORT = ("error", "real")
KEEPS = ("all", "window")
EPOCH_STEPS = 90  # of an expert at the least, where its batch is not given: what it learns in an epoch is in its steps
LEAST_BATCH = 16
AT_LEAST_ONE = ("ipc", "experts", "expert_epochs", "inner_steps", "match_epochs", "last_start", "segments")
NOT_NEGATIVE = ("steps", "width", "depth", "expert_batch", "inner_batch", "micro_batch")
NOT_NEGATIVE += ("first_start", "early_last_start", "growth_steps")
AT_LEAST = dict.fromkeys(AT_LEAST_ONE, 1) | dict.fromkeys(NOT_NEGATIVE, 0)
POSITIVE = ("step_size", "threshold")


@dataclasses.dataclass(frozen=True, init=False)
class DatmConfig:
    """Everything that decides a run; the defaults suit small images in minutes on a CPU.

    Attributes:
      setting: published values to take where none are given here: cifar10, cifar100, tiny_imagenet, or those that
        were tuned to a noise, as cifar10/symmetric/0.4 (see `datm_settings`); with `ipc` it names a configuration.
      width: of the ConvNet; 0 takes 128, or 32 for images of up to 16 pixels.
      depth: of the ConvNet; 0 takes it from the images' side.
      use_flip: mirror images are among the augmentations of experts and students. Switch it off where a mirror image
        is another thing.
      expert_recipe: how experts are trained: datm (GSAM), mtt (SGD), ftd; with `expert_epochs` for its own number.
      expert_batch: images in a step of theirs; 0 takes the recipe's, or fewer (16 at least) where an epoch would have
        less than 90 steps.
      expert_rate: their rate; 0 takes the recipe's.
      expert_seed: of the experts; -1 takes one from the run's own key, any other is shared by runs of all seeds.
      storage: float32, or bfloat16 for half the size; `store=False` trains the experts anew in each run.
      keep: the weights of all epochs, which serve every other setting too, or only of the window that is read.
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

    ipc: int = 1
    setting: str = ""
    steps: int = 300
    width: int = 0
    depth: int = 0
    use_flip: bool = True
    expert_recipe: str = "datm"
    experts: int = 4
    expert_epochs: int = 30
    expert_batch: int = 0
    expert_rate: float = 0.0
    expert_seed: int = -1
    storage: str = "float32"
    store: bool = True
    keep: str = "all"
    inner_steps: int = 40
    inner_batch: int = 0
    match_epochs: int = 8
    first_start: int = 0
    early_last_start: int = 10
    last_start: int = 20
    growth_steps: int = 500
    image_rate: float = 100.0
    image_momentum: float = 0.5
    label_rate: float = 5.0
    label_momentum: float = 0.9
    step_size_rate: float = 1e-4
    step_size_momentum: float = 0.5
    step_size: float = 0.02
    positive_step_size: bool = False
    learn_labels: bool = True
    threshold: float = 1.0
    average_decay: float = 0.0
    start: str = "correct"
    short_class: str = "error"
    hypergradient: str = "exact"
    remat: str = "nothing"
    segments: int = 1
    micro_batch: int = 0
    memory: float = 0.0

    def __init__(self, **given: Any) -> None:
        """Take the given values, then those published under `setting`, then the defaults."""
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        for name in given:
            if name not in fields:
                raise unknown(f"field of {type(self).__name__}", name, fields)
        chosen = {**fields, **given}
        if chosen["setting"]:
            chosen = {**fields, **settings(chosen["setting"], chosen["ipc"]), **given}
        for name, value in chosen.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Refuse what could not run, before anything is compiled."""
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
        for name, least in AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)}")
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive; got {getattr(self, name)}")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must lie in [0, 1); got {self.average_decay}")
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
        return "dsa" if self.use_flip else "dsa_noflip"

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

    def batch(self, m: int) -> int:
        """Distilled images in an inner step, of m; the error says what does not divide them."""
        b = min(self.inner_batch or m, m)
        if m % b:
            raise ValueError(f"inner_batch={self.inner_batch} must divide the {m} distilled images, or be 0 for all")
        if self.micro_batch and b % min(self.micro_batch, b):
            raise ValueError(f"micro_batch={self.micro_batch} must divide the inner batch of {b}, or be 0")
        return b


@dataclasses.dataclass(frozen=True, init=False)
class MttConfig(DatmConfig):
    """Matching training trajectories (2203.11932): early epochs, hard labels, no gate, plain experts.

    FTD (2211.11004) is this with expert_recipe="ftd" and an average_decay such as 0.999.
    """

    expert_recipe: str = "mtt"
    growth_steps: int = 0
    learn_labels: bool = False
    threshold: float = float("inf")
    start: str = "real"
