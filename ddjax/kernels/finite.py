"""Kernels of a network as it is: finitely wide, at given params.

`apply` is any pure function of params and images that treats each image on its own: `model.apply` (logits),
`model.features`, or a closure that holds some of the params fixed, for the kernel of the others.
"""

from collections.abc import Callable, Mapping

import jax
from jaxtyping import Array, Float

from ddjax.kernels import tangent
from ddjax.kernels.gram import gram
from ddjax.names import choose
from ddjax.types import Images, Params

Apply = Callable[[Params, Images], Array]

IMPLEMENTATIONS: Mapping[str, str] = {
    "jacobian": "JACOBIAN_CONTRACTION",
    "vector_products": "NTK_VECTOR_PRODUCTS",
    "structured": "STRUCTURED_DERIVATIVES",  # pays off for wide layers, and knows those made of JAX's own primitives
    "auto": "AUTO",  # compiles all three for the shapes at hand and takes the one with the fewest flops
}


def conjugate(
    features: Apply, params: Params, x: Float[Array, "n h w c"], y: Float[Array, "m h w c"]
) -> Float[Array, "n m"]:
    """The kernel of the last layer's input, phi(x) . phi(y), not divided by the number of features d."""
    return gram(features(params, x), features(params, y))


def nngp(
    features: Apply, params: Params, x: Float[Array, "n h w c"], y: Float[Array, "m h w c"]
) -> Float[Array, "n m"]:
    """The empirical NNGP kernel by neural-tangents: exactly `conjugate` divided by the number of features d."""
    return tangent.load().empirical_nngp_fn(features, trace_axes=(-1,))(x, y, params)


def ntk(
    apply: Apply,
    params: Params,
    x: Float[Array, "n h w c"],
    y: Float[Array, "m h w c"],
    *,
    average: bool = True,
    implementation: str = "jacobian",
) -> Array:
    """The empirical neural tangent kernel, df(x)/dparams . df(y)/dparams, by neural-tangents.

    Args:
      apply: (params, images) -> [n k]; its params are all those that the kernel counts.
      params: where the network is linearised.
      x: images [n h w c].
      y: images [m h w c].
      average: over the k outputs, [n m]; or every pair of outputs, [n m k k].
      implementation: a name of `IMPLEMENTATIONS`; "jacobian" holds (n + m) k times the params in memory,
        "vector_products" n m k times the work of a derivative but far less memory.

    Reference: Novak, Sohl-Dickstein, Schoenholz 2022 (arXiv:2206.08720).
    """
    nt = tangent.load()
    chosen = nt.NtkImplementation[choose(IMPLEMENTATIONS, implementation, "NTK implementation")]
    axes = (-1,) if average else ()
    return nt.empirical_ntk_fn(apply, trace_axes=axes, vmap_axes=0, implementation=chosen)(x, y, params)


def taylor(apply: Apply, params: Params) -> Apply:
    """The network linearised at `params`, by neural-tangents: (p, x) -> f(params, x) + J(x) (p - params)."""
    return tangent.load().linearize(apply, params)


def linear_map(
    apply: Apply, params: Params, x: Float[Array, "n h w c"]
) -> tuple[Float[Array, "n k"], Callable[[Params], Float[Array, "n k"]]]:
    """Outputs at `params` and the map t -> J(x) t, ready for many t: the network is run once, here.

    For a single t, `jax.jvp` gives the same without keeping anything; `jax.linear_transpose` of the map is J^T.
    """
    return jax.linearize(lambda p: apply(p, x), params)
