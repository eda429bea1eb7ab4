"""A grid of experiments and its cells."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ddjax import ranges
from ddjax.names import few
from ddjax.noise.spec import FILES, reads
from ddjax.ranges import Count, Seed, Share
from experiments.running.config import BASELINE_OF, Experiment, baseline_of, drawn, known_settings, read_toml
from experiments.running.methods import parse, sized

Settings = Mapping[str, Any]  # fields of Experiment
# field of an experiment -> axis of a grid
AXES = {"dataset": "datasets", "noise": "noises", "rate": "noises", "method": "methods", "ipc": "ipc", "seed": "seeds"}
AXES |= {"protocol": "protocols"}
# baseline -> its first protocol, which names its runs whichever of its protocols a grid has
_FIRST = {baseline: protocol for protocol, baseline in reversed(BASELINE_OF.items())}
_OF_NOISE = {"noises": 0, "rates": 1}  # what narrows a grid -> its place in a pair of `Grid.noises`


@ranges.settings()
class Grid:
    """All combinations of its axes.

    A seed is of everything that is random in a cell, its draw of the noise included; `everywhere` can fix that draw
    for all seeds with a `noise_seed`. A sweep runs several grids one after the other: see `rounds`.

    Attributes:
      noises: pairs of kind and rate.
      everywhere: settings of all cells.
      of_method: settings of one method's cells, by method and then by images per class; 0 is any number.
    """

    datasets: tuple[str, ...] = ("digits",)
    noises: tuple[tuple[str, Share], ...] = (("clean", 0.0),)
    methods: tuple[str, ...] = ("random", "full")
    ipc: tuple[Count, ...] = (1, 10)
    seeds: tuple[Seed, ...] = (0, 1, 2)
    protocols: tuple[str, ...] = ("common",)
    everywhere: Settings = dataclasses.field(default_factory=dict)
    of_method: Mapping[str, Mapping[int, Settings]] = dataclasses.field(default_factory=dict)


def cells(*grids: Grid) -> list[Experiment]:
    """The cells of grids in the order of their runs; see `rounds`."""
    return [cell for part in rounds(*grids) for cell in part]


def rounds(*grids: Grid) -> list[list[Experiment]]:
    """The cells of each grid, without those of the grids before it.

    The cells of a grid come before those of the next one. Within a grid, all cells of a seed come before those of the
    next seed, so that an incomplete sweep has whole tables of fewer seeds. Neighbours can run as one program. Methods
    without images per class occur once per noise and seed.
    """
    found: dict[Experiment, None] = {}
    parts = []
    for grid in grids:
        new = [cell for cell in _cells(grid) if cell not in found]
        parts.append(list(dict.fromkeys(new)))
        found |= dict.fromkeys(new)
    return [part for part in parts if part]


def _cells(grid: Grid) -> Iterator[Experiment]:
    whole = dict.fromkeys(_FIRST[baseline_of(protocol)] for protocol in grid.protocols)  # names of full-set baselines
    for seed, dataset, method in itertools.product(grid.seeds, grid.datasets, grid.methods):
        parsed, protocols = parse(method), grid.protocols
        if parsed.on_all and not parsed.relabel:  # students that correct labels are those of the protocol
            protocols = tuple(whole)
        for ipc in grid.ipc if sized(method) else grid.ipc[:1]:
            own = grid.of_method.get(method, {})
            given = {**grid.everywhere, **own.get(0, {}), **own.get(ipc, {})}
            if parsed.on_all and not parsed.relabel and given.get("baseline"):
                protocols = protocols[:1]
            for kind, rate in grid.noises:
                # a seed has its own draw of the noise
                settings = {"noise_seed": seed, **given} if drawn(kind, rate) else given
                settings = {**settings, **dict.fromkeys(set(FILES) - reads(kind))}  # files that the noise does not read
                # innermost, because protocols share a distilled set
                for protocol in protocols:
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
                    yield cell.settled()


def narrowed(grids: Sequence[Grid], **axes: tuple) -> tuple[Grid, ...]:
    """Restrict grids to values of their axes; `noises` are kinds and `rates` their rates. An empty axis keeps all.

    Methods without images per class, such as training on the whole set, stay at every `ipc`.

    Raises:
      ValueError: no grid has a value, or an axis of all grids is empty.
    """
    for name, wanted in axes.items():
        known = dict.fromkeys(value for grid in grids for value in _values(grid, name))
        strange = [value for value in wanted if value not in known]
        if strange:
            raise ValueError(
                f"--{name} {' '.join(map(str, strange))}: not in the grid, which has {list(known)}; "
                "for another grid, write a TOML file (--config)"
            )
        grids = [_kept(grid, name, wanted) for grid in grids] if wanted else grids
        grids = [grid for grid in grids if _values(grid, name) and grid.methods]
    if not grids:
        raise ValueError("the grid has no cells: one of its axes is empty")
    return tuple(grids)


def limited(grid: Grid, limit: int) -> Grid:
    """The grid on the first `limit` images, or on all for 0."""
    return dataclasses.replace(grid, everywhere={**grid.everywhere, "limit": limit or None})


def by_default(grid: Grid, **settings: Any) -> Grid:
    """The grid with these settings where it has none."""
    return dataclasses.replace(grid, everywhere={**settings, **grid.everywhere})


def _values(grid: Grid, axis: str) -> tuple:
    return tuple(pair[_OF_NOISE[axis]] for pair in grid.noises) if axis in _OF_NOISE else getattr(grid, axis)


def _kept(grid: Grid, axis: str, wanted: tuple) -> Grid:
    if axis in _OF_NOISE:
        return dataclasses.replace(grid, noises=tuple(pair for pair in grid.noises if pair[_OF_NOISE[axis]] in wanted))
    kept = tuple(value for value in getattr(grid, axis) if value in wanted)
    if axis == "ipc" and not kept:
        return dataclasses.replace(grid, methods=tuple(method for method in grid.methods if not sized(method)))
    return dataclasses.replace(grid, **{axis: kept})


def from_file(path: pathlib.Path) -> Grid:
    """Read a grid from TOML: axes as arrays, [everywhere] and [of_method.NAME.IPC] as tables.

    Raises:
      ValueError: the file is not TOML, or a setting is unknown or wrong.
    """
    table = read_toml(path)
    if isinstance(table.get("dataset", table.get("method")), str):
        raise ValueError(f"{path} describes one experiment: run it with python -m experiments.one --config {path}")
    known_settings(table, Grid, path)
    own = {
        method: {_size(i, method, path): _settings(each, path) for i, each in _table(per_ipc, path).items()}
        for method, per_ipc in _table(table.pop("of_method", {}), path).items()
    }
    everywhere = _settings(table.pop("everywhere", {}), path)
    axes = {name: _axis(name, values, path) for name, values in table.items()}
    try:
        for method in own:
            parse(method)  # reports a name that is misspelt
        grid = Grid(**axes, everywhere=everywhere, of_method=own)
        for name in FILES:
            if everywhere.get(name) and not any(name in reads(kind) for kind, _ in grid.noises):
                kinds = few([kind for kind, _ in grid.noises])
                raise ValueError(f"no noise of the grid ({kinds}) reads {name}: add one that does, or leave {name} out")
        return grid
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _table(value: Any, path: pathlib.Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{path}: everywhere and of_method.NAME.IPC are tables of settings; got {value!r}")
    return value


def _settings(value: Any, path: pathlib.Path) -> Settings:
    """Settings of cells that are no axis of the grid."""
    table = _table(value, path)
    known_settings(table, Experiment, path)
    for name in table:
        if name in AXES:
            raise ValueError(f"{path}: {name} is an axis of the grid: write {AXES[name]} = [...] above the first table")
    try:
        Experiment(**table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return table


def _axis(name: str, values: Any, path: pathlib.Path) -> tuple:
    """The values of an axis. TOML has lists, and a grid has tuples."""
    example = {"noises": [["symmetric", 0.4]], "ipc": [1, 10], "seeds": [0, 1, 2]}.get(name, ["..."])
    if not isinstance(values, list) or (name == "noises" and not all(isinstance(pair, list) for pair in values)):
        noun = "a list of pairs of kind and rate" if name == "noises" else "a list"
        raise ValueError(f"{path}: {name} must be {noun}, such as {name} = {json.dumps(example)}; got {values!r}")
    return tuple(map(tuple, values)) if name == "noises" else tuple(values)


def _size(ipc: str, method: str, path: pathlib.Path) -> int:
    if not ipc.isdecimal():
        raise ValueError(
            f"{path}: [of_method.{method}.IPC] needs a number of images per class, or 0 for any; got {ipc!r}"
        )
    return int(ipc)
