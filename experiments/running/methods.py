"""The parts of a method's name: a distiller, training on the whole set by some rule, or cleaning before or after.

| name | what it does |
|---|---|
| full, random, rcig, module:METHOD | a distiller of the library, or one of a fork |
| elr, coteaching, robust:elr, ... | training on the whole set by a rule of ddjax.robust |
| module:RULE | training on the whole set by a rule of a fork, a `Published` |
| forward_known, backward_known | by the rule forward or backward with the true transition matrix: an upper bound |
| cleanlab | training on the images that cleanlab does not prune |
| rcig+relabel | distil, let students correct the labels, train on all images |
| prune+rcig | drop what cleanlab prunes, distil the rest |
| small_loss_prune+rcig, relabel+rcig, ... | distil what a wrapper of `ddjax.denoising.cleaning` makes of the data |
| oracle, random_prune | training on the right labels alone, and on as many random ones: controls |
"""

import dataclasses
import functools
import inspect
import typing
from typing import NamedTuple

from ddjax import ranges
from ddjax.denoising.cleaning import WRAPPERS
from ddjax.distillers import DISTILLERS
from ddjax.names import choose, unknown
from ddjax.ranges import Natural
from ddjax.robust import RULES
from ddjax.robust.table import Published
from ddjax.types import Method

KNOWN = {"forward_known": "forward", "backward_known": "backward"}
CONTROLS = ("oracle", "random_prune")
PRUNE, RELABEL = "prune", "+relabel"
BEFORE = (PRUNE, *WRAPPERS)  # what may stand before METHOD and a plus
_ALONE = "weighted"  # needs weights, so it is only used by `cleanlab` and the controls


class Parsed(NamedTuple):
    """A parsed name. Without a rule networks are trained plainly."""

    method: Method  # the distiller; for training on the whole set, the one that keeps all images
    on_all: bool  # networks are trained on the whole set; there are no students
    sized: bool  # the method has a number of images per class
    rule: str | None = None  # of ddjax.robust
    known: bool = False  # the rule uses the true transition matrix
    weights: str | None = None  # source of the rule's weights: cleanlab, oracle or random_prune
    wrapper: str | None = None  # of BEFORE: cleans the training set before distilling
    relabel: str | None = None  # the distiller whose students correct the labels first


@functools.cache
def parse(name: str) -> Parsed:
    """Parse a method's name.

    Raises:
      ValueError: the name is unknown; the message lists the known ones.
    """
    full = DISTILLERS["full"]
    wrapper, plus, inner = name.partition("+")
    if plus and wrapper in BEFORE:
        return Parsed(_distiller(inner, name), False, True, wrapper=wrapper)
    if name.endswith(RELABEL):
        inner = name.removesuffix(RELABEL)
        return Parsed(_distiller(inner, name), True, True, relabel=inner)
    if name == "full":
        return Parsed(full, True, False)
    if name in ("cleanlab", *CONTROLS):
        return Parsed(full, True, False, rule=_ALONE, weights=name)
    rule = name.removeprefix("robust:")
    known = rule in KNOWN
    rule = KNOWN.get(rule, rule)
    if rule in RULES and rule != _ALONE:
        return Parsed(full._replace(config=_options(rule)), True, False, rule=rule, known=known)
    if name.startswith("robust:"):
        raise unknown("robust rule", rule, [each for each in RULES if each != _ALONE])
    if name not in DISTILLERS and ":" not in name:
        raise unknown("method", name, names())
    found = choose(DISTILLERS, name, "method")
    if isinstance(found, Published):  # a fork's rule
        if found.data:
            raise ValueError(
                f"method {name!r} is a rule that needs data ({found.data}), which a run does not make: call "
                "ddjax.training.fit with the rule and its data"
            )
        return Parsed(full._replace(config=_options(name)), True, False, rule=name)
    return Parsed(choose(DISTILLERS, name, "method", Method), False, True)


def names() -> list[str]:
    """All names; combined ones as patterns."""
    rules = [name for name in RULES if name != _ALONE]
    return [
        *DISTILLERS,
        *rules,
        *KNOWN,
        "cleanlab",
        *CONTROLS,
        "METHOD+relabel",
        *(f"{name}+METHOD" for name in BEFORE),
    ]


def sized(name: str) -> bool:
    """Whether the method has a number of images per class."""
    return parse(name).sized


def last_part(name: str) -> str:
    """Return the method that a wrapper before it feeds: rcig for prune+rcig, and for rcig itself."""
    return name.rpartition("+")[2]


def _distiller(name: str, combined: str) -> Method:
    if name == "full":
        raise ValueError(f"method {combined!r}: 'full' distils nothing; use cleanlab to train on a pruned set")
    return choose(DISTILLERS, name, f"distiller in {combined!r}", Method)


@functools.cache
def _options(rule: str) -> type:
    """The settings of a rule as a configuration, for --options."""
    published, settings = choose(RULES, rule, "robust rule", Published), [("ipc", Natural, 0)]
    wanted = typing.get_type_hints(published.make, include_extras=True)
    for name, parameter in inspect.signature(published.make).parameters.items():
        default = published.settings.get(name, parameter.default)
        if isinstance(default, (bool, int, float, str)):
            settings.append((name, wanted.get(name, type(default)), default))
    checks = {"__post_init__": ranges.fields}
    return dataclasses.make_dataclass(f"{rule}_options", settings, frozen=True, namespace=checks)
