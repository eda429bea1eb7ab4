"""The two scalars that RCIG differentiates in the support: the outer loss, and the coupling with the inner minimum."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.distillers.rcig.config import RcigConfig
from ddjax.distillers.rcig.inner import InnerProblem
from ddjax.distillers.rcig.outer import Scored, Support, expand, outer_loss, predict
from ddjax.distillers.rcig.tangent import Frozen, Tangent, outputs
from ddjax.kernels import gram, solve
from ddjax.kernels.gram import map_rows
from ddjax.kernels.ridge import Factor
from ddjax.types import Images


class RealBatch(NamedTuple):
    """The batch on which the outer loss is measured, with centred targets."""

    images: Images
    targets: Float[Array, "b k"]


def some_rows(frozen: Frozen, images: Images, rows: Array | None, constants: tuple, *tangents: Tangent) -> tuple:
    """Features and tangent outputs of all rows; only `rows` are differentiated."""
    if rows is None:
        return outputs(frozen, images, *tangents)
    some = outputs(frozen, images[rows], *tangents)
    return tuple(jax.lax.stop_gradient(c).at[rows].set(s) for c, s in zip(constants, some, strict=True))


def of_images(config: RcigConfig, frozen: Frozen, batch: RealBatch, t: Tangent, rows: Array | None) -> tuple:
    """Features and tangent outputs of the real batch; only `rows` are differentiated."""

    def run(images: Images) -> tuple:
        return outputs(frozen, images, t)

    if rows is None:
        return map_rows(run, batch.images, config.forward_block)
    constants = map_rows(run, batch.images, config.forward_block)
    return some_rows(frozen, batch.images, rows, constants, t)


def learned(config: RcigConfig, support: Support) -> tuple[Images, Float[Array, "n k"]]:
    """Images and labels as the losses see them, without a derivative in labels that are not learned."""
    images, labels = expand(support, config.flip)
    return images, labels if config.learn_labels else jax.lax.stop_gradient(labels)


def _factor(problem: InnerProblem, phi: Array) -> Factor:
    return Factor(gram(phi, phi), problem.factor.ridge, problem.factor.lower)


def score(
    problem: InnerProblem, of_support: tuple, of_batch: tuple, targets: Array, labels: Array, log_temperature: Array
) -> Scored:
    """The outer loss from features and tangent outputs of support and batch."""
    (phi, jt), (phi_b, jt_b) = of_support, of_batch
    predictions = predict(gram(phi_b, phi), _factor(problem, phi), labels - jt, jt_b)
    return outer_loss(predictions, targets, labels, log_temperature)


def couple(problem: InnerProblem, phi: Array, jv: Array, jt: Array, labels: Array) -> Float[Array, ""]:
    """`coupling` from features and tangent outputs of the support."""
    return -problem.scale * jnp.sum(jv * solve(_factor(problem, phi), labels - jt))


def outer(
    config: RcigConfig,
    frozen: Frozen,
    problem: InnerProblem,
    batch: RealBatch,
    rows: tuple[Array | None, Array | None],
    t: Tangent,
    support: Support,
) -> Scored:
    """The outer loss as a function of t and the support.

    Args:
      config: the settings.
      frozen: the network.
      problem: the inner problem.
      batch: real images.
      rows: differentiated rows (of support, of batch); None stands for all.
      t: the inner minimum.
      support: the support.

    Returns:
      Loss and accuracy.
    """
    images, labels = learned(config, support)
    constants = () if rows[0] is None else (problem.map.features, problem.map.forward(t))
    of_support = some_rows(frozen, images, rows[0], constants, t)
    of_batch = of_images(config, frozen, batch, t, rows[1])
    return score(problem, of_support, of_batch, batch.targets, labels, support.log_temperature)


def coupling(
    config: RcigConfig,
    frozen: Frozen,
    problem: InnerProblem,
    rows: Array | None,
    t: Tangent,
    support: Support,
    v: Tangent,
) -> Float[Array, ""]:
    """<v, dL/dt> up to a constant: -ridge / (n k) <J v, A^-1 (Y - J t)>. It needs no gradient of a gradient."""
    images, labels = learned(config, support)
    constants = ()
    if rows is not None:
        constants = (problem.map.features, problem.map.forward(v), problem.map.forward(t))
    return couple(problem, *some_rows(frozen, images, rows, constants, v, t), labels)
