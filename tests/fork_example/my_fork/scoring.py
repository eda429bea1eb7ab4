"""An evaluation protocol from outside: how students are trained on a distilled set."""

from ddjax.evaluation.protocols import Protocol
from ddjax.training import Recipe


def recipe(images):
    """Of a set of this many images; for `--protocol my_fork.scoring:SHORT`."""
    return Recipe(epochs=10, batch=min(32, images), rate=0.2, momentum=0.9)


SHORT = Protocol("short", recipe, students=2)
