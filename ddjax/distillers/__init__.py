"""The methods by name. A fork adds one file that defines a `Method`, and names it `module:METHOD`."""

import functools
from typing import Any

from ddjax import checks
from ddjax.distillers import dance, datm, dm, frepo, full, kip, ncfm, rcig, rdc, selection
from ddjax.ranges import Count, check
from ddjax.types import Feed, Method, TrainSet


def checked(method: Method) -> Method:
    """The method with checks of its training set and of `ipc` before `prepare`."""

    @functools.wraps(method.prepare)
    def prepare(config: Any, train: TrainSet, *rest: Any, **more: Any) -> tuple[Any, Feed]:
        checks.learnable(train)
        if method is not full.METHOD:  # it has no use for `ipc`
            check(config.ipc, Count, "ipc")
        return method.prepare(config, train, *rest, **more)

    return method._replace(prepare=prepare)


_METHODS: dict[str, Method] = {
    "random": selection.method("random"),
    "herding": selection.method("herding"),
    "kcenter": selection.method("kcenter"),
    "full": full.METHOD,
    "kip": kip.METHOD,
    "frepo": frepo.METHOD,
    "rcig": rcig.METHOD,
    "dance": dance.METHOD,
    "datm": datm.METHOD,
    "mtt": datm.MTT,
    "dm": dm.METHOD,
    "ncfm": ncfm.METHOD,
    "rdc_reconstructed": rdc.METHOD,
}
DISTILLERS: dict[str, Method] = {name: checked(method) for name, method in _METHODS.items()}
