"""Published parameter counts and feature widths, and the registry of names. Nothing here computes a network."""

import jax
import jax.numpy as jnp
import pytest

from ddjax import models
from ddjax.models.networks.resnet import pooled_stem, strided_stem
from ddjax.types import Model

CIFAR, TINY, IMAGENET, MNIST, DIGITS = (32, 32, 3), (64, 64, 3), (128, 128, 3), (28, 28, 1), (8, 8, 1)

PUBLISHED = [
    # name, images, classes, options, trained parameters, features
    ("convnet", CIFAR, 10, {}, 320_010, 2048),
    ("convnet", CIFAR, 100, {}, 504_420, 2048),
    ("convnet", CIFAR, 20, {}, 340_500, 2048),
    ("convnet", MNIST, 10, {}, 317_706, 2048),
    ("convnet", TINY, 200, {}, 857_160, 2048),
    ("convnet", TINY, 200, {"depth": 3}, 1_938_120, 8192),
    ("convnet", IMAGENET, 10, {}, 615_690, 2048),
    ("convnet_rcig", CIFAR, 10, {}, 1_560_842, 8192),
    ("convnet_rcig", MNIST, 10, {}, 1_558_538, 8192),
    ("convnet_rcig", TINY, 200, {}, 9_475_528, 16_384),
    ("convnet_rcig", IMAGENET, 10, {}, 25_402_634, 32_768),
    ("mlp", CIFAR, 10, {}, 411_146, 128),
    ("mlp", TINY, 10, {}, 411_146 + (12_288 - 3072) * 128, 128),
    ("lenet", CIFAR, 10, {}, 62_006, 84),
    ("lenet", TINY, 10, {}, 62_006, 84),
    ("alexnet", CIFAR, 10, {}, 1_872_202, 3072),
    ("alexnet", TINY, 10, {}, 1_872_202, 3072),
    ("vgg11", CIFAR, 10, {}, 9_231_114, 512),
    ("vgg11", TINY, 10, {}, 9_231_114, 512),
    ("resnet18", CIFAR, 10, {}, 11_173_962, 512),
    ("resnet18", TINY, 10, {}, 11_173_962, 512),
    ("resnet18", MNIST, 10, {}, 11_173_962 - 2 * 9 * 64, 512),
    ("resnet18_ap", CIFAR, 10, {}, 11_173_962 + 15 * 512 * 10, 512 * 16),
    ("resnet18_ap", TINY, 10, {}, 11_173_962 + 15 * 512 * 10, 512 * 16),
    ("resnet18_ap", MNIST, 10, {}, 11_173_962 - 2 * 9 * 64 + 8 * 512 * 10, 512 * 9),
    ("resnet10_dance", CIFAR, 10, {}, 1_228_970, 256),
    ("resnet18_dance", CIFAR, 10, {}, 2_797_610, 256),
    ("resnet18_dance", TINY, 10, {}, 11_173_962, 512),
    ("resnet_ap10", CIFAR, 10, {}, 1_228_970, 256),
    ("densenet", CIFAR, 10, {}, 1_000_618, 384),
]


def marked(row):
    return pytest.param(*row, marks=[pytest.mark.slow] if row[0] == "densenet" else [])


