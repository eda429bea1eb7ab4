"""Names a user types, and what is said when one is unknown."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
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
