"""RCIG's settings, and the published ones as data."""

import dataclasses
from typing import Annotated

from ddjax import ranges
from ddjax.names import choose, unknown
from ddjax.ranges import Count, Natural, NonNegative, PartialShare, Positive, Range

HYPERGRADIENTS = ("implicit", "unrolled")
SOLVERS = ("adam", "cg", "woodbury")
AtLeastTwo = Annotated[int, Range(2)]  # steps that have a curve


@dataclasses.dataclass(frozen=True)
class RcigConfig:
    """Everything that decides a run; the defaults are those published for CIFAR-10 at one image per class.

    Numbers of rows and `forward_block` are 0 for all rows. The options named quirk_ imitate accidents of the
    published code and are off.

    Attributes:
      depth: of the ConvNet; 0 takes it from the images' side.
      softplus_beta: sharpness of the softplus that stands for ReLU; 0 takes ReLU itself.
      norm: none, or batch.
      flip: mirror images of the support join every loss. Switch it off where a mirror image is another thing.
      l2_rate: the ridge is l2_rate * ipc * classes, absolute.
      inner_rate, hinv_rate: Adam rates of the inner problem and of the inverse Hessian; 0 searches for them.
      adapt_hinv: adapt the second rate as well; published code does not.
      hypergradient: implicit, or unrolled through the inner steps.
      solver: of the inverse Hessian: adam (published), cg, or woodbury (exact, for small supports).
      float64_solve: factor and solve kernel matrices in double precision.
      pool_most_steps: a visited network is trained 1 to this many steps; at `max_online` steps it is replaced.
      image_rate, temperature_rate: AdaBelief's, for images and labels, and for the temperature.
      start: real images, or noise.
      first_rows: prototypes from so many first rows only.
      direct_support, direct_batch, hinv_rows, implicit_rows, inner_rows, pool_rows: how many random rows of the
        support (of the real batch) are differentiated, or trained on; all are computed.
      forward_block: rows that are computed at a time where that needs no gradient.
      repeats: independent draws of rows that the outer gradients are averaged over.
      quirk_head_kernel: the head's kernel is a variable of the inner problem, moved by its raw gradient.
      quirk_old_counter: inner Adam counts its steps from the pool network's age.
    """

    ipc: Count = 1
    steps: Natural = 10_000
    width: Count = 128
    depth: Natural = 0
    softplus_beta: NonNegative = 60.0
    norm: str = "none"
    flip: bool = True
    learn_labels: bool = True
    l2_rate: Positive = 5e-4
    batch: Count = 1024
    inner_steps: AtLeastTwo = 20
    hinv_steps: AtLeastTwo = 20
    inner_rate: NonNegative = 0.0
    hinv_rate: NonNegative = 0.0
    adapt_hinv: bool = False
    hypergradient: str = "implicit"
    solver: str = "adam"
    float64_solve: bool = False
    pool_size: Count = 30
    pool_rate: NonNegative = 5e-5
    pool_most_steps: Count = 15
    max_online: Count = 100
    image_rate: NonNegative = 3e-3
    temperature_rate: NonNegative = 0.03
    average_decay: PartialShare = 0.99
    start: str = "real"
    first_rows: Natural = 0
    direct_support: Natural = 0
    direct_batch: Natural = 0
    hinv_rows: Natural = 0
    implicit_rows: Natural = 0
    inner_rows: Natural = 0
    pool_rows: Natural = 0
    forward_block: Natural = 0
    repeats: Count = 1
    quirk_head_kernel: bool = False
    quirk_old_counter: bool = False

    def __post_init__(self) -> None:
        """Refuse what could not run, before anything is compiled."""
        ranges.fields(self)
        for name, known in (("hypergradient", HYPERGRADIENTS), ("solver", SOLVERS)):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)

    def ridge(self, num_classes: int) -> float:
        """The absolute ridge; mirror images do not count."""
        return self.l2_rate * self.ipc * num_classes


# What each published configuration changes. Two were shipped with misspelt keys and could not run; here is what they
# evidently meant: a pool minibatch of 2000 in cifar100_50, one of 256 and 30 networks in depth_4_big.
CONFIGS: dict[str, dict] = {
    "depth_3": {},
    "depth_3_bn": {"norm": "batch"},
    "depth_3_no_flip": {"flip": False},
    "cifar100_50": {
        "flip": False,
        "repeats": 2,
        **dict.fromkeys(("direct_support", "implicit_rows", "hinv_rows", "inner_rows", "pool_rows"), 2000),
        "forward_block": 2000,
    },
    "depth_4_200": {"softplus_beta": 0.0, "direct_batch": 400, "forward_block": 400},
    "depth_4_big": {
        "softplus_beta": 0.0,
        "flip": False,
        **dict.fromkeys(("direct_support", "implicit_rows", "hinv_rows", "inner_rows", "forward_block"), 500),
        "direct_batch": 256,
        "pool_rows": 256,
    },
    "depth_5": {"softplus_beta": 0.0, "l2_rate": 0.05, "direct_batch": 256, "forward_block": 256},
}

# (data set, images per class) -> (configuration, outer steps); steps that were not published are the default.
# Step counts: those of the released checkpoints.
PUBLISHED: dict[tuple[str, int], tuple[str, int]] = {
    ("cifar10", 1): ("depth_3", 15_000),
    ("cifar10", 10): ("depth_3", 10_000),
    ("cifar10", 50): ("depth_3", 10_000),
    ("cifar100", 1): ("depth_3", 10_000),
    ("cifar100", 10): ("depth_3", 10_000),
    ("cifar100", 50): ("cifar100_50", 10_000),
    ("cub_200_2011", 1): ("depth_3", 10_000),
    ("cub_200_2011", 10): ("depth_3", 10_000),
    ("mnist", 1): ("depth_3_no_flip", 10_000),
    ("mnist", 10): ("depth_3_no_flip", 10_000),
    ("mnist", 50): ("depth_3_no_flip", 10_000),
    ("fashion_mnist", 1): ("depth_3_no_flip", 10_000),
    ("fashion_mnist", 10): ("depth_3_no_flip", 10_000),
    ("fashion_mnist", 50): ("depth_3_no_flip", 10_000),
    ("tiny_imagenet", 1): ("depth_4_200", 5_000),
    ("tiny_imagenet", 10): ("depth_4_big", 10_000),
    ("imagenette", 1): ("depth_5", 10_000),
    ("imagenette", 10): ("depth_5", 10_000),
    ("imagewoof", 1): ("depth_5", 10_000),
    ("imagewoof", 10): ("depth_5", 10_000),
}


def config_named(name: str, **fields: object) -> RcigConfig:
    """A published configuration by its name, with fields of your own."""
    return RcigConfig(**{**choose(CONFIGS, name, "RCIG configuration"), **fields})


def published(dataset: str, ipc: int) -> RcigConfig:
    """The configuration published for a data set and a number of images per class."""
    if (dataset, ipc) not in PUBLISHED:
        raise unknown("published RCIG setting", f"{dataset} ipc {ipc}", [f"{d} ipc {i}" for d, i in PUBLISHED])
    name, steps = PUBLISHED[dataset, ipc]
    return config_named(name, ipc=ipc, steps=steps)
