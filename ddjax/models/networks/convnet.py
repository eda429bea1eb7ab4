"""The ConvNet of the dataset-distillation papers: blocks of convolution, norm, activation and pooling."""

import math

from flax import linen as nn

from ddjax import names
from ddjax.models import layers
from ddjax.models.layers import Maps, Output, Present, Style
from ddjax.ranges import Count


def auto_depth(side: int) -> int:
    """The papers' number of blocks: 3 for a side of 28 or 32, 4 for 64, 5 for 128, and at least 2."""
    return max(2, math.ceil(math.log2(side)) - 2)


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, norm, activation and 2x2 pooling, then one linear layer.

    Attributes:
      num_classes: outputs.
      depth: number of blocks; None takes `auto_depth` of the images' smaller side.
      width: channels of the first block.
      width_growth: channels of a block over those of the block before: 1 in dataset condensation
        (Gidaris and Komodakis 2018; Zhao et al. 2021), 2 in FRePo and RCIG.
      pooling: a name of `layers.POOLS`.
      style: norm, activation and initialisation of all layers.
    """

    num_classes: int
    depth: Count | None = None
    width: Count = 128
    width_growth: Count = 1
    pooling: str = "avg"
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Maps, present: Present = None) -> Output:
        """[n h w c] -> logits [n k] and the flattened output of the last block [n d]."""
        depth = self._checked_depth(x)
        for i in range(depth):
            padding = layers.stem_padding(x, 1) if i == 0 else 1
            width = self.width * self.width_growth**i
            style = self.style
            x = layers.Conv(width, padding=padding, scheme=style.init, norm=style.norm, name=f"conv_{i}")(x)
            x = layers.normalize(x, present, self.style, f"norm_{i}")
            x = names.choose(layers.POOLS, self.pooling, "pooling")(self.style.activate(x))
        return layers.classify(x, self.num_classes, self.style)

    def _checked_depth(self, x: Maps) -> int:
        side = min(x.shape[1:3])
        depth = auto_depth(side) if self.depth is None else self.depth
        most = int(math.log2(side - 2 + 2 * layers.stem_padding(x, 1)))
        if depth < 1 or (self.pooling != "none" and depth > most):
            raise ValueError(
                f"a ConvNet of depth {depth} does not fit images of side {side}: each block halves the side; "
                f"use a depth of 1 to {most}, or pooling='none'"
            )
        return depth
