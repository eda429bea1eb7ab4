"""Names and values in messages: unknown names, long lists, control characters, and arrays."""

import difflib
import importlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in `known`. It lists the known names and suggests the closest one.

    Example:
      >>> print(unknown("method", "datn", ["rcig", "datm"]))
      unknown method 'datn'; known: rcig, datm. Did you mean 'datm'?
    """
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}.{guess}")


def check_known(what: str, name: object, known: Collection[str]) -> None:
    """Raise the error of `unknown` for a name that is not in `known`."""
    if name not in known:
        raise unknown(what, name, known)


def choose(table: Mapping[str, Any], name: str, what: str, kind: Any = object) -> Any:
    """Look up `table[name]`, or import `name` if it is written as `module:ATTRIBUTE`.

    Args:
      table: the known entries.
      name: a key of the table, or `module:ATTRIBUTE`, by which a fork adds an entry without editing the table.
      what: what is named, for the message.
      kind: the class of an imported object.

    Raises:
      ValueError: the name is unknown, the import fails, or the object is of another class.

    Example:
      >>> choose({}, "math:pi", "constant")
      3.141592653589793
    """
    if name in table:
        return table[name]
    module, _, attribute = str(name).rpartition(":")
    if module and not module.startswith("."):  # a relative name has no package to start from
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{what} {name!r} is read as module:ATTRIBUTE, and that failed: {error}") from error
        if not isinstance(found, kind):
            raise ValueError(f"{what} {name!r} must be a {kind.__name__}; it is a {type(found).__name__}")
        return found
    raise unknown(what, name, table)


def shown(text: object) -> str:
    r"""A name on one line: control characters and broken encodings are escaped as `\n`, `\x1b`, ..."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def few(items: Sequence[object], most: int = 5, between: str = ", ") -> str:
    """The first items, each on one line, and the number of the others."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return between.join(map(shown, items[:most])) + more


def few_counts(counts: Mapping[Any, int]) -> str:
    """The first entries as `{name: count, ...}`, and the number of the others."""
    return f"{{{few([f'{name}: {count}' for name, count in counts.items()])}}}"


def briefly(value: Any) -> str:
    """A value in a message: dtype and shape of an array, or the first 60 characters of its `repr`."""
    if getattr(value, "ndim", 0):
        return f"{value.dtype}{list(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
