"""Sources of randomness that the rows of a cell share, whose variance their standard errors do not contain."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from experiments.running.config import drawn
from experiments.running.methods import last_part

# key of a row's column `seeds` -> name in reports
SOURCES = {"noise": "noise draw", "experts": "expert networks", "augmentation": "sequence of batch-wide augmentations"}
EXPERTS = ("datm", "mtt")


def seeds_of(row: dict[str, Any]) -> dict[str, int]:
    """Return the seed of each source of randomness other than the seed of the row.

    Newer rows have the column `seeds`. Older rows took the seed of the noise from the settings and the seed of the
    experts from the options of the method (0 by default), and shared one sequence of batch-wide augmentations.
    """
    if "seeds" in row:
        return row["seeds"]
    config = row["config"]
    sources = {"augmentation": 0}
    if drawn(row["noise"], row["rate"]):
        sources["noise"] = config.get("noise_seed", 0)
    if last_part(row["method"]) in EXPERTS:
        chosen = dict(option.partition("=")[::2] for option in config.get("options", ()))
        sources["experts"] = int(chosen.get("expert_seed", 0))
    return sources


def draw_of(row: dict[str, Any]) -> int | None:
    """Return the seed of the noise draw of a row; None if its labels are not drawn."""
    return seeds_of(row).get("noise")


def told_apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give labels that differ under one setting and one seed of the noise draws of their own.

    Two versions of NumPy can make such labels.
    """
    found = defaultdict(set)
    for row in rows:
        found[_noise_of(row)].add(row.get("noise_checksum"))
    return [
        row | {"seeds": seeds_of(row) | {"noise": int(row["noise_checksum"], 16)}}
        if draw_of(row) is not None and row.get("noise_checksum") and len(found[_noise_of(row)]) > 1
        else row
        for row in rows
    ]


def _noise_of(row: dict[str, Any]) -> tuple:
    config = row["config"]
    return row["dataset"], config.get("limit"), config.get("imbalance"), row["noise"], row["rate"], draw_of(row)


def shared(rows: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the names of the sources of randomness that several rows with different seeds share."""
    sources = [seeds_of(row) for row in rows]
    if len(sources) < 2:
        return ()
    return tuple(
        words
        for name, words in SOURCES.items()
        if all(name in seeds for seeds in sources) and len({seeds[name] for seeds in sources}) == 1
    )
