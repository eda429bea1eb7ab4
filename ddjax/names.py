"""Names in messages: unknown ones, many of them, and those that hold control characters."""

import difflib
import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name outside `known`: it lists them and guesses the one that was meant."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}.{guess}")


def choose(table: Mapping[str, Any], name: str, what: str) -> Any:
    """`table[name]`; a name with a colon is read as `module:ATTRIBUTE`, so a fork edits no table of ours."""
    if name in table:
        return table[name]
    if ":" in name:
        module, attribute = name.rsplit(":", 1)
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{what} {name!r} is read as module:ATTRIBUTE, and that failed: {error}") from error
    raise unknown(what, name, table)


def shown(text: object) -> str:
    r"""A name as a terminal shows it in one line: control characters and broken encodings become `\n`, `\x1b`, ..."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def few(items: Sequence[object], most: int = 5, between: str = ", ") -> str:
    """The first items, each on one line, and how many more there are."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return between.join(map(shown, items[:most])) + more


def few_counts(counts: Mapping[Any, int]) -> str:
    """The first entries as `{name: count, ...}`, and how many more there are."""
    return f"{{{few([f'{name}: {count}' for name, count in counts.items()])}}}"
