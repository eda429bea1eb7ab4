"""The robust rules by name, with the settings of their papers."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ddjax.names import check_known, choose
from ddjax.ranges import Count, checked
from ddjax.robust.rules import (
    cpc,
    distillation,
    dividemix,
    echo,
    elr,
    ill,
    losses,
    margins,
    mixup,
    nested,
    pls,
    small_loss,
    storm,
    transition,
    weighted,
)
from ddjax.training.rule import Rule


@dataclasses.dataclass(frozen=True)
class Published:
    """A rule's factory and the settings of its paper, whose runs took `epochs`.

    A run of another length scales the settings in `counts`, which are numbers of epochs, by the ratio of the lengths.
    In a shorter run an early phase takes at least as many epochs as in the paper, or a quarter of the run if that is
    fewer: the network has to learn something in it, and a small set has few steps in an epoch.

    Other settings are as published for every length. A momentum acts on each visit of an image, so 0.7 averages over
    the last three visits in a run of any length; a smaller one in a short run would remember less than one visit.
    """

    make: Callable[..., Rule]
    epochs: int
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    counts: tuple[str, ...] = ()
    data: str = ""  # what `fit` must be given as data, for a rule that needs some
    source: str = ""

    def settings_for(self, epochs: int) -> dict[str, Any]:
        """The settings for a run of `epochs`."""
        share = epochs / self.epochs
        scaled = {name: max(self.settings[name] * share, min(self.settings[name], epochs / 4)) for name in self.counts}
        return {**self.settings, **scaled}


RULES: dict[str, Published] = {
    "ce": Published(losses.plain, 100),
    "weighted": Published(weighted.weighted, 100, data="weights [n]"),
    "label_smoothing": Published(losses.label_smoothing, 100, {"amount": 0.1}, source="Szegedy et al., 2016"),
    "bootstrap": Published(losses.bootstrap, 100, {"trust": 0.95}, source="arXiv:1412.6596"),
    "bootstrap_hard": Published(losses.bootstrap, 100, {"trust": 0.8, "hard": True}, source="arXiv:1412.6596"),
    "mixup": Published(mixup.mixup, 200, {"alpha": 1.0}, source="arXiv:1710.09412"),
    "gce": Published(losses.generalised_cross_entropy, 120, {"q": 0.7}, source="arXiv:1805.07836"),
    "sce": Published(losses.symmetric_cross_entropy, 120, {"forward": 0.1, "backward": 1.0}, source="arXiv:1908.06112"),
    "active_passive": Published(losses.active_passive, 120, source="arXiv:2006.13554"),
    "forward": Published(transition.forward_correction, 120, data="T [k k]", source="arXiv:1609.03683"),
    "backward": Published(transition.backward_correction, 120, data="T [k k]", source="arXiv:1609.03683"),
    "small_loss": Published(small_loss.small_loss, 200, {"ramp": 10.0}, ("ramp",), source="arXiv:1804.06872"),
    "coteaching": Published(small_loss.coteaching, 200, {"ramp": 10.0}, ("ramp",), source="arXiv:1804.06872"),
    "nested_dropout": Published(nested.nested_dropout, 350, {"spread": 10.0}, source="arXiv:2206.13140"),
    "nested_coteaching": Published(
        nested.coteaching_of_masked, 100, {"forget": 0.2}, data="widths [2]", source="arXiv:2206.13140"
    ),
    "aum": Published(margins.margins, 150, source="arXiv:2001.10528"),
    "mean_margin": Published(margins.margins, 150, {"probabilities": True}, source="after arXiv:2009.10795"),
    "dividemix": Published(
        dividemix.dividemix, 300, {"warmup": 10.0, "ramp": 16.0}, ("warmup", "ramp"), source="arXiv:2002.07394"
    ),
    "elr": Published(elr.elr, 150, {"momentum": 0.7, "strength": 3.0}, source="arXiv:2007.00151"),
    "ill": Published(ill.imprecise, 300, {"scale": 1.0}, source="arXiv:2305.12715"),
    "kd": Published(distillation.distillation, 100, {"temperature": 4.0}, data="teacher", source="arXiv:2403.07854"),
    "storm": Published(storm.storm, 100, {"warmup": 10.0}, ("warmup",), source="arXiv:2412.12955"),
    "pls": Published(pls.pls, 200, {"warmup": 30.0}, ("warmup",), source="arXiv:2407.05528"),
    "lsa": Published(
        pls.pls, 200, {"warmup": 30.0, "separator": True, "spread": False}, ("warmup",), source="arXiv:2407.05528"
    ),
    "cpc_reconstructed": Published(
        cpc.prototype_cleaner,
        300,
        {"warmup": 10.0, "detached": 150.0},
        ("warmup", "detached"),
        source="as reconstructed from the abstract of arXiv:2212.10766",
    ),
    "echo_select": Published(echo.echo_select, 240, {"until": 70.0}, ("until",), source="arXiv:2405.12969"),
}


@checked
def make_rule(name: str, epochs: Count | None = None, **settings: Any) -> Rule:
    """The rule `name` with its published settings, which fit a run of `epochs`.

    Args:
      name: a key of `RULES`, or `module:ATTRIBUTE` for a `Published` of your own.
      epochs: the length of the run; None takes the paper's.
      settings: in place of published ones; they are not scaled.

    Returns:
      The rule. Equal arguments give the same rule, so its programs compile once.

    Raises:
      ValueError: the rule or a setting is unknown, the attribute is no `Published`, or a setting is out of range.

    Example:
      >>> from ddjax.robust import make_rule
      >>> make_rule("elr", 20) is make_rule("elr", 20, momentum=0.7)
      True
    """
    published = choose(RULES, name, "robust rule", Published)
    known = list(inspect.signature(published.make).parameters)
    for setting in settings:
        check_known(f"setting of rule {name!r}", setting, known)
    return published.make(**(published.settings_for(epochs or published.epochs) | settings))
