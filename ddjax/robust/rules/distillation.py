"""Knowledge distillation on a pruned set: a teacher trained on all images guides a student that sees some of them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.ranges import Positive, Share, checked
from ddjax.robust.rule import from_probabilities
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import Model, PRNGKey

_KEPT, _TRUST = (0.1, 0.3, 0.5, 1.0), (1.0, 0.9, 0.7, 0.5)


def teacher_divergence(
    student: Float[Array, "b k"], teacher: Float[Array, "b k"], temperature: float
) -> Float[Array, "b"]:
    """temperature^2 KL(teacher || student) at this temperature; the factor keeps the size of the gradient."""
    target = jax.nn.log_softmax(jax.lax.stop_gradient(teacher) / temperature)
    prediction = jax.nn.log_softmax(student / temperature)
    return temperature**2 * jnp.sum(jnp.exp(target) * (target - prediction), axis=-1)


def teacher_weight(fraction: float) -> float:
    """The teacher's share of the loss if this fraction of the set is kept: 1 at a tenth, one half at the full set.

    This is our reading of "Distilling the Knowledge in Data Pruning" (arXiv:2403.07854), whose grid is not public.

    Args:
      fraction: above 0 and at most 1.

    Returns:
      The share, for `distillation(weight=...)`.

    Raises:
      ValueError: the fraction is out of range.

    Example:
      >>> from ddjax.robust.rules.distillation import teacher_weight
      >>> teacher_weight(0.3)
      0.9
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction of the set that is kept is above 0 and at most 1; got {fraction}")
    return float(np.interp(fraction, _KEPT, _TRUST))


@checked
@functools.cache
def distillation(teacher: Model | None = None, weight: Share = 0.5, temperature: Positive = 4.0) -> Rule:
    """(1 - weight) cross-entropy + weight * `teacher_divergence`, on the images in the examples.

    Args:
      teacher: with a teacher, the rule's data is {"params": its params, "logits": [n k]}, and the teacher sees the
        student's augmented view. Without, the data is {"logits": [n k]}, which may be cross-validated.
      weight: the teacher's share of the loss; see `teacher_weight`.
      temperature: of both logits.

    Returns:
      The rule.

    Raises:
      ValueError: a setting is out of range.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        names = {"logits"} if teacher is None else {"logits", "params"}
        if not isinstance(data, dict) or set(data) != names or len(data["logits"]) != len(given.labels):
            raise ValueError(
                f"distillation needs data with {sorted(names)}, logits [{len(given.labels)} {given.num_classes}] of "
                f"each network; got {list(data) if isinstance(data, dict) else data}"
            )
        return data

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        target = tables["logits"][batch.rows]
        if teacher is not None:
            target = teacher.apply(tables["params"], batch.images[0])
        student = outputs.logits[0, 0]
        given, guided = cross_entropy(student, batch.targets), teacher_divergence(student, target, temperature)
        return weighted_mean((1 - weight) * given + weight * guided, batch, tables)

    def export(tables: Tables, stats: Stats) -> Findings:
        relabel = jax.nn.softmax(tables["logits"] / temperature)
        return from_probabilities(relabel, stats._replace(logits=tables["logits"][None]))

    return Rule(loss=loss, start=start, export=export)
