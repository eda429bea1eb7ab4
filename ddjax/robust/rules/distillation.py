"""Knowledge distillation on a pruned set: a teacher of the whole set guides a student that sees a part of it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.ranges import Positive, Share, checked
from ddjax.robust.rule import from_probabilities
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import Model, PRNGKey


def teacher_divergence(
    student: Float[Array, "b k"], teacher: Float[Array, "b k"], temperature: float
) -> Float[Array, "b"]:
    """temperature^2 KL(teacher || student) at this temperature; the factor keeps the size of the gradient."""
    target = jax.nn.log_softmax(jax.lax.stop_gradient(teacher) / temperature)
    prediction = jax.nn.log_softmax(student / temperature)
    return temperature**2 * jnp.sum(jnp.exp(target) * (target - prediction), axis=-1)


@checked
@functools.cache
def distillation(teacher: Model | None = None, weight: Share = 0.5, temperature: Positive = 4.0) -> Rule:
    """(1 - weight) cross-entropy + weight * `teacher_divergence`, on the images in the examples.

    Args:
      teacher: with a teacher, the rule's data is {"params": its params, "logits": [n k]}, and the teacher sees the
        student's augmented view. Without, the data is {"logits": [n k]}, which may be cross-validated.
      weight: the teacher's share of the loss.
      temperature: of both logits.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        names = {"logits"} if teacher is None else {"logits", "params"}
        if not isinstance(data, dict) or set(data) != names:
            got = sorted(data) if isinstance(data, dict) else data
            raise ValueError(f"distillation needs data with {sorted(names)} of each network; got {got}")
        shape, found = (len(given.labels), given.num_classes), jnp.shape(data["logits"])
        if found != shape:
            raise ValueError(
                f"distillation needs logits {list(shape)} of each network, a row for each image and a column for each "
                f"class; got {list(found)}"
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
