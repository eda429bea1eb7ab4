"""Public names: those that packages export, and the text of their reference pages."""

import ast
import importlib
import inspect
import pathlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]


def packages() -> list[str]:
    """Every package in the folder `ddjax` that exports functions or classes."""
    files = (ROOT / "ddjax").glob("*/**/__init__.py")
    names = sorted(".".join(path.parent.relative_to(ROOT).parts) for path in files)
    return [name for name in names if any(described(thing) for _, thing in exported(importlib.import_module(name)))]


def exported(package: ModuleType) -> Iterator[tuple[str, Any]]:
    """(name, object) of each name that a package's `__init__` re-exports or defines."""
    for node in ast.parse(pathlib.Path(package.__file__).read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names = [alias.asname for alias in node.names if alias.asname == alias.name]
        else:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from ((name, getattr(package, name)) for name in names if not name.startswith("_"))


def described(thing: Any) -> bool:
    """Whether it is a function or class of ddjax, which has a docstring."""
    return callable(thing) and getattr(thing, "__module__", "").startswith("ddjax") and hasattr(thing, "__qualname__")


def page(name: str) -> str:
    """The reference of a package: its docstring, then its names in order."""
    package = importlib.import_module(name)
    parts = [f"::: {name}\n    options: {{members: false}}"]
    for public, thing in exported(package):
        if described(thing):
            parts.append(f"::: {thing.__module__}.{thing.__qualname__}\n    options: {{heading_level: 3}}")
        elif isinstance(thing, Mapping | tuple):
            parts.append(f"### {public}\n\nNames: {', '.join(f'`{key}`' for key in thing)}.")
        else:
            parts.append(f"### {public}\n\n`{thing!r}`".replace("collections.abc.", "").replace("typing.", ""))
    return "\n\n".join(parts)


def front_door() -> str:
    """The names of `import ddjax` as a table: name, module, and the first line of the docstring."""
    import ddjax

    rows = ["| name | from | |", "|---|---|---|"]
    for name in ddjax.__all__:
        thing = getattr(ddjax, name)
        place = thing.__module__ if described(thing) else ddjax._MODULE_OF.get(name, "ddjax")
        told = (inspect.getdoc(thing) or "").partition("\n")[0] if described(thing) else ""
        rows.append(f"| `{name}` | `{place}` | {told} |")
    return "\n".join(rows)
