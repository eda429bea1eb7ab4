"""Targets of a regression or a cross-entropy, from integer labels."""

import jax
import numpy as np
from jaxtyping import Array, Float, Int


def one_hot(labels: Int[Array, "n"] | Int[np.ndarray, "n"], num_classes: int) -> Float[Array, "n k"]:
    """1 for the class and 0 for the others.

    Example:
      >>> one_hot(np.array([1]), 2).tolist()
      [[0.0, 1.0]]
    """
    return jax.nn.one_hot(labels, num_classes)


def centered(labels: Int[Array, "n"] | Int[np.ndarray, "n"], num_classes: int) -> Float[Array, "n k"]:
    """1 - 1/k for the class and -1/k for the others: the regression targets of FRePo and RCIG.

    Example:
      >>> centered(np.array([1]), 2).tolist()
      [[-0.5, 0.5]]
    """
    return one_hot(labels, num_classes) - 1 / num_classes
