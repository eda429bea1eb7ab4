"""The trainer: an epoch is a scan over steps. Experts, students, baselines and robust rules all use it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax import trees
from ddjax.augment import AUGMENTATIONS
from ddjax.models import split_stats
from ddjax.names import choose
from ddjax.training.batches import Clock, Examples, TrainState
from ddjax.training.networks import initial, mean_logits, statistics
from ddjax.training.recipe import Recipe
from ddjax.training.rule import PLAIN, Given, Rule, Stats, Tables
from ddjax.training.schedule import Stream, direction, rate_factor, renewed, rows_of_epoch
from ddjax.training.step import Steps
from ddjax.types import Metrics, Model, Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class Trainer(Steps):
    """`init`, `epoch` and `stats` as pure functions. The fields are everything that a program is compiled for."""

    def predictor(self) -> Model:
        """The model that reads the params of a state: for several networks, the mean of their logits."""
        return self.model if self.rule.nets == 1 else mean_logits(self.model)

    def init(
        self,
        key: PRNGKey,
        rate: Float[Array, ""],
        examples: Examples | None = None,
        data: Any = None,
        params: Params | None = None,
    ) -> TrainState:
        """The state before the first epoch.

        Args:
          key: of the initialisation, data order and augmentation.
          rate: the base learning rate.
          examples: the training set, which a rule with tables or extra parameters needs.
          data: the rule's data.
          params: initial parameters in place of new ones.
        """
        init_key, own_key = jax.random.split(key)
        if params is None:
            params = initial(self.model, self.rule.nets, self.rule.adjust_init, init_key)
        return self.init_from(own_key, rate, examples, data, params)

    def init_from(
        self, own_key: PRNGKey, rate: Float[Array, ""], examples: Examples | None, data: Any, params: Params
    ) -> TrainState:
        """The state before the first epoch of given networks; `own_key` is the second part of the key of `init`."""
        rule = self.rule
        tables, extra = {}, {}
        if self.reads_examples:
            assert examples is not None
            one = params if rule.nets == 1 else trees.take(params, 0)
            image = jax.ShapeDtypeStruct((1, *examples.images.shape[1:]), examples.images.dtype)
            width = jax.eval_shape(self.model.features, one, image).shape[-1]
            given = Given(jnp.argmax(examples.targets, axis=1), examples.targets.shape[1], width)
            tables = rule.start(jax.random.fold_in(own_key, Stream.START), given, data) if rule.start else {}
            extra = rule.extra(jax.random.fold_in(own_key, Stream.EXTRA), given) if rule.extra else {}
        opt_state = direction(self.recipe).init(split_stats(params)[0])
        extra_state = rule.extra_optimiser.init(extra)
        return TrainState(params, opt_state, jnp.asarray(rate, jnp.float32), own_key, tables, extra, extra_state)

    @property
    def reads_examples(self) -> bool:
        """Whether the state before the first epoch depends on the training set."""
        return self.rule.start is not None or self.rule.extra is not None

    def epoch(self, state: TrainState, examples: Examples, clock: Clock) -> tuple[TrainState, Metrics]:
        """One pass over the examples, then the rule's update of its tables if one is due.

        Args:
          state: before the epoch.
          examples: the training set.
          clock: the epoch, and the key of batch-wide operations.

        Returns:
          The state after the epoch, and the mean "loss" of its steps.
        """
        state, rows, present = self.begin(state, len(examples.images), clock.epoch)

        def body(state: TrainState, inputs: tuple[Array, Array, Array]) -> tuple[TrainState, Array]:
            return self.one(state, examples, *inputs, clock)

        state, losses = jax.lax.scan(body, state, (jnp.arange(len(rows)), rows, present))
        if (end := self.rule.epoch_end) is not None:

            def update(tables: Tables) -> Tables:
                key = self.stats_key(state, clock.epoch)
                stats = self.stats(state.params, examples, key, self.rule.stats_views)
                # with jax_enable_x64 an update may widen an array, which no loop accepts
                return optax.tree.cast_like(end(stats, tables, clock.epoch), tables)

            due = True if self.rule.due is None else self.rule.due(clock.epoch)
            state = state._replace(tables=jax.lax.cond(due, update, lambda tables: tables, state.tables))
        return state, {"loss": jnp.mean(losses)}

    def begin(
        self, state: TrainState, n: int, epoch: Int[Array, ""]
    ) -> tuple[TrainState, Int[Array, "steps b"], Float[Array, "steps b"]]:
        """The state at the start of an epoch over n examples, the rows of its steps, and which of them are present."""
        rows, present = rows_of_epoch(self.recipe, jax.random.fold_in(state.key, Stream.ORDER), n, epoch)
        fresh = direction(self.recipe).init(split_stats(state.params)[0])
        return state._replace(opt_state=renewed(self.recipe, fresh, state.opt_state, epoch)), rows, present

    def one(
        self,
        state: TrainState,
        examples: Examples,
        index: Int[Array, ""],
        rows: Int[Array, "b"],
        present: Float[Array, "b"],
        clock: Clock,
    ) -> tuple[TrainState, Array]:
        """Step `index` of an epoch; returns the state and the loss."""
        steps = self.recipe.steps_per_epoch(len(examples.images))
        number = clock.epoch * steps + index
        rate = optax.tree.cast_like(state.rate * rate_factor(self.recipe, steps)(number), state.rate)
        return self.step(state, examples, rows, present, clock, number, rate)

    def stats_key(self, state: TrainState, epoch: Int[Array, ""]) -> PRNGKey:
        """The key of the statistics after an epoch."""
        return jax.random.fold_in(jax.random.fold_in(state.key, Stream.STATS), epoch)

    def stats(self, params: Params, examples: Examples, key: PRNGKey, views: int = 0) -> Stats:
        """Test-mode outputs for all examples; see `statistics`."""
        return statistics(self.model, self.rule, self.recipe.augment, params, *examples, key, views)


def make_trainer(model: Model, recipe: Recipe, rule: Rule = PLAIN) -> Trainer:
    """The trainer of one network, or of the networks of one rule.

    Args:
      model: the architecture.
      recipe: optimiser, schedule, data order and augmentation.
      rule: the training rule.

    Returns:
      The trainer.

    Raises:
      ValueError: the rule has its own loss, and the recipe sets a loss, CutMix or sharpness; or the augmentation of the
        rule is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddjax.models import build
      >>> from ddjax.training import Clock, Examples, Recipe, make_trainer
      >>> trainer = make_trainer(build("mlp", (2, 2, 1), 2, depth=1, width=4), Recipe(epochs=1, batch=2, rate=0.1))
      >>> state = trainer.init(jax.random.key(0), jnp.float32(0.1))
      >>> examples = Examples(jnp.ones((4, 2, 2, 1)), jnp.eye(2)[jnp.array([0, 1, 0, 1])])
      >>> state, metrics = trainer.epoch(state, examples, Clock(jnp.int32(0), jax.random.key(1)))
      >>> bool(metrics["loss"] > 0)
      True
    """
    if rule.loss is not None:
        for name, neutral in [("loss", "cross_entropy"), ("cutmix", 0.0), ("sharpness", None)]:
            if (value := getattr(recipe, name)) != neutral:
                raise ValueError(
                    f"the rule has its own loss, so recipe.{name} must be {neutral!r}; got {value!r}. "
                    f"dataclasses.replace(recipe, {name}={neutral!r}) makes such a recipe. Those of the baselines "
                    "B-PLAIN, B-COSINE and B-AUGMENTED fit"
                )
    if rule.strong is not None:
        choose(AUGMENTATIONS, rule.strong, "augmentation")
    return Trainer(model, recipe, rule)
