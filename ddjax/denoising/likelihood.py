"""How often a prediction is wrong, from how well the given labels can be predicted.

The given labels are drawn through a noise channel (`ddjax.robust.channel`) from the class probabilities. Of all
temperatures of these, the likeliest says how sure the predictions may be. Two explanations of a given label that the
prediction contradicts are then weighed against each other: the label is wrong, or the prediction is. Where the
likelihood hardly tells them apart, the prediction is taken to be wrong, so that too few labels are flagged, not too
many.

The likelihood is right for labels whose errors do not depend on the image. Where people disagree about an image, it
takes their disagreement for doubt of the network.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax.kernels import matmul_highest
from ddjax.robust import channel

ROWS = 10_000  # examples that are looked at, at most
TEMPERATURES = 31
STEPS = 200  # of Adam
LOSS = 1e-3  # of log-likelihood per example: temperatures that lose less than it are taken for equally likely
PASSES = TEMPERATURES * channel.ROUNDS + 3 * STEPS  # over these examples
_PRIOR = 10.0  # weight of the squared changes, in examples
_LOG_SHARPNESS = (-2.0, 4.0)
_FINE = 4000
_RATE = 0.05
_TINY = 1e-12


def spread(n: int) -> slice:
    """Every so many of n rows, so that at most `ROWS` are looked at."""
    return slice(None, None, -(-n // ROWS))


def recalibrated(scores: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n k"]:
    """Scores after the linear map, close to a multiple of the identity, under which the labels are likeliest.

    Scores of a regression, for example, are no logarithms of probabilities. The map is symmetric: a network confuses
    two classes both ways, and labels that are flipped one way shall not be explained by it.

    Args:
      scores: of each class, with root mean square one.
      labels: the given labels.
    """
    n, k = scores.shape
    rows = spread(n)
    seen, given = scores[rows], labels[rows]

    def mapped(weights: dict[str, Array], x: Float[Array, "m k"]) -> Float[Array, "m k"]:
        symmetric = (weights["change"] + weights["change"].T) / 2
        return jnp.exp(weights["log_factor"]) * x + matmul_highest(x, symmetric) + weights["bias"][None]

    def loss(weights: dict[str, Array]) -> Float[Array, ""]:
        fit = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(mapped(weights, seen), given))
        return fit + _PRIOR * (jnp.sum(weights["change"] ** 2) + jnp.sum(weights["bias"] ** 2)) / len(given)

    solver = optax.adam(optax.cosine_decay_schedule(_RATE, STEPS))

    def step(_: Array, state: tuple) -> tuple:
        weights, memory = state
        updates, memory = solver.update(jax.grad(loss)(weights), memory)
        return optax.apply_updates(weights, updates), memory

    start = {"log_factor": jnp.float32(0), "bias": jnp.zeros(k), "change": jnp.zeros((k, k))}
    weights, _ = jax.lax.fori_loop(0, STEPS, step, (start, solver.init(start)))
    return mapped(weights, scores)


def likely_error(scores: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, ""]:
    """The largest share of wrong predictions that is about as likely as the likeliest one.

    Args:
      scores: of each class, with root mean square one.
      labels: the given labels.
    """
    rows = spread(len(scores))
    seen, given = scores[rows], labels[rows]

    def at(sharpness: Float[Array, ""]) -> tuple[Array, Array]:
        log_true = jax.nn.log_softmax(sharpness * seen, axis=1)
        transition = channel.fit_channel(log_true, given).transition
        likelihood = jnp.mean(jax.nn.logsumexp(log_true + jnp.log(transition + _TINY).T[given], axis=1))
        return likelihood, 1 - jnp.mean(jnp.exp(jnp.max(log_true, axis=1)))

    sharpest_first = jnp.exp(jnp.linspace(*_LOG_SHARPNESS[::-1], TEMPERATURES))
    likelihoods, errors = jax.lax.map(at, sharpest_first)  # the errors rise along it
    fine = jnp.linspace(errors[0], errors[-1], _FINE)
    likely = jnp.interp(fine, errors, likelihoods) >= jnp.max(likelihoods) - LOSS
    return jnp.max(jnp.where(likely, fine, errors[jnp.argmax(likelihoods)]))
