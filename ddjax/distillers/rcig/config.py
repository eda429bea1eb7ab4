"""Settings of RCIG, and the published ones as data."""

from typing import Annotated

from ddjax import ranges
from ddjax.names import choose, unknown
from ddjax.ranges import Count, Natural, NonNegative, PartialShare, Positive, Range

AtLeastTwo = Annotated[int, Range(2)]  # steps that have a curve


@ranges.settings()
class RcigConfig:
    """Settings of RCIG; the defaults are those published for CIFAR-10 at one image per class.

    For numbers of rows and for `forward_block`, 0 stands for all rows. The two options named quirk_ reproduce
    accidents of the published code for comparisons with it; they are off by default.

    Attributes:
      ipc: images per class.
      steps: outer steps.
      width: channels of the first block of the ConvNet.
      depth: blocks of the ConvNet; 0 derives the number from the side of the images.
      softplus_beta: sharpness of the softplus that replaces ReLU; 0 takes ReLU.
      norm: none, or batch.
      flip: add the flipped images of the support to every loss. Switch it off where a flipped image has another
        meaning.
      learn_labels: update the labels too.
      l2_rate: the absolute ridge is l2_rate * ipc * classes.
      batch: real images per step.
      inner_steps: steps of the inner problem.
      hinv_steps: steps of the solve with the inner Hessian.
      inner_rate: Adam's first learning rate for the inner problem, adapted every 50 steps; 0 searches for it.
      hinv_rate: Adam's learning rate for the inverse Hessian; 0 searches for it.
      adapt_hinv: adapt `hinv_rate` as well; published code does not.
      hypergradient: implicit, or unrolled through the inner steps.
      solver: of the inverse Hessian: adam (published), cg, or woodbury (exact, for small supports).
      float64_solve: factor and solve kernel matrices in double precision.
      pool_size: networks in the pool.
      pool_rate: learning rate of Adam for the networks.
      pool_most_steps: a drawn network is trained for 1 to this many steps.
      max_online: training steps after which a network is replaced.
      image_rate: learning rate of AdaBelief for images and labels.
      temperature_rate: learning rate of AdaBelief for the temperature.
      average_decay: decay of the moving average of the support, which is the result.
      start: real images, or noise.
      first_rows: draw the first images from this many first rows only.
      direct_support: support rows that the direct gradient differentiates.
      direct_batch: real rows that the direct gradient differentiates.
      hinv_rows: support rows in a backward pass of the inverse Hessian by adam.
      implicit_rows: support rows that the implicit gradient differentiates.
      inner_rows: support rows in a backward pass of the inner problem.
      pool_rows: support rows per training step of a pool network.
      forward_block: rows per forward pass that needs no gradient.
      repeats: independent draws of rows over which the outer gradients are averaged.
      quirk_head_kernel: make the head's kernel a variable of the inner problem, updated by its raw gradient.
      quirk_old_counter: start the step counter of the inner Adam at the age of the pool network.
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
    hypergradient: Annotated[str, ("implicit", "unrolled")] = "implicit"
    solver: Annotated[str, ("adam", "cg", "woodbury")] = "adam"
    float64_solve: bool = False
    pool_size: Count = 30
    pool_rate: NonNegative = 5e-5
    pool_most_steps: Count = 15
    max_online: Count = 100
    image_rate: NonNegative = 3e-3
    temperature_rate: NonNegative = 0.03
    average_decay: PartialShare = 0.99
    start: Annotated[str, ("real", "noise")] = "real"
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

    def ridge(self, num_classes: int) -> float:
        """The absolute ridge; flipped images do not count."""
        return self.l2_rate * self.ipc * num_classes


# The fields that each published configuration changes. Two of them were released with misspelt keys and could not run.
# They are corrected here: a pool minibatch of 2000 in cifar100_50, and one of 256 with 30 networks in depth_4_big.
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

# (data set, images per class) -> (configuration, outer steps). Step counts are those of the released checkpoints,
# or the default.
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
    """A published configuration by its name.

    Args:
      name: a name of `CONFIGS`.
      **fields: fields that replace its values.

    Returns:
      The configuration.

    Raises:
      ValueError: the name is unknown.

    Example:
      >>> config_named("depth_5", ipc=10).l2_rate
      0.05
    """
    return RcigConfig(**{**choose(CONFIGS, name, "RCIG configuration"), **fields})


def published(dataset: str, ipc: int) -> RcigConfig:
    """The configuration published for a data set and a number of images per class.

    Args:
      dataset: name of the data set.
      ipc: images per class.

    Returns:
      The configuration.

    Raises:
      ValueError: nothing was published for this pair.

    Example:
      >>> published("cifar10", 1).steps
      15000
    """
    if (dataset, ipc) not in PUBLISHED:
        raise unknown("published RCIG setting", f"{dataset} ipc {ipc}", [f"{d} ipc {i}" for d, i in PUBLISHED])
    name, steps = PUBLISHED[dataset, ipc]
    return config_named(name, ipc=ipc, steps=steps)
