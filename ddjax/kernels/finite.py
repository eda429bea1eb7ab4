"""Kernels of a finite network at given parameters.

`apply` is any pure function of parameters and images that treats each image on its own: `model.apply` (logits),
`model.features`, or a closure that fixes some of the parameters, which gives the kernel of the others.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.kernels.gram import gram
from ddjax.types import Images, Params

Apply = Callable[[Params, Images], Array]


def conjugate(
    features: Apply, params: Params, x: Float[Array, "n h w c"], y: Float[Array, "m h w c"]
) -> Float[Array, "n m"]:
    """The conjugate kernel: inner products of the features that the last layer reads.

    Divided by the number of features it is the empirical NNGP kernel.

    Args:
      features: (params, images) -> [n d].
      params: the network's parameters.
      x: images.
      y: images.

    Returns:
      features(x) features(y)^T, not normalised.

    Example:
      >>> import jax.numpy as jnp
      >>> images = jnp.ones((2, 1, 1, 3))
      >>> conjugate(lambda params, x: params * x.reshape(len(x), -1), 2.0, images, images).tolist()
      [[12.0, 12.0], [12.0, 12.0]]
    """
    return gram(features(params, x), features(params, y))


def ntk(
    apply: Apply, params: Params, x: Float[Array, "n h w c"], y: Float[Array, "m h w c"], *, average: bool = True
) -> Array:
    """The empirical neural tangent kernel, J(x) J(y)^T with J the derivative of the outputs in the parameters.

    The Jacobians of all images are held in memory: (n + m) k times the size of the parameters.

    Args:
      apply: (params, images) -> [n k]; the kernel covers all of its parameters.
      params: where the network is linearised.
      x: images.
      y: images.
      average: take the mean over the k outputs.

    Returns:
      [n m], or [n m k k] without the average.

    Example:
      >>> import jax.numpy as jnp
      >>> images = jnp.ones((2, 1, 1, 3))
      >>> ntk(lambda params, x: x.reshape(len(x), -1) @ params, jnp.ones((3, 4)), images, images).tolist()
      [[3.0, 3.0], [3.0, 3.0]]
    """

    def jacobians(images: Images) -> Float[Array, "n k p"]:
        rows = jax.vmap(lambda image: jax.jacrev(lambda p: apply(p, image[None])[0])(params))(images)
        return jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in jax.tree.leaves(rows)], axis=2)

    j_x, j_y = jacobians(x), jacobians(y)
    (n, k, p), m = j_x.shape, len(j_y)
    if average:
        return gram(j_x.reshape(n, k * p), j_y.reshape(m, k * p)) / k
    return gram(j_x.reshape(n * k, p), j_y.reshape(m * k, p)).reshape(n, k, m, k).transpose(0, 2, 1, 3)
