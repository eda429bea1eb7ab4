"""Kernels of our ConvNet at infinite width, by neural-tangents."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.kernels import tangent
from ddjax.kernels.gram import Kernel, blocked
from ddjax.names import unknown

KINDS = ("ntk", "nngp")
PARAMETERIZATIONS = ("standard", "ntk")
COVARIANCES = 2**26  # floats of pixel covariances in memory at a time, 256 MiB


class Stax(NamedTuple):
    """A network of neural-tangents: `init(key, input_shape)`, `apply(params, x)` and its infinite-width kernels."""

    init: Callable[..., Any]
    apply: Callable[..., Any]
    kernel: Callable[..., Any]


def convnet(
    depth: int,
    *,
    width: int = 128,
    width_growth: int = 1,
    num_classes: int = 10,
    parameterization: str = "standard",
    w_std: float = 1.0,
    b_std: float | None = 0.0,
    head: bool = True,
) -> Stax:
    """Blocks of 3x3 convolution, ReLU and 2x2 average pooling, then one linear layer, without norm.

    Args:
      depth: number of blocks.
      width: channels of the first block; they scale the NTK of the standard parameterisation, and nothing else.
      width_growth: channels of a block over those of the block before.
      num_classes: outputs; no kernel depends on it.
      parameterization: "standard" with w_std=1 and b_std=0 is LeCun's initialisation, that of our ConvNet with
        init="lecun" and norm="none"; "ntk" with w_std=sqrt(2) and b_std=0.1 is that of KIP.
      w_std: standard deviation of weights, in units of 1 / sqrt(fan in).
      b_std: that of biases; 0 has biases that start at zero and are trained, None has none.
      head: whether the linear layer belongs to it; without, the NNGP kernel times the number of features is the
        conjugate kernel.
    """
    if depth < 1:
        raise ValueError(f"convnet() takes a depth of 1 or more; got {depth}")
    if parameterization not in PARAMETERIZATIONS:
        raise unknown("parameterization", parameterization, PARAMETERIZATIONS)
    stax = tangent.load().stax
    style = {"W_std": w_std, "b_std": b_std, "parameterization": parameterization}
    layers = []
    for i in range(depth):
        conv = stax.Conv(width * width_growth**i, (3, 3), padding="SAME", **style)
        layers += [conv, stax.Relu(), stax.AvgPool((2, 2), (2, 2))]
    layers.append(stax.Flatten())
    if head:
        layers.append(stax.Dense(num_classes, **style))
    return Stax(*stax.serial(*layers))


def convnet_kernel(
    kind: str, depth: int, *, block: int | None = None, columns: int | None = None, **options: Any
) -> Kernel:
    """The infinite-width kernel of `convnet` as a function (x [n h w c], y [m h w c]) -> [n m].

    Args:
      kind: "ntk" (training all layers) or "nngp" (the last layer only).
      depth: number of blocks.
      block: at most this many rows of x at a time; None takes as many as `COVARIANCES` has room for.
      columns: at most this many rows of y at a time, for sets of which a single row of x is too much.
      options: of `convnet`.

    Pooling needs the covariance of every pair of pixels: h^2 w^2 floats for each pair of images, 16 KiB at 8x8 and
    4 MiB at 32x32, and a few times that in work space and gradients. Grey 28x28 images are padded to 32x32, as our
    ConvNet pads them.
    """
    if kind not in KINDS:
        raise unknown("kind of kernel", kind, KINDS)
    network = convnet(depth, **options)

    def kernel(x: Float[Array, "n h w c"], y: Float[Array, "m h w c"]) -> Float[Array, "n m"]:
        x, y = _padded(x), _padded(y)
        h, w = x.shape[1:3]
        if min(h, w) < 2**depth:
            raise ValueError(f"a depth of {depth} halves the side {depth} times; got images {list(x.shape[1:])}")
        at_once = min(len(y), columns or len(y))
        rows = block or max(1, COVARIANCES // (at_once * (h * w) ** 2))
        return blocked(lambda a, b: network.kernel(a, b, kind), x, y, rows, columns)

    return kernel


def _padded(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))) if x.shape[1:] == (28, 28, 1) else x
