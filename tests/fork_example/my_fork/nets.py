"""A network from outside: a function of the images' shape and the number of classes that returns a Linen module."""

from flax import linen as nn


class Small(nn.Module):
    """One hidden layer; `present` is a 0/1 weight for each image in training, for those with batch norm."""

    num_classes: int

    @nn.compact
    def __call__(self, images, present=None):
        """[n h w c] -> logits [n k], and the features that the last layer reads [n d]."""
        features = nn.relu(nn.Dense(32, precision="highest")(images.reshape(len(images), -1)))
        return nn.Dense(self.num_classes, precision="highest")(features), features


def small(image_shape, num_classes):
    """For `--network my_fork.nets:small`."""
    return Small(num_classes)
