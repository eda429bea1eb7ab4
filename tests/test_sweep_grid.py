"""Grids and presets: the cells that they span, and their order: whole tables of fewer seeds come first."""

import dataclasses

import pytest

from ddjax.distillers import DISTILLERS
from experiments.running.config import Experiment, method_config
from experiments.sweeping.grid import Grid, cells, from_file, limited, narrowed, rounds
from experiments.sweeping.presets import LEARNED, PRESETS
from experiments.sweeping.run import groups


@pytest.mark.slow
def test_every_preset_spans_cells_whose_settings_can_be_read():
    for name, preset in PRESETS.items():
        found = cells(*preset)
        assert {cell.method for cell in found} >= {*LEARNED, "random", "full"}, name
        for cell in found:
            method_config(DISTILLERS[cell.method].config, cell)
    demo = cells(*PRESETS["demo"])
    assert sum(cell.method == "full" for cell in demo) == 9 and len(demo) == 9 + 4 * 18


def test_presets_run_what_was_published():
    found = cells(*PRESETS["cifar10"])
    cifar10 = {(cell.method, cell.ipc): method_config(DISTILLERS[cell.method].config, cell) for cell in found}
    assert (cifar10["datm", 50].image_rate, cifar10["datm", 50].inner_steps, cifar10["datm", 10].width) == (
        1000.0,
        80,
        128,
    )
    assert cifar10["rcig", 50].steps == cifar10["dance", 50].steps == 10_000
    sizes = {(cell.dataset, cell.method, cell.ipc) for cell in cells(*PRESETS["figure2"])}
    assert ("cifar10", "datm", 1000) in sizes and ("cifar10", "rcig", 1000) not in sizes
    tiny = {key for key in sizes if key[0] == "tiny_imagenet"}
    assert {ipc for _, method, ipc in tiny if method == "rcig"} == {1, 10}
    assert {ipc for _, method, ipc in tiny if method == "datm"} == {1, 10, 50}
    # noise.md 8: a tail of ratio 100, clean and with symmetric 0.2
    assert {(c.imbalance, c.noise, c.rate) for c in cells(*PRESETS["long_tail"])} == {
        (100.0, "clean", 0.0),
        (100.0, "symmetric", 0.2),
    }


def test_settings_of_a_method_and_of_its_size():
    grid = Grid(methods=("dance",), seeds=(0,), of_method={"dance": {0: {"steps": 9, "width": 4}, 10: {"steps": 5}}})
    assert [(cell.ipc, cell.steps, cell.width) for cell in cells(grid)] == [(1, 9, 4), (10, 5, 4)]


@pytest.mark.parametrize("name", ["mnist", "tfds:mnist", "tfds:mnist:3.0.1", "tfds:svhn_cropped"])
def test_images_that_a_mirror_changes_are_not_flipped(name):
    other = name.replace("n", "k", 1)
    assert not Experiment(dataset=name).mirrored and Experiment(dataset=other).mirrored
    assert not Experiment(dataset=other, flip=False).mirrored


def test_a_seed_has_its_own_noise_unless_one_draw_is_asked_for():
    grid = Grid(noises=(("clean", 0.0), ("symmetric", 0.4), ("worst", 0.0)), methods=("random",), ipc=(1,))
    assert sorted((c.noise, c.noise_seed) for c in cells(grid)) == [
        *[("clean", 0)] * 3,
        *[("symmetric", seed) for seed in range(3)],
        *[("worst", 0)] * 3,
    ]
    files = {"labels_file": "a.pt", "matrix_file": "t.npy"}
    grid_of_files = dataclasses.replace(grid, noises=(*grid.noises, ("custom", 0.0)), everywhere=files, seeds=(0,))
    found = [(c.labels_file, c.matrix_file) for c in cells(grid_of_files)]
    assert found == [(None, None), (None, None), ("a.pt", None), (None, "t.npy")]
    one_draw = dataclasses.replace(grid, everywhere={"noise_seed": 5})
    assert {cell.noise_seed for cell in cells(one_draw)} == {5}


def test_full_training_is_one_cell_whichever_of_its_protocols_run():
    grid = Grid(methods=("full", "dm+relabel", "random"), ipc=(1,), seeds=(0,), protocols=("dance", "ncfm"))
    for protocols in ((), ("ncfm",)):
        found = cells(*narrowed([grid], protocols=protocols))
        assert [cell.protocol for cell in found if cell.method == "full"] == ["dance"]
        assert {cell.protocol for cell in found if cell.method == "random"} == set(protocols or grid.protocols)
        of_students = [cell.protocol for cell in found if cell.method == "dm+relabel"]  # who correct labels
        assert of_students == [*(protocols or grid.protocols)]
    two = dataclasses.replace(grid, protocols=("dance", "datm"), everywhere={"baseline": "B-PLAIN"})
    assert [cell.protocol for cell in cells(two) if cell.method == "full"] == ["dance"]


def test_a_fleet_is_cells_that_differ_in_labels_and_seeds():
    found = cells(Grid(noises=(("clean", 0.0), ("symmetric", 0.4)), methods=("random",), seeds=(0, 1)))
    assert sorted(len(group) for group in groups(found, fleet=True)) == [4, 4]
    assert all(len(group) == 1 for group in groups(found, fleet=False))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[everywhere]\nwidht = 4", "unknown setting .*'widht'.*Did you mean 'width'"),
        ('[everywhere]\nprotocol = "quick"', r"protocol is an axis of the grid: write protocols = \[...\]"),
        ("[of_method.dance.0]\nrate = 0.2", r"rate is an axis of the grid: write noises = \[...\]"),
        ("[of_method.danse.0]\nsteps = 4", "unknown method 'danse'.*Did you mean 'dance'"),
        ("everywhere = 4", "tables of settings; got 4"),
        ("[of_method.dance]\nsteps = 4", "needs a number of images per class, or 0 for any; got 'steps'"),
        ("[of_method]\ndance = 4", "of_method.NAME.IPC are tables of settings; got 4"),
        ("seeds = [\xe9]", "is not TOML"),
        ('[everywhere]\nwidth = "4"', "grid.toml: width must be a whole number, at least 1; got '4'"),
        ('[of_method.dance.0]\noptions = "batch=4"', r"grid.toml: options must be a list, such as \['batch=4'\]"),
        ('everywhere = {labels_file = "a.pt"}', r"no noise of the grid \(clean\) reads labels_file: add one that does"),
        ('everywhere = {matrix_file = "t.npy"}', "reads matrix_file"),
        ('method = "dance"', r"describes one experiment: run it with python -m experiments.one --config .*grid.toml"),
    ],
)
def test_what_is_wrong_in_a_file_of_a_grid_is_named(tmp_path, text, words):
    config = tmp_path / "grid.toml"
    config.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=words):
        from_file(config)


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
