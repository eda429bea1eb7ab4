"""Pytree operations that `jax.tree` and `optax.tree` do not have."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import optax

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(*, static: tuple[str, ...] = ()) -> Callable[[type[T]], type[T]]:
    """Decorator: make a class a frozen, keyword-only dataclass that is a pytree.

    JAX transformations put tracers, axes, shapes or None into the fields, so construction does not check the fields.
    Their annotations describe the values outside of a transformation.

    Args:
      static: fields that are metadata of the pytree: hashable, and compared by jit.

    Returns:
      The decorator.

    Example:
      >>> @record(static=("name",))
      ... class Point:
      ...     x: Any
      ...     name: str
      >>> jax.tree.map(lambda x: 2 * x, Point(x=1, name="a"))
      Point(x=2, name='a')
    """

    def wrap(cls: type[T]) -> type[T]:
        cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        data = [f.name for f in dataclasses.fields(cls) if f.name not in static]
        return jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=list(static))

    return wrap


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def raw(tree: Any) -> Any:
    """The tree with typed keys replaced by their key data, which can be compared and saved."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)


def by_data(function: Callable[..., Any], *leaves: Any) -> Any:
    """Apply `function` to arrays. Keys are converted to key data and back. Moving a key does not consume it."""
    made = function(*map(raw, leaves))
    return jax.random.wrap_key_data(made, impl=jax.random.key_impl(leaves[0])) if is_key(leaves[0]) else made


def unshared(tree: T) -> T:
    """The tree with copies of leaves that are the same array as an earlier leaf, so that all can be donated.

    Keys are copied too: a state may hold the key of its caller, who uses it again.
    """
    leaves, structure = jax.tree.flatten(tree)
    first = {id(leaf): i for i, leaf in reversed([*enumerate(leaves)])}

    def copied(i: int, leaf: Any) -> bool:
        return isinstance(leaf, jax.Array) and (first[id(leaf)] != i or is_key(leaf))

    return structure.unflatten([leaf.copy() if copied(i, leaf) else leaf for i, leaf in enumerate(leaves)])


def stack(trees: list[T]) -> T:
    """Stack trees to one tree whose leaves have a new leading axis.

    Example:
      >>> stack([{"x": jnp.zeros(2)}, {"x": jnp.ones(2)}])["x"].shape
      (2, 2)
    """
    return jax.tree.map(lambda *leaves: by_data(lambda *arrays: jnp.stack(arrays), *leaves), *trees)


def take(tree: T, index: Any) -> T:
    """Member `index` of a stacked tree. The index may be traced."""
    return jax.tree.map(lambda leaf: by_data(lambda array: array[index], leaf), tree)


def put(tree: T, index: Any, member: T) -> T:
    """The stacked tree with member `index` replaced."""
    return jax.tree.map(lambda leaf, new: leaf.at[index].set(new), tree, member)


@record()
class Stacked:
    """Stacked members, of which each step changes at most one.

    The last change is stored separately until the next one. It can therefore be checked and undone without reading or
    copying the other members.
    """

    before: Any  # leaves [p ...]: all members before the last change
    last: Any  # int32 []: index of the member that was changed last
    changed: Any  # leaves [...]: the current value of that member

    @classmethod
    def of(cls, members: Any) -> "Stacked":
        """Wrap a stacked tree."""
        return cls(before=members, last=jnp.int32(0), changed=take(members, 0))

    def take(self, index: Any) -> Any:
        """The member at `index`, which may be traced."""
        return take(self.whole(), index)  # `put` needs the same array, and the compiler computes it once, in place

    def put(self, index: Any, member: Any) -> "Stacked":
        """Replace the member at `index`."""
        return Stacked(before=self.whole(), last=jnp.asarray(index, jnp.int32), changed=member)

    def undone(self, condition: Any, old: "Stacked") -> "Stacked":
        """If `condition` is true, undo the change that was made since `old`, if there is one."""
        member = optax.tree.where(self.last == old.last, old.changed, take(self.before, self.last))
        return Stacked(before=self.before, last=self.last, changed=optax.tree.where(condition, member, self.changed))

    def whole(self) -> Any:
        """All members, as a stacked tree."""
        return put(self.before, self.last, self.changed)
