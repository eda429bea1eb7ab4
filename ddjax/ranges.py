"""Ranges of numbers and choices of names in type annotations, and checks of values against annotations.

`Count` is an integer of at least 1, `Annotated[float, Range(0, 1)]` a number from 0 to 1, and
`Annotated[str, ("a", "b")]` one of two names. A class of settings is decorated with `settings`, a function with
`checked`. Images, labels and data sets are checked by `ddjax.checks`.
"""

import dataclasses
import functools
import inspect
import math
import operator
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, dataclass_transform

import numpy as np

from ddjax.names import briefly, unknown

P = ParamSpec("P")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included. NaN is in no range.

    Attributes:
      above: whether `low` is excluded.
      below: whether `high` is excluded.
      infinite: whether infinity is allowed.
      hint: advice at the end of the error message.

    Example:
      >>> 0.5 in Range(0, 1), 1.5 in Range(0, 1), Range(0, 1, below=True).of("a number")
      (True, False, 'a number from 0 to below 1')
    """

    low: float | int = -math.inf
    high: float | int = math.inf
    above: bool = False
    below: bool = False
    infinite: bool = False
    hint: str = ""

    def __contains__(self, number: float | int) -> bool:
        """Whether the number is in the range."""
        low = self.low < number if self.above else self.low <= number
        high = number < self.high if self.below else number <= self.high
        return low and high and (self.infinite or isinstance(number, int) or math.isfinite(number))

    def of(self, noun: str) -> str:
        """The range in words: "a number from 0 to below 1"."""
        low, high = (f"{end:g}" if isinstance(end, float) else str(end) for end in (self.low, self.high))
        if self.low == -math.inf:
            return noun if self.high == math.inf else f"{noun}{' below' if self.below else ', at most'} {high}"
        if self.high == math.inf:
            return f"{noun}{' above' if self.above else ', at least'} {low}"
        if self.above:
            return f"{noun} above {low} and {'below' if self.below else 'at most'} {high}"
        return f"{noun} from {low} to {'below ' if self.below else ''}{high}"


ANY = Range()
Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # the seeds that give distinct keys in JAX and distinct generators in NumPy
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, above=True)]
PartialShare = Annotated[float, Range(0, 1, below=True)]  # such as a momentum


def check(value: Any, wanted: Any, argument: str) -> None:
    """Check a value against an annotation.

    A boolean is not a number, an integer is a float, and text is neither. Numbers, booleans, text, classes, `Literal`,
    `None`, and sequences, dicts and unions of these are checked; other annotations accept everything.

    Args:
      value: of any type.
      wanted: the annotation.
      argument: the name of the value, for the message.

    Raises:
      ValueError: the value is not of this type, or is out of range.

    Example:
      >>> check(0, Count, "experts")
      Traceback (most recent call last):
      ValueError: experts must be a whole number, at least 1; got 0
    """
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Annotated:
        base, marks = inner[0], [mark for mark in inner[1:] if isinstance(mark, Range | tuple)]
        if not marks:
            check(value, base, argument)
        for mark in marks:
            if isinstance(mark, Range):
                (_check_int if base is int else _check_float)(value, argument, mark)
            elif value not in mark:
                raise unknown(argument, value, mark)
    elif origin in (typing.Union, types.UnionType):
        _one_of(value, inner, argument)
    elif origin is Literal:
        if value not in inner:
            raise unknown(argument, value, map(str, inner))
    elif origin in (tuple, list, Sequence):
        _sequence(value, origin, inner, argument)
    elif origin is dict:
        check(value, dict, argument)
        for key, entry in value.items():
            check(entry, inner[1], f"{argument}[{key!r}]")
    elif wanted is int:
        _check_int(value, argument, ANY)
    elif wanted is float:
        _check_float(value, argument, ANY)
    elif wanted is bool:
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{argument} must be True or False; got {briefly(value)}")
    elif wanted is str:
        if not isinstance(value, str):
            raise ValueError(f"{argument} must be text; got {briefly(value)}")
    elif isinstance(wanted, type) and not isinstance(value, wanted):
        raise ValueError(f"{argument} must be a {wanted.__name__}; got {briefly(value)}")


def fields(record: Any, of: str = "") -> None:
    """Check each field of a dataclass against its annotation."""
    for name, wanted in annotations(type(record)).items():
        check(getattr(record, name), wanted, f"{of}{name}")


@dataclass_transform(frozen_default=True)
def settings(of: str = "") -> Callable[[type[T]], type[T]]:
    """Decorator: a frozen dataclass that checks its fields against their annotations, then calls its `__post_init__`.

    Args:
      of: what the names of the fields begin with in messages.

    Example:
      >>> @settings("noise.")
      ... class Noise:
      ...     rate: Share = 0.4
      >>> Noise(rate=2)
      Traceback (most recent call last):
      ValueError: noise.rate must be a finite number from 0 to 1; got 2
    """

    def wrap(kind: type[T]) -> type[T]:
        further = getattr(kind, "__post_init__", lambda self: None)

        def check_all(self: T) -> None:
            fields(self, of)
            further(self)

        kind.__post_init__ = check_all
        return dataclasses.dataclass(frozen=True)(kind)

    return wrap


@functools.cache
def annotations(kind: type) -> dict[str, Any]:
    """The annotations of the fields of a dataclass, with their ranges."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: check the arguments against the ranges and booleans in the annotations before the function starts.

    Example:
      >>> @checked
      ... def double(count: Count) -> int:
      ...     return 2 * count
      >>> double(0)
      Traceback (most recent call last):
      ValueError: count must be a whole number, at least 1; got 0
    """
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function, include_extras=True)
    wanted = {name: hint for name, hint in hints.items() if name != "return" and _checkable(hint)}

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in wanted:
                check(value, wanted[name], name)
        return function(*args, **kwargs)

    return wrapper


def _check_int(value: Any, argument: str, within: Range) -> int:
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number not in within:
        raise _outside(value, argument, within, "a whole number")
    return number


def _check_float(value: Any, argument: str, within: Range) -> float:
    try:
        number = math.nan if isinstance(value, bool | np.bool_ | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if number not in within:
        raise _outside(value, argument, within, "a number" if within.infinite else "a finite number")
    return number


def _outside(value: Any, argument: str, within: Range, noun: str) -> ValueError:
    hint = f": {within.hint}" if within.hint else ""
    return ValueError(f"{argument} must be {within.of(noun)}; got {briefly(value)}{hint}")


def _one_of(value: Any, members: tuple[Any, ...], argument: str) -> None:
    if value is None and types.NoneType in members:
        return
    errors = []
    for member in members:
        if member is not types.NoneType:
            try:
                return check(value, member, argument)
            except ValueError as error:
                errors.append(error)
    raise errors[0]


def _sequence(value: Any, kind: type, inner: tuple[Any, ...], argument: str) -> None:
    accepted = tuple if kind is tuple else (list, tuple)
    if not isinstance(value, accepted):
        raise ValueError(f"{argument} must be a {'tuple' if kind is tuple else 'list'}; got {briefly(value)}")
    fixed = kind is tuple and inner[-1:] != (...,)
    if fixed and len(value) != len(inner):
        raise ValueError(f"{argument} must have {len(inner)} entries; got {briefly(value)}")
    for i, entry in enumerate(value):
        check(entry, inner[i if fixed else 0], f"{argument}[{i}]")


def _checkable(hint: Any) -> bool:
    """Whether the annotation contains a range, names or a boolean."""
    return hint is bool or isinstance(hint, Range | tuple) or any(map(_checkable, typing.get_args(hint)))
