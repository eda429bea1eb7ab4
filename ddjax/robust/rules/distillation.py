"""Knowledge distillation on a pruned set: a teacher fitted on all images steadies a student that sees a few."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.ranges import Positive, Share, checked
from ddjax.robust.rule import Extra, Findings, Given, Loss, Out, Rule, Seen, Stats, Tables, from_probabilities, mean
from ddjax.training.losses import cross_entropy
from ddjax.types import Model, PRNGKey

_KEPT, _TRUST = (0.1, 0.3, 0.5, 1.0), (1.0, 0.9, 0.7, 0.5)


def teacher_divergence(
    student: Float[Array, "b k"], teacher: Float[Array, "b k"], temperature: float
) -> Float[Array, "b"]:
    """temperature^2 KL(teacher || student) of both logits softened: the gradient keeps its size as they soften."""
    wanted = jax.nn.log_softmax(jax.lax.stop_gradient(teacher) / temperature)
    found = jax.nn.log_softmax(student / temperature)
    return temperature**2 * jnp.sum(jnp.exp(wanted) * (wanted - found), axis=-1)


def teacher_weight(fraction: float) -> float:
    """How much of the loss is the teacher's when this fraction of the set is kept: all at a tenth, half of it at one.

    Our reading of "Distilling the Knowledge in Data Pruning" (arXiv:2403.07854), whose own grid is not public.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction of the set that is kept is above 0 and at most 1; got {fraction}")
    return float(np.interp(fraction, _KEPT, _TRUST))


@checked
@functools.cache
def distillation(teacher: Model | None = None, weight: Share = 0.5, temperature: Positive = 4.0) -> Rule:
    """(1 - weight) cross-entropy + weight * `teacher_divergence`.

    With a `teacher`, the rule's data is {"params": its params, "logits": [n k]} and it looks at the same augmented
    view; without, {"logits": [n k]} alone is looked up, and may be out of sample (cross-validated). The images kept
    are those in `examples`.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        wanted = {"logits"} if teacher is None else {"logits", "params"}
        if not isinstance(data, dict) or set(data) != wanted or len(data["logits"]) != len(given.labels):
            raise ValueError(
                f"distillation needs data with {sorted(wanted)}, logits [{len(given.labels)} {given.num_classes}] of "
                f"each network; got {list(data) if isinstance(data, dict) else data}"
            )
        return data

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        taught = tables["logits"][seen.rows]
        if teacher is not None:
            taught = teacher.apply(tables["params"], seen.images[0])
        student = out.logits[0, 0]
        own, led = cross_entropy(student, seen.targets), teacher_divergence(student, taught, temperature)
        return mean((1 - weight) * own + weight * led, seen, tables)

    def export(tables: Tables, stats: Stats) -> Findings:
        relabel = jax.nn.softmax(tables["logits"] / temperature)
        return from_probabilities(relabel, stats._replace(logits=tables["logits"][None]))

    return Rule(loss=loss, start=start, export=export)
