"""P(true class | prediction) from where predictions lie, instead of from what the network or the labels say.

A network trained on noisy labels is unsure of what it predicts: where people disagree, its probabilities are spread.
How often its likeliest class is wrong is another question. The answer is in the density of the predictions: if the
predictions form one tight cluster per class, the network separates the classes, however flat its probabilities are.
If the clusters overlap, the network confuses them.

The centred log-probabilities follow a mixture with one Student-t component per class and a shared covariance. The
given label is a second observation of the class, through a noise channel (`ddjax.robust.channel`). Expectation
maximisation starts at the likeliest class of each prediction.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from scipy.linalg import helmert

from ddjax.kernels import matmul_highest
from ddjax.robust import channel

ROUNDS = 30
FREEDOM = 3.0  # degrees of freedom of the components: predictions have heavy tails
_RIDGE = 1e-3  # of the mean variance within classes; the log-probabilities of many classes are nearly dependent
_FLOOR = 1e-5  # of the total variance
_SAME = 1e-6  # of the size of the log-probabilities: less is rounding
_OWN = 0.9  # the largest share that one image is taken to have in a component
_TINY = 1e-12


@jax.jit
def class_given_prediction(logs: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n k"]:
    """log P(true class | prediction), without the given label of the image itself.

    Args:
      logs: log-probabilities, finite; a constant per row and a factor common to all are immaterial.
      labels: the given labels; they tell the components what the overall channel is.
    """
    n, k = logs.shape
    points = matmul_highest(logs, jnp.asarray(helmert(k).T, logs.dtype))
    points -= jnp.mean(points, axis=0, keepdims=True)
    points /= jnp.sqrt(jnp.mean(points**2)) + _SAME * jnp.sqrt(jnp.mean(logs**2)) + _TINY
    soft = jax.nn.softmax(logs, axis=1)
    # each counts as one image of its class, so that a class that is never predicted has a place
    prototypes = matmul_highest(soft.T, points) / (jnp.sum(soft, axis=0)[:, None] + _TINY)

    def density(belongs: Float[Array, "n k"], weights: Float[Array, "n k"]) -> tuple[Array, Array]:
        """log P(class, prediction) up to a constant, and the weights of the next round, from one maximisation."""
        prior = (jnp.sum(belongs, axis=0) + 1) / (n + k)
        weights = belongs * weights
        total = jnp.sum(weights, axis=0) + 1
        centres = (matmul_highest(weights.T, points) + prototypes) / total[:, None]
        spread = matmul_highest((points * jnp.sum(weights, axis=1)[:, None]).T, points)
        spread += matmul_highest(prototypes.T, prototypes)
        within = (spread - matmul_highest((centres * total[:, None]).T, centres)) / (n + k)
        within += (_RIDGE * jnp.trace(within) / (k - 1) + _FLOOR) * jnp.eye(k - 1)
        root = jnp.linalg.cholesky(within)
        white = jax.scipy.linalg.solve_triangular(root, points.T, lower=True).T
        middle = jax.scipy.linalg.solve_triangular(root, centres.T, lower=True).T
        cross = matmul_highest(white, middle.T)
        squares = jnp.sum(white**2, axis=1)[:, None] - 2 * cross + jnp.sum(middle**2, axis=1)[None]
        # the image's own pull on the centre is taken out; with it, small classes would look tighter than they are
        own = jnp.minimum(weights / total[None], _OWN)
        squares = jnp.maximum(squares, 0) / (1 - own) ** 2
        freedom = FREEDOM + k - 1
        log_joint = jnp.log(prior)[None] - freedom / 2 * jnp.log1p(squares / FREEDOM)
        return log_joint, freedom / (FREEDOM + squares)

    def round_(_: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        belongs, weights, _ = state
        log_joint, weights = density(belongs, weights)
        transition = channel.transition_of(belongs, labels)
        return channel.posterior(log_joint, transition, labels), weights, log_joint

    best = (logs == jnp.max(logs, axis=1, keepdims=True)).astype(logs.dtype)
    start = best / jnp.sum(best, axis=1, keepdims=True), jnp.ones_like(logs), logs
    log_joint = jax.lax.fori_loop(0, ROUNDS, round_, start)[2]
    return jax.nn.log_softmax(log_joint, axis=1)
