"""Ranges of numbers as part of a type: the annotation of a field or an argument says what it takes, and checks it.

`Count` is a whole number of at least 1 and `Annotated[float, Range(0, 1)]` a number from 0 to 1. A settings record
calls `fields` in its `__post_init__`; a function is decorated with `checked`.
"""

import dataclasses
import functools
import inspect
import math
import operator
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import numpy as np

from ddjax.names import unknown

P = ParamSpec("P")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; NaN is in no range.

    Attributes:
      above: `low` itself is excluded.
      below: `high` itself is excluded.
      infinite: infinity is included.
      hint: what to do about a number outside, for the error message.
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
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what both JAX's keys and NumPy's generators tell apart
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, above=True)]
PartialShare = Annotated[float, Range(0, 1, below=True)]  # a momentum, say, or a hold-out


def check(value: Any, wanted: Any, argument: str) -> None:
    """Raise a ValueError if `value` is not of the annotated type `wanted`, or is outside its range.

    Booleans are no numbers, whole numbers are numbers, and text is neither. Annotations of other kinds than numbers,
    booleans, text, classes, and `Literal`, `None`, sequences and unions of these accept everything.
    """
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Annotated:
        base, marks = inner[0], [mark for mark in inner[1:] if isinstance(mark, Range)]
        if marks and base in (int, float):
            for mark in marks:
                (_whole if base is int else _number)(value, argument, mark)
        else:
            check(value, base, argument)
    elif origin in (typing.Union, types.UnionType):
        _one_of(value, inner, argument)
    elif origin is Literal:
        if value not in inner:
            raise unknown(argument, value, map(str, inner))
    elif origin in (tuple, list, Sequence):
        _sequence(value, origin, inner, argument)
    elif wanted is int:
        _whole(value, argument, ANY)
    elif wanted is float:
        _number(value, argument, ANY)
    elif wanted is bool:
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{argument} must be True or False; got {_briefly(value)}")
    elif wanted is str:
        if not isinstance(value, str):
            raise ValueError(f"{argument} must be text; got {_briefly(value)}")
    elif isinstance(wanted, type) and not isinstance(value, wanted):
        raise ValueError(f"{argument} must be a {wanted.__name__}; got {_briefly(value)}")


def fields(record: Any, of: str = "") -> None:
    """Check each field of a dataclass by its annotation; `of` goes before the name of a field in an error."""
    for name, wanted in annotations(type(record)).items():
        check(getattr(record, name), wanted, f"{of}{name}")


@functools.cache
def annotations(kind: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, with their ranges."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which compares its arguments with the ranges and booleans in its annotations before it starts."""
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function, include_extras=True)
    wanted = {name: hint for name, hint in hints.items() if name != "return" and _checkable(hint)}

    @functools.wraps(function)
    def door(*args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in wanted:
                check(value, wanted[name], name)
        return function(*args, **kwargs)

    return door


def whole(value: Any, argument: str, least: int = 1, most: float | int = math.inf) -> int:
    """The value as an int, if it is a whole number from `least` to `most`."""
    return _whole(value, argument, Range(least, most))


def number(value: Any, argument: str, low: float | int, high: float | int = math.inf) -> float:
    """The value as a float, if it is a finite number from `low` to `high`."""
    return _number(value, argument, Range(low, high))


def _whole(value: Any, argument: str, within: Range) -> int:
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found not in within:
        raise _outside(value, argument, within, "a whole number")
    return found


def _number(value: Any, argument: str, within: Range) -> float:
    try:
        found = math.nan if isinstance(value, bool | np.bool_ | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if found not in within:
        raise _outside(value, argument, within, "a number" if within.infinite else "a finite number")
    return found


def _outside(value: Any, argument: str, within: Range, noun: str) -> ValueError:
    hint = f": {within.hint}" if within.hint else ""
    return ValueError(f"{argument} must be {within.of(noun)}; got {_briefly(value)}{hint}")


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
        raise ValueError(f"{argument} must be a {'tuple' if kind is tuple else 'list'}; got {_briefly(value)}")
    fixed = kind is tuple and inner[-1:] != (...,)
    if fixed and len(value) != len(inner):
        raise ValueError(f"{argument} must have {len(inner)} entries; got {_briefly(value)}")
    for i, entry in enumerate(value):
        check(entry, inner[i if fixed else 0], f"{argument}[{i}]")


def _checkable(hint: Any) -> bool:
    """Whether a range or a boolean is part of the annotation."""
    return hint is bool or isinstance(hint, Range) or any(map(_checkable, typing.get_args(hint)))


def _briefly(value: Any) -> str:
    """The value for an error message, cut short; of an array its type and shape."""
    if getattr(value, "ndim", 0):
        return f"{value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
