"""The order of a sweep: whole tables of fewer seeds come first, and grids one after the other."""

import dataclasses

from experiments.sweeping.grid import Grid, cells, limited, rounds
from experiments.sweeping.presets import PRESETS
from experiments.sweeping.run import groups

GRID = Grid(noises=(("clean", 0.0), ("symmetric", 0.4)), methods=("random", "full"), ipc=(1,), seeds=(0, 1))


def test_all_cells_of_a_seed_come_before_those_of_the_next():
    assert [cell.seed for cell in cells(GRID)] == [0] * 4 + [1] * 4


def test_a_cell_belongs_to_the_first_grid_that_has_it():
    wider = dataclasses.replace(GRID, ipc=(10, 1))
    first, second = rounds(GRID, wider)
    assert len(first) == 8 and {(cell.method, cell.ipc) for cell in second} == {("random", 10)}
    assert rounds(GRID, GRID) == [first]


def test_photographs_come_by_value():
    parts = rounds(*PRESETS["photographs"])
    found = [cell for part in parts for cell in part]
    assert len(found) == 3 * 9 * (2 + 6 * 3)
    assert {cell.seed for part in parts[: len(parts) // 2] for cell in part} == {0, 1}
    sizes = [cell.ipc for part in parts[: len(parts) // 2] for cell in part if cell.method == "dance"]
    assert sizes == sorted(sizes, key=(10, 50, 1).index)
    kinds = {group[0].method for group in groups(parts[0], fleet=True)}
    assert kinds == {"full"} and {len(group) for part in parts[:5] for group in groups(part, fleet=True)} == {18}


def test_the_number_of_images_can_be_changed():
    assert {cell.limit for cell in cells(limited(GRID, 50))} == {50}
    photographs = [limited(grid, 0) for grid in PRESETS["photographs"]]
    assert {cell.limit for cell in cells(*photographs)} == {None}
