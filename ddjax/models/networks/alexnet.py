"""The AlexNet of the dataset-condensation papers: five convolutions, three max pools, one linear layer."""

from flax import linen as nn

from ddjax.models import layers
from ddjax.models.layers import Maps, Output, Present, Style
from ddjax.ranges import Count

# kernel size, channels, and whether a max pool follows
CONVOLUTIONS = ((5, 128, True), (5, 192, True), (3, 256, False), (3, 192, False), (3, 192, True))


class AlexNet(nn.Module):
    """Convolutions with an activation; images with a side of 64 or more get a first stride of 2.

    Attributes:
      num_classes: outputs.
      width: channels of every convolution (RCIG: 128); None takes 128, 192, 256, 192, 192.
      style: norm (none in the papers), activation and initialisation of all layers.
    """

    num_classes: int
    width: Count | None = None
    style: Style = Style(norm="none")

    @nn.compact
    def __call__(self, x: Maps, present: Present = None) -> Output:
        """[n h w c] -> logits [n k] and the flattened last maps [n d]."""
        stride = 2 if min(x.shape[1:3]) >= 64 else 1
        for i, (size, width, pooled) in enumerate(CONVOLUTIONS):
            padding = layers.stem_padding(x, size // 2) if i == 0 else size // 2
            stride = stride if i == 0 else 1
            width = self.width or width
            x = layers.Conv(width, size, stride, padding, scheme=self.style.init, name=f"conv_{i}")(x)
            x = self.style.activate(layers.normalize(x, present, self.style, f"norm_{i}"))
            x = layers.max_pool(x) if pooled else x
        return layers.classify(x, self.num_classes, self.style)
