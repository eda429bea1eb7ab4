"""GSAM: the gradient at a perturbed point, corrected to reduce the surrogate gap (Zhuang et al., 2022)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ddjax import ranges
from ddjax.ranges import NonNegative

_TINY = 1e-12


@ranges.settings("sharpness.")
class Sharpness:
    """Settings of GSAM: radius `rho` (relative to weights if `adaptive`) and weight `alpha` of the orthogonal part."""

    rho: NonNegative = 0.01
    alpha: NonNegative = 0.3
    adaptive: bool = True


def gsam_gradient(gradient: Callable[[Any], Any], params: Any, first: Any, settings: Sharpness) -> Any:
    """The descent direction of GSAM at `params`.

    eps = rho w^2 g / || |w| g ||  (adaptive; rho g / ||g|| otherwise), g1 = gradient(w + eps), and
    d = g1 - alpha (g - <g, g1> g1 / ||g1||^2). alpha = 0 gives SAM, rho = 0 the gradient.
    Source: Zhuang et al., 2022 (arXiv:2203.08065); adaptive as in Kwon et al., 2021 (arXiv:2102.11600).

    Args:
      gradient: of the loss, as a function of the parameters.
      params: the parameters w.
      first: g = gradient(params), which the caller has already computed.
      settings: of GSAM.

    Returns:
      The direction d.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddjax.training import Sharpness, gsam_gradient
      >>> w = jnp.array([1.0, 1.0])
      >>> gsam_gradient(lambda w: 2 * w, w, 2 * w, Sharpness(rho=0.0, alpha=0.0)).tolist()
      [2.0, 2.0]
    """
    if settings.adaptive:
        scale = optax.tree.norm(jax.tree.map(lambda w, g: jnp.abs(w) * g, params, first))
        shift = jax.tree.map(lambda w, g: settings.rho * w**2 * g / (scale + _TINY), params, first)
    else:
        scale = optax.tree.norm(first)
        shift = jax.tree.map(lambda g: settings.rho * g / (scale + _TINY), first)
    second = gradient(jax.tree.map(jnp.add, params, shift))
    norm, norm_second = optax.tree.norm(first), optax.tree.norm(second)
    cosine = optax.tree.vdot(first, second) / (norm * norm_second + _TINY)
    along = cosine * norm / (norm_second + _TINY)
    return jax.tree.map(lambda g, g1: g1 - settings.alpha * (g - along * g1), first, second)
