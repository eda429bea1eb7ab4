"""The little pytree arithmetic that `jax.tree` and `optax.tree` lack."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(*, static: tuple[str, ...] = ()) -> Callable[[type[T]], type[T]]:
    """A frozen, keyword-only dataclass that is a pytree; `static` fields are metadata (hashable, compared by jit).

    A transformation puts anything into the other fields (tracers, axes, shapes, None), so their annotations
    say what they hold outside of one and nothing checks them on construction.
    """

    def wrap(cls: type[T]) -> type[T]:
        cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        data = [f.name for f in dataclasses.fields(cls) if f.name not in static]
        return jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=list(static))

    return wrap


def size(tree: Any) -> int:
    """Number of scalars in all leaves."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def is_key(leaf: Any) -> bool:
    """Whether a leaf holds typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def raw(tree: Any) -> Any:
    """The tree with keys by their data, which can be compared and written down."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)


def by_data(function: Callable[..., Any], *leaves: Any) -> Any:
    """`function` of arrays; of keys it takes their data, and gives keys: to move a key is no use of it."""
    made = function(*map(raw, leaves))
    return jax.random.wrap_key_data(made, impl=jax.random.key_impl(leaves[0])) if is_key(leaves[0]) else made


def stack(trees: list[T]) -> T:
    """[tree, tree, ...] -> one tree whose leaves gained a leading axis."""
    return jax.tree.map(lambda *leaves: by_data(lambda *arrays: jnp.stack(arrays), *leaves), *trees)


def take(tree: T, index: Any) -> T:
    """Member `index` of a stacked tree; the index may be traced."""
    return jax.tree.map(lambda leaf: by_data(lambda array: array[index], leaf), tree)


def put(tree: T, index: Any, member: T) -> T:
    """The stacked tree with member `index` replaced."""
    return jax.tree.map(lambda leaf, new: leaf.at[index].set(new), tree, member)


def where(condition: Any, yes: T, no: T) -> T:
    """Leafwise `jnp.where` with one scalar condition: a step taken or not taken, without a branch."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


@record()
class Stacked:
    """Members of one structure, of which a step changes one.

    The member that was changed last stands beside the others until another one is changed. So a change can be checked
    and undone without a look at the others, and without a copy of them.
    """

    before: Any  # leaves [p ...], all members before the last change
    last: Any  # int32 [], the member that was changed last
    changed: Any  # leaves [...], what it is now

    @classmethod
    def of(cls, members: Any) -> "Stacked":
        """A stacked tree, unchanged so far."""
        return cls(before=members, last=jnp.int32(0), changed=take(members, 0))

    def take(self, index: Any) -> Any:
        """The member at `index`, which may be traced."""
        return take(self.whole(), index)  # which `put` needs as well, and the compiler makes once, in place

    def put(self, index: Any, member: Any) -> "Stacked":
        """These members with the one at `index` replaced."""
        return Stacked(before=self.whole(), last=jnp.asarray(index, jnp.int32), changed=member)

    def undone(self, condition: Any) -> "Stacked":
        """The members without the last change, where `condition` says so."""
        old = take(self.before, self.last)
        return Stacked(before=self.before, last=self.last, changed=where(condition, old, self.changed))

    def whole(self) -> Any:
        """All members as a stacked tree."""
        return put(self.before, self.last, self.changed)
