"""Integer labels as rows to regress on or to take a cross-entropy with."""

import jax
import numpy as np
from jaxtyping import Array, Float, Int


def one_hot(labels: Int[Array, "n"] | Int[np.ndarray, "n"], num_classes: int) -> Float[Array, "n k"]:
    """1 on the class and 0 elsewhere."""
    return jax.nn.one_hot(labels, num_classes)


def centered(labels: Int[Array, "n"] | Int[np.ndarray, "n"], num_classes: int) -> Float[Array, "n k"]:
    """1 - 1/k on the class and -1/k elsewhere: the regression targets of FRePo and RCIG."""
    return one_hot(labels, num_classes) - 1 / num_classes
