"""What the seeds of a cell's rows share, and which variance their standard errors therefore lack."""

from collections.abc import Iterable
from typing import Any

from experiments.running.config import drawn

# what a row's column `seeds` names -> what a reader calls it
SOURCES = {"noise": "noise draw", "experts": "expert networks", "augmentation": "sequence of batch-wide augmentations"}
EXPERTS = ("datm", "mtt")


def seeds_of(row: dict[str, Any]) -> dict[str, int]:
    """The seed behind each source of randomness that a row has besides its own seed.

    Rows say so in the column `seeds`. Rows from before there was one took the noise's seed from the settings, the
    experts' from the method's options (0 by default), and drew batch-wide augmentations from one sequence for all.
    """
    if "seeds" in row:
        return row["seeds"]
    config = row["config"]
    found = {"augmentation": 0}
    if drawn(config["noise"], config.get("rate")):
        found["noise"] = config.get("noise_seed", 0)
    if config["method"].split("+")[-1] in EXPERTS:
        chosen = dict(option.partition("=")[::2] for option in config.get("options", ()))
        found["experts"] = int(chosen.get("expert_seed", 0))
    return found


def draw_of(row: dict[str, Any]) -> int | None:
    """Which draw of the noise a row saw; None where its labels are not drawn."""
    return seeds_of(row).get("noise")


def shared(rows: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """What all of several rows have in common although their seeds differ, in words."""
    found = [seeds_of(row) for row in rows]
    if len(found) < 2:
        return ()
    return tuple(
        words
        for name, words in SOURCES.items()
        if all(name in seeds for seeds in found) and len({seeds[name] for seeds in found}) == 1
    )
