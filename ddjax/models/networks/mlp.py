"""The multilayer perceptron of the dataset-condensation papers."""

import math

from flax import linen as nn

from ddjax.models import layers
from ddjax.models.layers import Maps, Output, Present, Style
from ddjax.ranges import Count, Natural


class MLP(nn.Module):
    """Hidden fully connected layers with an activation, then one linear layer.

    Attributes:
      num_classes: outputs.
      width: units of a hidden layer.
      depth: number of hidden layers; 0 is a linear classifier.
      style: activation and initialisation of all layers; there is no norm.
    """

    num_classes: int
    width: Count = 128
    depth: Natural = 2
    style: Style = Style(norm="none")

    @nn.compact
    def __call__(self, x: Maps, present: Present = None) -> Output:
        """[n h w c] -> logits [n k] and the last hidden layer [n d]."""
        layers.refuse_norm(self.style, "an MLP")
        y = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        for i in range(self.depth):
            y = self.style.activate(layers.dense(y, self.width, self.style, f"dense_{i}"))
        return layers.classify(y, self.num_classes, self.style)
