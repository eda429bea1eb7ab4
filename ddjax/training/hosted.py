"""Training on images on the host: the bytes of the next steps are read while the device computes.

The programs are those of `Trainer`, for a range of steps in place of an epoch, so that the networks have the same bits.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ddjax.execution.proxies import supplied, with_proxies
from ddjax.execution.reading import CHUNK_BYTES, ahead
from ddjax.rows import HostRows
from ddjax.training.batches import Clock, Examples, TrainState
from ddjax.training.members import Watch, with_examples
from ddjax.training.networks import chunks_of, joined, outputs_of
from ddjax.training.predict import accuracies, accuracy, stacked_logits
from ddjax.training.rule import Findings
from ddjax.training.trainer import Trainer
from ddjax.types import Metrics, PRNGKey


class EpochPrograms(NamedTuple):
    """The compiled parts of an epoch; states, rows, pixels and losses have a leading axis of members."""

    begin: Callable
    requests: Callable
    advance: Callable
    mean: Callable
    outputs: Callable
    update: Callable
    export: Callable


@functools.lru_cache(maxsize=16)
def _programs(trainer: Trainer, how: str, devices: int, compiling: tuple[tuple[str, float], ...]) -> EpochPrograms:
    rule, recipe, augment = trainer.rule, trainer.recipe, trainer.recipe.augment

    def begin(state: TrainState, given: None, known: Examples, epoch: Array) -> Any:
        return trainer.begin(state, len(known.images), epoch)

    def requests(key: PRNGKey, own: Array, known: Examples, first: Array, epoch: Array) -> list[Array]:
        n = len(known.images)
        numbers = epoch * recipe.steps_per_epoch(n) + first + jnp.arange(len(own))
        return jax.vmap(lambda rows, number: trainer.requested(key, n, rows, number))(own, numbers)

    def advance(
        state: TrainState, given: Any, known: Examples, first: Array, count: Array, epoch: Array, shared: Array
    ) -> Any:
        pixels, own, present = given

        def body(i: Array, carry: tuple[TrainState, Array]) -> tuple[TrainState, Array]:
            state, losses = carry
            examples = supplied(known, [[each[i] for each in pixels]])
            state, loss = trainer.one(state, examples, first + i, own[i], present[i], Clock(epoch, shared))
            return state, losses.at[i].set(loss)

        return jax.lax.fori_loop(0, count, body, (state, jnp.zeros(len(own))))

    def outputs(params: Any, key: PRNGKey, known: Examples, images: Array, first: Array, views: int) -> Any:
        return outputs_of(trainer.model, rule, augment, params, images, first, key, views)

    def update(state: TrainState, parts: Any, known: Examples, epoch: Array) -> TrainState:
        assert rule.epoch_end is not None
        tables = rule.epoch_end(joined(parts, known.targets), state.tables, epoch)
        return state._replace(tables=optax.tree.cast_like(tables, state.tables))

    def export(state: TrainState, parts: Any, known: Examples) -> Findings:
        assert rule.export is not None
        return rule.export(state.tables, joined(parts, known.targets))

    def of_members(function: Callable, how: str, shared: int, donate: bool = False) -> Callable:
        """The program of `function(state, given, examples, *shared)` over members, which may have own examples."""
        over = with_examples(lambda own, known, _, *shared: function(*own, known, *shared), how, devices, shared)

        def run(states: Any, given: Any, known: Examples, *constants: Any) -> Any:
            return over((states, given), known, {}, *constants)

        return jax.jit(run, compiler_options=dict(compiling), donate_argnums=0 if donate else ())

    def outputs_with(views: int) -> Callable:
        return of_members(lambda *arguments: outputs(*arguments, views), how, 2)

    return EpochPrograms(
        of_members(begin, "map", 1),
        of_members(requests, "map", 2),
        of_members(advance, how, 4, donate=True),
        jax.jit(lambda losses: jax.lax.map(jnp.mean, losses)),
        functools.lru_cache(outputs_with),
        of_members(update, how, 1),
        of_members(export, how, 0),
    )


@functools.lru_cache(maxsize=16)
def _watching(trainer: Trainer, how: str, devices: int, compiling: tuple[tuple[str, float], ...]) -> Callable:
    """The compiled accuracies on images that are on the device."""

    def of_one(params: Any, known: Examples, watch: Watch) -> Metrics:
        return accuracies(trainer.predictor(), params, watch)

    return jax.jit(with_examples(of_one, how, devices, 0), compiler_options=dict(compiling))


@jax.jit
def _accuracy_of_each(logits: Array, labels: Any) -> Float[Array, "s"]:
    return jax.vmap(accuracy)(logits, jnp.broadcast_to(labels, logits.shape[:2]))


class Hosted:
    """The epochs of several networks over images on the host."""

    def __init__(
        self,
        trainer: Trainer,
        examples: Examples,
        how: str,
        devices: int,
        compiling: tuple[tuple[str, float], ...] = (),
    ):
        """Compile nothing yet."""
        self.trainer, self.images, self.known = trainer, examples.images, with_proxies(examples)
        self.compiled_for = how, devices, compiling
        self.programs = _programs(trainer, *self.compiled_for)

    def epoch(self, states: TrainState, number: int, shared: Array) -> tuple[TrainState, Float[Array, "s"]]:
        """One pass over the examples and the rule's update; returns the states and the mean loss of the steps."""
        epoch, programs = jnp.int32(number), self.programs
        states, own, present = programs.begin(states, None, self.known, epoch)
        own, present = np.asarray(own), np.asarray(present)
        members, steps, batch = own.shape
        asks = 1 if self.trainer.rule.meta is None else 2
        size = members * asks * batch * int(np.prod(self.images.shape[1:]))  # bytes of one step of all members
        at_once = int(np.clip(CHUNK_BYTES // size, 1, steps))

        def part(array: np.ndarray, first: int) -> np.ndarray:  # the last part repeats its last step to be full
            return array[:, np.minimum(np.arange(first, first + at_once), steps - 1)]

        keys = jnp.copy(states.key)  # the states are donated

        def read(first: int) -> Any:
            mine = part(own, first)
            requests = [mine]
            if asks > 1:
                requests = jax.device_get(programs.requests(keys, mine, self.known, jnp.int32(first), epoch))
            return [jnp.asarray(self.images.read(each)) for each in requests], mine, part(present, first)

        losses = []
        for first, given in ahead(read, range(0, steps, at_once)):
            count = min(at_once, steps - first)
            states, loss = programs.advance(
                states, given, self.known, jnp.int32(first), jnp.int32(count), epoch, shared
            )
            losses.append(np.asarray(loss)[:, :count])  # waits, so that no more than two parts are in memory
        rule = self.trainer.rule
        if rule.epoch_end is not None and (rule.due is None or bool(rule.due(epoch))):
            parts = self._outputs(states, jax.vmap(self.trainer.stats_key, (0, None))(states, epoch), rule.stats_views)
            states = programs.update(states, parts, self.known, epoch)
        return states, programs.mean(jnp.asarray(np.concatenate(losses, axis=1)))

    def block(
        self, states: TrainState, watch: Watch, epochs: Array, shared: Array, every: int, final: bool
    ) -> tuple[TrainState, tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several epochs, with the accuracies after those in which they are due; see `blocks.run_epochs`."""
        total, losses, seen = self.trainer.recipe.epochs, [], []
        for epoch in (int(each) for each in epochs if each < total):
            states, loss = self.epoch(states, epoch, shared)
            losses.append(np.asarray(loss))
            due = final if epoch + 1 == total else (epoch + 1) % every == 0
            blank = {name: np.full(len(losses[-1]), -1.0) for _, labels in watch.values() for name in labels}
            seen.append(blank | (self.accuracies(states, watch) if due else {}))
        names = seen[0]
        return states, (np.stack(losses, 1), {name: np.stack([each[name] for each in seen], 1) for name in names})

    def accuracies(self, states: TrainState, watch: Watch) -> dict[str, np.ndarray]:
        """The accuracies of each network on images in either place."""
        there = {name: part for name, part in watch.items() if isinstance(part[0], HostRows)}
        here = {name: part for name, part in watch.items() if name not in there}
        found = dict(_watching(self.trainer, *self.compiled_for)(states.params, self.known, here)) if here else {}
        for images, labels in there.values():
            logits = stacked_logits(self.trainer.predictor(), states.params, images)
            found |= {name: _accuracy_of_each(jnp.asarray(logits), truth) for name, truth in labels.items()}
        return {name: np.asarray(values) for name, values in found.items()}

    def findings(self, states: TrainState) -> Findings:
        """The judgement of the trained rule."""
        return self.programs.export(states, self._outputs(states, states.key, 0), self.known)

    def _outputs(self, states: TrainState, keys: Array, views: int) -> Any:
        """The outputs of all passes over the examples, stacked along the axis after that of the members."""
        run, made = self.programs.outputs(views), []
        for _, (part, first) in ahead(lambda part: (self.images[part], part[0]), list(chunks_of(len(self.images)))):
            made.append(jax.device_get(run(states.params, keys, self.known, part, jnp.int32(first))))
        return jax.tree.map(lambda *arrays: jnp.asarray(np.stack(arrays, axis=1)), *made)
