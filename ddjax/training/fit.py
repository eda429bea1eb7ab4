"""Training of several members by one recipe."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax import checks, trees
from ddjax.backend import compiler_options
from ddjax.execution.devices import dividing, local
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.execution.proxies import on_host, with_proxies
from ddjax.ranges import Count, checked
from ddjax.rows import by_rows
from ddjax.storage.compiled import keep_compiled
from ddjax.training.batches import Examples
from ddjax.training.blocks import decides, run_epochs
from ddjax.training.checking import check
from ddjax.training.hosted import Hosted
from ddjax.training.members import Watch, members_own, settled
from ddjax.training.programs import Programs, alone, programs
from ddjax.training.recipe import Recipe
from ddjax.training.rule import PLAIN, Findings, Rule
from ddjax.training.trainer import make_trainer
from ddjax.types import Model, Params


class Fit(NamedTuple):
    """Trained members, stacked, and the course of their training."""

    params: Params  # leaves [s ...]; for a rule of several networks [s nets ...]
    loss: Float[np.ndarray, "s epochs"]
    seen: dict[str, Float[np.ndarray, "s seen"]]  # accuracies, one column for each epoch in `at`
    at: list[int]  # epochs done at each column
    model: Model  # reads the params of one member
    findings: Findings | None  # leaves [s n ...]; None for a rule without findings, such as plain training


@checked
def fit(
    model: Model,
    recipe: Recipe,
    examples: Examples,
    keys: Array,
    *,
    rule: Rule = PLAIN,
    data: Any = None,
    params: Params | None = None,
    rates: Float[Array, "s"] | None = None,
    watch: Watch | None = None,
    every: Count | None = None,
    final: bool = True,
    options: RunOptions = DEFAULTS,
) -> Fit:
    """Train one member per key, on as many devices as divide the members evenly.

    Args:
      model: the architecture.
      recipe: optimiser, schedule, data order and augmentation.
      examples: the training set of all members; or, with one more leading axis on images, targets or both, of each
        member. A rule needs one-hot targets. Images may be a `rows.Images`, on the device or on the host.
      keys: [s] typed keys; a member's initialisation, data order and augmentation come from its own. Only the sequence
        of batch-wide operations, such as which one DSA applies, is the same for all members and calls. A member
        therefore equals the same run alone.
      rule: the training rule; see `ddjax.robust.make_rule`.
      data: the rule's data, leaves [s ...]: for example a transition matrix, or a teacher's logits.
      params: initial parameters in place of new networks, leaves [s ...], or [s nets ...] if the rule has several.
      rates: [s] base rates; None takes the recipe's.
      watch: accuracies to record, by name; images and labels are of all members or of each, like the examples.
      every: record them after each `every` epochs; None records them after the last epoch only.
      final: False does not record after the last epoch, for callers that predict then anyway.
      options: progress (once per block of epochs), checkpoints, and how members run (see `over_members`). The
        checkpoints' configuration must name the rule, and a model without a `spec`, because functions cannot be
        written to a file.

    Returns:
      The trained members.

    Raises:
      ValueError: the examples, keys, rates, data or params do not fit each other or the rule.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddjax.models import build
      >>> from ddjax.training import Examples, Recipe, fit
      >>> examples = Examples(jnp.ones((4, 2, 2, 1)), jnp.eye(2)[jnp.array([0, 1, 0, 1])])
      >>> recipe = Recipe(epochs=2, batch=2, rate=0.1)
      >>> fit(build("mlp", (2, 2, 1), 2, depth=1, width=4), recipe, examples, jax.random.key(0)[None]).loss.shape
      (1, 2)
    """
    keep_compiled()
    checks.kind(model, Model, "model", "ddjax.build makes one")
    check(recipe, examples, keys, rates, rule, data, params, watch or {})
    trainer = make_trainer(model, recipe, rule)
    watch, devices = jax.tree.map(by_rows, watch or {}), len(dividing(len(keys)))
    every = every or recipe.epochs
    rates = jnp.full(len(keys), recipe.rate) if rates is None else rates
    if checkpoints := options.checkpoints:
        arrays = examples, keys, rates, watch, data, params
        checkpoints = checkpoints.part("fit", **decides(model.spec, recipe, every, final, *arrays))
    compiling = compiler_options(recipe.epochs * recipe.steps_per_epoch(examples.images.shape[-4]))
    how = settled(options.how)
    hosted = Hosted(trainer, examples, how, devices, compiling) if on_host(examples) else None
    if how == "map" and devices == 1 and not hosted:
        start, run, finish = in_turn(alone(trainer, every, final, compiling), len(keys))
    else:
        start, run, finish = programs(trainer, every, final, how, devices, compiling)
    shared = jax.random.key(0)

    def block(states: Any, epochs: Array) -> Any:
        if hosted:
            return hosted.block(states, watch, epochs, shared, every, final)
        return run(states, examples, watch, epochs, shared)

    states, course = run_epochs(
        block,
        start(keys, rates, data, params, with_proxies(examples)),
        recipe.epochs,
        every,
        final,
        dataclasses.replace(options, checkpoints=checkpoints),
    )
    found = None
    if rule.export:
        found = hosted.findings(states) if hosted else finish(states, examples)
    result = params_of(states), found
    trained, findings = result if devices == 1 else local(result)
    return Fit(trained, *course, trainer.predictor(), findings)


def in_turn(program: Programs, count: int) -> Programs:
    """The programs of one member as those of `count` members, whose states are a list."""

    def parts(examples: Examples, watch: Watch) -> list[tuple[Examples, Watch]]:
        own, rest, join = members_own(examples, watch)
        return [join([leaf[i] for leaf in own], rest) for i in range(count)]

    def start(keys: Array, rates: Array, data: Any, params: Any, examples: Examples) -> Any:
        return [
            program.start(keys[i], rates[i], trees.take(data, i), trees.take(params, i), own)
            for i, (own, _) in enumerate(parts(examples, {}))
        ]

    def train(states: Any, examples: Examples, watch: Watch, epochs: Array, shared: Array) -> Any:
        ended = [
            program.train(state, *own, epochs, shared)
            for state, own in zip(states, parts(examples, watch), strict=True)
        ]
        return [state for state, _ in ended], jax.tree.map(lambda *x: np.stack(x), *[course for _, course in ended])

    def finish(states: Any, examples: Examples) -> Any:
        return trees.stack(
            [program.finish(state, own) for state, (own, _) in zip(states, parts(examples, {}), strict=True)]
        )

    return Programs(start, train, finish)


def params_of(states: Any) -> Params:
    """The parameters of all members, stacked. Those of a list are stacked on the host, which compiles nothing."""
    if not isinstance(states, list):
        return states.params
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *[state.params for state in states])


def for_each(parts: list[Any], count: int) -> Any:
    """The parts as one tree for `count` members of each part.

    A leaf that is the same array in all parts stays as it is. The others are repeated and stacked, members of a part
    side by side.
    """

    def join(*leaves: Any) -> Any:
        if all(leaf is leaves[0] for leaf in leaves):
            return leaves[0]
        return jnp.repeat(jnp.stack(leaves), count, axis=0, total_repeat_length=count * len(leaves))

    return jax.tree.map(join, *parts)
