"""Preprocessings by name, and the channel constants of published methods."""

from typing import Annotated, NamedTuple

from ddjax import ranges
from ddjax.ranges import NonNegative


class Channels(NamedTuple):
    """One mean and one standard deviation per channel, on the 0..1 pixel scale."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


_CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
_MNIST = Channels((0.1307,), (0.3081,))
_FASHION = Channels((0.2861,), (0.3530,))

# `per_image_std` is the mean of the standard deviations of the single images, a mistake in much published work (which
# also uses the constants of CIFAR-10 for CIFAR-100). `pixel_std` is the standard deviation of all pixels.
CONSTANTS: dict[str, dict[str, Channels]] = {
    "per_image_std": {
        "cifar10": Channels(_CIFAR10_MEAN, (0.2023, 0.1994, 0.2010)),
        "cifar100": Channels(_CIFAR10_MEAN, (0.2023, 0.1994, 0.2010)),
        "tiny_imagenet": Channels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "mnist": _MNIST,
        "fashion_mnist": _FASHION,
        "svhn": Channels((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    },
    "pixel_std": {
        "cifar10": Channels(_CIFAR10_MEAN, (0.2470, 0.2435, 0.2616)),
        "cifar100": Channels((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
        "tiny_imagenet": Channels((0.4759, 0.4481, 0.3926), (0.2763, 0.2687, 0.2813)),
        "mnist": _MNIST,
        "fashion_mnist": _FASHION,
        "imagenette": Channels((0.4626, 0.4588, 0.4251), (0.2790, 0.2745, 0.2973)),
        "imagewoof": Channels((0.4917, 0.4613, 0.3931), (0.2513, 0.2442, 0.2530)),
        "cub_200_2011": Channels((0.4810, 0.4964, 0.4245), (0.2129, 0.2084, 0.2468)),
    },
}
# other names for the same images
ALIASES = {
    "cifar10_n": "cifar10",
    "cifar100_n": "cifar100",
    "cifar100_coarse": "cifar100",
    "svhn_cropped": "svhn",
    "caltech_birds2011": "cub_200_2011",
}


@ranges.settings()
class Spec:
    """The steps of a preprocessing. Pixels are scaled to 0..1, then standardised, then whitened.

    Attributes:
      name: of the preprocessing.
      standardize: `none`, published constants of the data set (`per_image_std` or `pixel_std`), or `fit` on the
        training images. If there are no such constants, they are fitted, and the fingerprint says so.
      zca: `none`; `absolute`, which adds `eps` to the eigenvalues of the unbiased covariance (DATM); or `relative`,
        which adds `eps` times their mean to the eigenvalues of the biased covariance (FRePo, RCIG) and does not scale
        directions beyond the number of images.
      eps: of the whitening.
      grey_zca: whether images of one channel are whitened.

    Example:
      >>> Spec("mine", standardize="fit", zca="absolute").eps
      0.1
    """

    name: str
    standardize: Annotated[str, ("none", "per_image_std", "pixel_std", "fit")] = "none"
    zca: Annotated[str, ("none", "absolute", "relative")] = "none"
    eps: NonNegative = 0.1
    grey_zca: bool = True


SPECS = {
    spec.name: spec
    for spec in (
        Spec("unit"),
        Spec("standardize", standardize="fit"),
        Spec("dance", standardize="per_image_std"),
        Spec("datm", zca="absolute"),
        Spec("datm_plain", standardize="per_image_std"),
        Spec("rcig", standardize="pixel_std", zca="relative", grey_zca=False),
    )
}
