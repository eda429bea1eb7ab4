"""VGG-11 (Simonyan and Zisserman 2015) with a norm and one linear layer, as the distillation papers use it."""

from flax import linen as nn

from ddjax import names
from ddjax.models import layers
from ddjax.models.layers import Maps, Output, Present, Style
from ddjax.ranges import Count

WIDTHS = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # a tuple per stage, a max pool after each


class VGG11(nn.Module):
    """Eight 3x3 convolutions in five stages, then one linear layer; images need a side of 32 or more (grey: 28).

    Attributes:
      num_classes: outputs.
      width: channels of every convolution (RCIG: 128); None takes VGG's own 64 to 512.
      last: what is kept of a last map larger than 1x1: its corner (the top-left pixel, as in the dataset-condensation
        code for 64x64 images), or its mean.
      style: norm, activation and initialisation of all layers.
    """

    num_classes: int
    width: Count | None = None
    last: str = "corner"
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Maps, present: Present = None) -> Output:
        """[n h w c] -> logits [n k] and the pooled last maps [n d]."""
        names.check_known("last", self.last, ("corner", "mean"))
        padding, i = layers.stem_padding(x, 1), 0
        for stage in WIDTHS:
            for width in stage:
                x = layers.Conv(self.width or width, 3, 1, padding, scheme=self.style.init, name=f"conv_{i}")(x)
                x = self.style.activate(layers.normalize(x, present, self.style, f"norm_{i}"))
                padding, i = 1, i + 1
            x = layers.max_pool(x)
        x = x[:, 0, 0] if self.last == "corner" else x.mean((1, 2))
        return layers.classify(x, self.num_classes, self.style)
