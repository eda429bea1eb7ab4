"""LeNet-5 (LeCun et al. 1998) with ReLU and max pools, as the dataset-condensation papers use it."""

from flax import linen as nn

from ddjax.models import layers
from ddjax.models.layers import Maps, Output, Present, Style


class LeNet(nn.Module):
    """Two 5x5 convolutions without padding, two hidden layers, one linear layer; stride 2 for a side of 64 or more.

    Attributes:
      num_classes: outputs.
      style: activation and initialisation of all layers; there is no norm.
    """

    num_classes: int
    style: Style = Style(norm="none")

    @nn.compact
    def __call__(self, x: Maps, present: Present = None) -> Output:
        """[n h w c] -> logits [n k] and the last hidden layer [n d]."""
        layers.refuse_norm(self.style, "LeNet")
        side, style = min(x.shape[1:3]), self.style
        if side < 16:
            raise ValueError(f"LeNet needs images with a side of at least 16; got {side}: use an MLP or a ConvNet")
        stride, padding = 2 if side >= 64 else 1, layers.stem_padding(x, 0)
        x = layers.Conv(6, 5, stride, padding, scheme=style.init, name="conv_0")(x)
        x = layers.max_pool(style.activate(x))
        x = layers.Conv(16, 5, 1, 0, scheme=style.init, name="conv_1")(x)
        x = layers.max_pool(style.activate(x))
        y = x.reshape(x.shape[0], -1)
        for i, width in enumerate((120, 84)):
            y = style.activate(layers.dense(y, width, style, f"dense_{i}"))
        return layers.classify(y, self.num_classes, style)
