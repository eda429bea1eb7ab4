"""DenseNet-BC (Huang et al. 2017) in the size that the condensation papers use on CIFAR."""

import jax.numpy as jnp
from flax import linen as nn

from ddjax.models import layers
from ddjax.models.layers import Maps, Others, Output, Present, Style
from ddjax.ranges import Count


class DenseNet(nn.Module):
    """Blocks of bottleneck layers that each add `growth` channels; transitions between blocks halve the channels.

    Attributes:
      num_classes: outputs.
      blocks: layers per block.
      growth: channels that a layer adds.
      style: norm, activation and initialisation of all layers.
    """

    num_classes: int
    blocks: tuple[Count, ...] = (6, 12, 24, 16)
    growth: Count = 12
    style: Style = Style(norm="batch")

    @nn.compact
    def __call__(self, x: Maps, present: Present = None) -> Output:
        """[n h w c] -> logits [n k] and the mean of the last maps [n d]."""

        def active(x: Maps, name: str) -> Maps:
            return self.style.activate(layers.normalize(x, present, self.style, f"{name}_norm"))

        def conv(x: Maps, features: int, size: int, name: str) -> Others:
            return layers.Conv(features, size, use_bias=False, scheme=self.style.init, name=f"{name}_conv")(x)

        x = conv(x, 2 * self.growth, 3, "stem")
        for block, depth in enumerate(self.blocks):
            if block:
                name = f"transition_{block}"
                x = layers.average_pool(conv(active(x, name), x.shape[-1] // 2, 1, name))
            for layer in range(depth):
                name = f"block_{block}_layer_{layer}"
                y = conv(active(x, f"{name}_in"), 4 * self.growth, 1, f"{name}_in")
                y = conv(active(y, f"{name}_out"), self.growth, 3, f"{name}_out")
                x = jnp.concatenate([y, x], axis=-1)
        x = active(x, "last").mean((1, 2))
        return layers.classify(x, self.num_classes, self.style)
