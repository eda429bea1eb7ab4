"""Options of a method's configuration as text `name=value`, parsed by the annotated type of each field."""

import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from ddjax import ranges
from ddjax.names import check_known

BOOLEANS = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("false", "no", "off", "0"), False)}
NONE = "none"


def read_options(kind: type, options: Sequence[str], method: str) -> dict[str, Any]:
    """Parse options.

    Raises:
      ValueError: an option has no value, is unknown or repeated, or its value has a wrong type or is out of range.

    Example:
      >>> from ddjax.training import Recipe
      >>> read_options(Recipe, ["epochs=3", "rate=0.5"], "mine")
      {'epochs': 3, 'rate': 0.5}
    """
    wanted, found = ranges.annotations(kind), {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise ValueError(f"an option is name=value; got {option!r}")
        check_known(f"option of method {method!r}", name, wanted)
        if name in found:
            raise ValueError(f"option {name} is given twice, as {found[name]!r} and {text!r}: leave one out")
        found[name] = read_value(text, wanted[name], f"option {name}")
        ranges.check(found[name], wanted[name], f"option {name}")
    return found


def read_value(text: str, wanted: Any, argument: str) -> Any:
    """Parse a text as a value of the annotated type `wanted`; the range is not checked.

    Raises:
      ValueError: the text cannot be parsed; the message lists what is accepted.

    Example:
      >>> read_value("none", int | None, "steps") is None, read_value("off", bool, "flip")
      (True, False)
    """
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Annotated:
        return read_value(text, inner[0], argument)
    if origin in (typing.Union, types.UnionType):
        return _first_of(text, inner, argument)
    if origin is Literal:
        known = {str(value): value for value in inner}
        check_known(argument, text, known)
        return known[text]
    if origin is tuple:
        parts = text.split(",") if text else []
        kinds = inner[:1] * len(parts) if inner[-1:] == (...,) else inner
        if len(kinds) != len(parts):
            raise ValueError(f"{argument} must be {len(kinds)} values with commas between them; got {text!r}")
        return tuple(read_value(part.strip(), kind, argument) for part, kind in zip(parts, kinds, strict=True))
    if wanted is str:
        return text
    if wanted is bool:
        if text.lower() not in BOOLEANS:
            raise ValueError(f"{argument} must be one of {', '.join(BOOLEANS)}; got {text!r}")
        return BOOLEANS[text.lower()]
    if wanted in (int, float):
        return _number(text, wanted, argument)
    raise ValueError(f"{argument} cannot be given as text: its type is {wanted}; build the configuration in Python")


def _number(text: str, kind: type, argument: str) -> float:
    try:
        return kind(text)
    except ValueError:
        noun = "a whole number, such as 10" if kind is int else "a number, such as 0.01"
        raise ValueError(f"{argument} must be {noun}; got {text!r}") from None


def _first_of(text: str, members: tuple[Any, ...], argument: str) -> Any:
    """The value of the first type of a union that can parse the text; `str` comes last."""
    optional = types.NoneType in members
    if optional and text.lower() == NONE:
        return None
    errors = []
    for member in sorted((member for member in members if member is not types.NoneType), key=lambda kind: kind is str):
        try:
            return read_value(text, member, argument)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError(errors[0] + (f"; {NONE} is accepted too" if optional else ""))
