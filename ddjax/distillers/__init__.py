"""The methods by name. A fork adds one file that defines a `Method`, and names it `module:METHOD`."""

from ddjax.distillers import dance, datm, dm, frepo, full, kip, ncfm, rcig, rdc, selection
from ddjax.types import Method

DISTILLERS: dict[str, Method] = {
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
