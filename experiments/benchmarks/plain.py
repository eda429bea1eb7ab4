"""The ConvNet in plain Flax, with its convolution, norm and pooling."""

from typing import Any

from flax import linen as nn

from ddjax.models.from_linen import from_linen
from ddjax.models.instance_norm import InstanceNorm
from ddjax.models.pooling import average_pool
from ddjax.types import Model


class PlainConvNet(nn.Module):
    """Three blocks and a linear layer. With `quick`, norm and pooling are those of ddjax."""

    width: int
    quick: bool

    @nn.compact
    def __call__(self, x: Any, present: Any = None) -> Any:
        """[n 32 32 3] -> logits [n 10] and features."""
        for _ in range(3):
            x = nn.Conv(self.width, (3, 3))(x)
            x = InstanceNorm()(x) if self.quick else nn.InstanceNorm()(x)
            x = nn.relu(x)
            x = average_pool(x) if self.quick else nn.avg_pool(x, (2, 2), (2, 2))
        features = x.reshape(len(x), -1)
        return nn.Dense(10)(features), features


def plain_convnet(width: int, *, quick: bool) -> Model:
    """Build it for 32x32x3 images and ten classes."""
    return from_linen(PlainConvNet(width, quick), (32, 32, 3))
