"""A grid of experiments as a value, and the cells that it spans."""

import dataclasses
import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from ddjax import ranges
from ddjax.names import choose, unknown
from ddjax.ranges import Count, Seed, Share
from experiments.running.config import BASELINE_OF, Experiment
from experiments.running.methods import read, sized

Settings = Mapping[str, Any]  # fields of Experiment


@dataclasses.dataclass(frozen=True)
class Grid:
    """Every combination of its axes.

    Attributes:
      noises: pairs of kind and rate.
      everywhere: further settings of all cells.
      of_method: further settings of one method's cells, by method and then by images per class, 0 standing for any
        number; the published ones would take hours on small data.
    """

    datasets: tuple[str, ...] = ("digits",)
    noises: tuple[tuple[str, Share], ...] = (("clean", 0.0),)
    methods: tuple[str, ...] = ("random", "full")
    ipc: tuple[Count, ...] = (1, 10)
    seeds: tuple[Seed, ...] = (0, 1, 2)
    protocols: tuple[str, ...] = ("common",)
    everywhere: Settings = dataclasses.field(default_factory=dict)
    of_method: Mapping[str, Mapping[int, Settings]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse axes that no experiment could have."""
        ranges.fields(self)


def cells(*grids: Grid) -> list[Experiment]:
    """The cells, those that can run as one program side by side; what has no images per class comes once."""
    found: dict[Experiment, None] = {}
    for grid in grids:
        for dataset in grid.datasets:
            for method in grid.methods:
                for ipc in grid.ipc if sized(method) else grid.ipc[:1]:
                    for kind, rate in grid.noises:
                        for seed in grid.seeds:
                            for protocol in grid.protocols:  # innermost: they score one set
                                own = grid.of_method.get(method, {})
                                settings = {**grid.everywhere, **own.get(0, {}), **own.get(ipc, {})}
                                first = _first_with_baseline_of(protocol, grid.protocols)
                                if read(method).on_all and protocol != first:
                                    continue
                                cell = Experiment(
                                    dataset=dataset,
                                    noise=kind,
                                    rate=rate,
                                    method=method,
                                    ipc=ipc if sized(method) else Experiment.ipc,
                                    seed=seed,
                                    protocol=protocol,
                                    **settings,
                                )
                                found[cell.settled()] = None
    return list(found)


def _first_with_baseline_of(protocol: str, protocols: tuple[str, ...]) -> str:
    """Protocols with the same full-set baseline share its runs."""
    return next(one for one in protocols if BASELINE_OF.get(one, one) == BASELINE_OF.get(protocol, protocol))


def narrowed(grids: Sequence[Grid], **axes: tuple) -> tuple[Grid, ...]:
    """Of each grid what the given axes name, an empty one naming everything; `rates` are those of the noises."""
    for name, wanted in axes.items():
        known = dict.fromkeys(value for grid in grids for value in _values(grid, name))
        strange = [value for value in wanted if value not in known]
        if strange:
            raise ValueError(
                f"{name} {strange} are not in the grid, which has {list(known)}; another grid is a TOML file (--config)"
            )
        grids = [_kept(grid, name, wanted) for grid in grids] if wanted else grids
        grids = [grid for grid in grids if _values(grid, name)]
    return tuple(grids)


def _values(grid: Grid, axis: str) -> tuple:
    return tuple(rate for _, rate in grid.noises) if axis == "rates" else getattr(grid, axis)


def _kept(grid: Grid, axis: str, wanted: tuple) -> Grid:
    if axis == "rates":
        return dataclasses.replace(grid, noises=tuple(noise for noise in grid.noises if noise[1] in wanted))
    return dataclasses.replace(grid, **{axis: tuple(value for value in getattr(grid, axis) if value in wanted)})


def from_file(path: pathlib.Path) -> Grid:
    """A grid from TOML: the axes as arrays, [everywhere] and [of_method.NAME.IPC] as tables."""
    try:
        table = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    known = [field.name for field in dataclasses.fields(Grid)]
    for name in table:
        choose(dict.fromkeys(known), name, f"setting in {path}")
    own = {
        method: {_size(ipc, method, path): _settings(settings, path) for ipc, settings in per_ipc.items()}
        for method, per_ipc in table.pop("of_method", {}).items()
    }
    everywhere = _settings(table.pop("everywhere", {}), path)
    axes = {name: _tuples(values) for name, values in table.items()}
    try:
        return Grid(**axes, everywhere=everywhere, of_method=own)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _tuples(values: Any) -> Any:
    """TOML's arrays as tuples, and a rate of 0 as the number 0.0 that other ways of giving it mean."""
    if not isinstance(values, list):
        return values
    if len(values) == 2 and isinstance(values[0], str) and type(values[1]) is int:
        return values[0], float(values[1])
    return tuple(map(_tuples, values))


def _size(ipc: str, method: str, path: pathlib.Path) -> int:
    if not ipc.isdecimal():
        raise ValueError(f"{path}: [of_method.{method}.IPC] takes images per class, 0 for any number; got {ipc!r}")
    return int(ipc)


def _settings(table: Settings, path: pathlib.Path) -> Settings:
    known = [field.name for field in dataclasses.fields(Experiment)]
    for name in table:
        if name not in known:
            raise unknown(f"setting in {path}", name, known)
    return table