@pytest.mark.parametrize(("name", "shape", "classes", "options", "parameters", "width"), list(map(marked, PUBLISHED)))
def test_published_sizes(name, shape, classes, options, parameters, width):
    model = models.build(name, shape, classes, **options)
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert type(params) is dict
    trainable, stats = models.split_stats(params)
    assert sum(leaf.size for leaf in jax.tree.leaves(trainable)) == parameters
    assert trainable["head"]["kernel"].shape == (width, classes)  # flax infers it from the features
    if shape == CIFAR:
        images, weight = jax.ShapeDtypeStruct((2, *shape), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
        logits, moved = jax.eval_shape(model.train, params, images, weight)
        assert logits.shape == (2, classes) and moved == params
    assert bool(stats) == (name in ("resnet10_dance", "resnet18_dance", "densenet"))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", sorted(set(models.NETWORKS) - {row[0] for row in PUBLISHED}))
def test_the_other_names(name):
    params = jax.eval_shape(models.build(name, CIFAR, 10).init, jax.random.key(0))
    assert params["head"]["bias"].shape == (10,)


@pytest.mark.parametrize(("side", "width"), [(8, 16), (12, 9), (16, 16), (28, 9), (32, 16), (64, 16), (128, 16)])
def test_depth_follows_the_side(side, width):
    model = models.build("convnet", (side, side, 3), 10, width=4)
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert params["head"]["kernel"].shape[0] == (width if side != 8 else 4) * 4


def test_digits_can_be_three_blocks_deep():
    params = jax.eval_shape(models.build("convnet", DIGITS, 10, depth=3, width=4).init, jax.random.key(0))
    assert params["head"]["kernel"].shape == (4, 10)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize(
    ("stem", "side", "last"),
    [
        ("strided", 32, 4),
        ("strided", 64, 4),
        ("pooled", 32, 4),
        ("pooled", 64, 8),
        ("pooled", 128, 8),
        ("pooled", 224, 7),
    ],
)
def test_stems_by_side(stem, side, last, averaged):
    options = {"width": 2, "blocks": 1, "pooling": "flatten", "stem": stem, "averaged": averaged}
    params = jax.eval_shape(models.build("resnet18", (side, side, 3), 10, **options).init, jax.random.key(0))
    assert params["head"]["kernel"].shape[0] == last**2 * 16
    size, stride, pool = {"strided": strided_stem, "pooled": pooled_stem}[stem](jnp.zeros((1, side, side, 3)), averaged)
    assert size == (7 if side > 128 else 3)
    assert not averaged or stride == 1
    assert stride * pool == {("pooled", 128): 2, ("pooled", 224): 4, ("strided", 64): 2}.get((stem, side), 1)


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("convnat", CIFAR, {}, "unknown network 'convnat'.*Did you mean 'convnet'"),
        ("convnet", CIFAR, {"widht": 3}, "unknown option of ConvNet 'widht'.*Did you mean 'width'"),
        ("convnet", CIFAR, {"norm": "bacth"}, "unknown norm 'bacth'.*batch"),
        ("convnet", CIFAR, {"init": "glorot"}, "unknown init 'glorot'.*lecun"),
        ("convnet", CIFAR, {"activation": "swish"}, "unknown activation 'swish'.*softplus"),
        ("convnet", CIFAR, {"pooling": "min"}, "unknown pooling 'min'.*avg"),
        ("convnet", CIFAR, {"depth": 6}, "depth 6 does not fit images of side 32.*1 to 5"),
        ("convnet", CIFAR, {"depth": 0}, "depth of ConvNet .* got 0"),
        ("convnet", (32, 32, 0), {}, "image_shape"),
        ("resnet18", DIGITS, {}, "instance norm of a 1x1 map"),
        ("resnet18", CIFAR, {"stem": "wide"}, "unknown stem"),
        ("resnet18", CIFAR, {"pooling": "avg"}, "unknown pooling 'avg'.*flatten"),
        ("vgg11", DIGITS, {"norm": "none"}, "too small for this network"),
        ("vgg11", CIFAR, {"last": "first"}, "unknown last"),
        ("lenet", DIGITS, {}, "side of at least 16"),
        ("mlp", CIFAR, {"norm": "batch"}, "an MLP has no norm"),
        ("no.such.module:NET", CIFAR, {}, "module:ATTRIBUTE"),
    ],
)
def test_mistakes_are_answered_before_anything_runs(name, shape, options, message):
    with pytest.raises(ValueError, match=message):
        models.build(name, shape, 10, **options)


def test_no_classes():
    with pytest.raises(ValueError, match="num_classes"):
        models.build("convnet", CIFAR, 0)


def linear(image_shape, num_classes, *, gain=1.0):
    """A fork's network, without any framework."""
    del image_shape

    def features(params, images):
        return images.reshape(images.shape[0], -1)

    def apply(params, images):
        return gain * features(params, images)[:, :num_classes]

    return Model(lambda key: {}, apply, features, lambda params, images, weight: (apply(params, images), params))


def test_a_fork_brings_its_own():
    model = models.build(f"{__name__}:linear", DIGITS, 10, gain=2.0)
    assert (model.apply({}, jnp.ones((3, *DIGITS))) == 2).all()
