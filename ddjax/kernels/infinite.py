"""Kernels of the ConvNet and of the multilayer perceptron at infinite width, by neural-tangents."""

import functools
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.kernels import tangent
from ddjax.kernels.gram import Kernel, blocked
from ddjax.names import check_known
from ddjax.precision import policy

KINDS = ("ntk", "nngp")
PARAMETERIZATIONS = ("standard", "ntk")
COVARIANCES = 2**26  # pixel covariances held at a time, in floats: 256 MiB


def convnet_kernel(
    kind: str,
    depth: int,
    *,
    width: int = 128,
    width_growth: int = 1,
    parameterization: str = "standard",
    w_std: float = 1.0,
    b_std: float | None = 0.0,
    head: bool = True,
    block: int | None = None,
) -> Kernel:
    """The infinite-width kernel of blocks of 3x3 convolution, ReLU and 2x2 average pooling, then one linear layer.

    Average pooling needs the covariance of every pair of pixels: h^2 w^2 floats for each pair of images, 16 KiB at 8x8
    and 4 MiB at 32x32, and several times that as workspace and for gradients. Grey 28x28 images are padded to 32x32,
    as in the ConvNet.

    Args:
      kind: "ntk" (all layers are trained) or "nngp" (only the last layer is trained).
      depth: number of blocks.
      width: channels of the first block; they only scale the NTK of the standard parameterisation.
      width_growth: channels of a block divided by those of the block before.
      parameterization: "standard" or "ntk". "standard" with w_std=1 and b_std=0 is LeCun's initialisation, as in the
        ConvNet with init="lecun" and norm="none"; "ntk" with w_std=sqrt(2) and b_std=0.1 is KIP's.
      w_std: standard deviation of the weights, in units of 1 / sqrt(fan in).
      b_std: standard deviation of the biases; with 0 they start at zero and are trained, with None there are none.
      head: include the linear layer. Without it, the NNGP kernel times the number of features is the conjugate kernel.
      block: rows of x per block; None derives it from `COVARIANCES`.

    Returns:
      A function (x [n h w c], y [m h w c]) -> [n m].

    Raises:
      ValueError: the depth is below 1, or a name is unknown; when called, the images are too small for the depth.
    """
    _check(kind, depth)
    check_known("parameterization", parameterization, PARAMETERIZATIONS)
    stax = tangent.load().stax
    style = {"W_std": w_std, "b_std": b_std, "parameterization": parameterization}
    layers = []
    for i in range(depth):
        conv = stax.Conv(width * width_growth**i, (3, 3), padding="SAME", **style)
        layers += [conv, stax.Relu(), stax.AvgPool((2, 2), (2, 2))]
    layers += [stax.Flatten(), *([stax.Dense(1, **style)] if head else [])]  # no kernel depends on the outputs
    pairs = _kernel(kind, layers)

    def kernel(x: Float[Array, "n h w c"], y: Float[Array, "m h w c"]) -> Float[Array, "n m"]:
        x, y = _padded(x), _padded(y)
        h, w = x.shape[1:3]
        if min(h, w) < 2**depth:
            raise ValueError(
                f"depth={depth} halves the side {depth} times and needs a side of at least {2**depth}; got images "
                f"{list(x.shape[1:])}. Lower the depth or use larger images"
            )
        return blocked(pairs, x, y, block or max(1, COVARIANCES // (len(y) * (h * w) ** 2)))

    return kernel


def mlp_kernel(kind: str, depth: int) -> Kernel:
    """The infinite-width kernel of `depth` hidden layers with ReLU and a linear layer, in the "ntk" parameterisation.

    The standard deviation of weights is sqrt(2 / fan in), that of biases 0.1.

    Args:
      kind: "ntk" (all layers are trained) or "nngp" (only the last layer is trained).
      depth: number of hidden layers.

    Returns:
      A function (x [n d], y [m d]) -> [n m].

    Raises:
      ValueError: the kind is unknown, or the depth is below 1.

    Example:
      >>> x = jnp.eye(2)
      >>> mlp_kernel("nngp", 1)(x, x).shape
      (2, 2)
    """
    _check(kind, depth)
    stax = tangent.load().stax
    dense = functools.partial(stax.Dense, 1, W_std=2**0.5, b_std=0.1)  # no kernel depends on the width
    return _kernel(kind, [*(layer for _ in range(depth) for layer in (dense(), stax.Relu())), dense()])


def _check(kind: str, depth: int) -> None:
    check_known("kind of kernel", kind, KINDS)
    if depth < 1:
        raise ValueError(f"depth must be at least 1; got {depth}")


def _kernel(kind: str, layers: list[Any]) -> Kernel:
    _, _, of_layers = tangent.load().stax.serial(*layers)

    def kernel(x: Array, y: Array) -> Array:
        with policy("float32"):  # neural-tangents leaves its products to the platform
            return of_layers(x, y, kind)

    return kernel


def _padded(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))) if x.shape[1:] == (28, 28, 1) else x
