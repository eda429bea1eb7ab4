"""Residual networks of the cross-architecture tables, with strides or with average pooling."""

from flax import linen as nn

from ddjax import names
from ddjax.models import layers
from ddjax.models.layers import Maps, Others, Output, Present, Style
from ddjax.ranges import Count


def shrink(x: Maps, factor: int) -> Others:
    """Means over factor x factor blocks."""
    if factor == 2:
        return layers.average_pool(x)
    return x if factor == 1 else nn.avg_pool(x, (factor, factor), (factor, factor))


class Block(nn.Module):
    """conv3x3, norm, activation, conv3x3, norm, plus the shortcut, activation (He et al. 2016, basic block)."""

    features: int
    stride: int
    averaged: bool  # shrink by average pooling instead of strides
    style: Style

    @nn.compact
    def __call__(self, x: Maps, present: Present) -> Others:
        """[n h w c] -> [n h/stride w/stride features]."""
        style, stride = self.style, 1 if self.averaged else self.stride
        pool = self.stride // stride
        y = layers.Conv(self.features, 3, stride, use_bias=False, scheme=style.init, name="conv_0")(x)
        y = shrink(style.activate(layers.normalize(y, present, style, "norm_0")), pool)
        y = layers.Conv(self.features, 3, use_bias=False, scheme=style.init, name="conv_1")(y)
        y = layers.normalize(y, present, style, "norm_1")
        if self.stride != 1 or x.shape[-1] != self.features:
            x = layers.Conv(self.features, 1, stride, use_bias=False, scheme=style.init, name="shortcut_conv")(x)
            x = layers.normalize(shrink(x, pool), present, style, "shortcut_norm")
        return style.activate(x + y)


def strided_stem(x: Maps, averaged: bool) -> tuple[int, int, int]:
    """DATM's stem: 3x3, with stride 2 for a side of 64 or more."""
    stride = 2 if min(x.shape[1:3]) >= 64 else 1
    return (3, 1, stride) if averaged else (3, stride, 1)


def pooled_stem(x: Maps, averaged: bool) -> tuple[int, int, int]:
    """DANCE's stem: 3x3 for a side of up to 64, 3x3 pooled by 2 up to 128, and 7x7 shrunk by 4 above."""
    side = min(x.shape[1:3])
    if side <= 64:
        return 3, 1, 1
    if side <= 128:
        return 3, 1, 2
    return (7, 1, 4) if averaged else (7, 2, 2)


STEMS = {"strided": strided_stem, "pooled": pooled_stem}  # (images, averaged) -> kernel size, stride, pool


class ResNet(nn.Module):
    """A stem, four stages of basic blocks whose width doubles, pooling, one linear layer; convolutions have no bias.

    Attributes:
      num_classes: outputs.
      blocks: blocks per stage: 1 in a ResNet-10, 2 in a ResNet-18.
      width: channels of the first stage; None takes DANCE's: 32 for 32x32x3 images, 64 for all others.
      averaged: the AP variant: strides are 1 and average pooling shrinks the maps.
      stem: a name of `STEMS`.
      pooling: mean (over the last map) or flatten.
      style: norm, activation and initialisation of all layers.
    """

    num_classes: int
    blocks: Count = 2
    width: Count | None = 64
    averaged: bool = False
    stem: str = "strided"
    pooling: str = "mean"
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Maps, present: Present = None) -> Output:
        """[n h w c] -> logits [n k] and pooled features [n d]."""
        names.check_known("pooling", self.pooling, ("mean", "flatten"))
        width = self.width or (32 if x.shape[1:] == (32, 32, 3) else 64)
        size, stride, pool = names.choose(STEMS, self.stem, "stem")(x, self.averaged)
        x = layers.Conv(width, size, stride, use_bias=False, scheme=self.style.init, name="stem_conv")(x)
        x = self.style.activate(layers.normalize(x, present, self.style, "stem_norm"))
        if self.averaged:
            x = shrink(x, pool)
        elif pool != 1:
            x = nn.max_pool(x, (3, 3), (pool, pool), ((1, 1), (1, 1)))
        for stage in range(4):
            for block in range(self.blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                name = f"stage_{stage}_block_{block}"
                x = Block(width * 2**stage, stride, self.averaged, self.style, name=name)(x, present)
        x = x.mean((1, 2)) if self.pooling == "mean" else x
        return layers.classify(x, self.num_classes, self.style)
