"""Shared seeds are written by runs and read by reports, including rows without the column `seeds`."""

import types

import pytest
from report_study import row, seeds

from ddjax.distillers.datm.config import DatmConfig
from experiments.reporting.cells import compare, gather
from experiments.reporting.seeding import draw_of, shared
from experiments.running.config import Experiment, drawn
from experiments.running.run import seeds_of

AUGMENTATION = "sequence of batch-wide augmentations"


def written(config=None, **fields):
    return seeds_of(types.SimpleNamespace(experiment=Experiment(rate=0.4, **fields), config=config))


def test_a_row_contains_the_seed_of_each_source():
    assert written(seed=3, noise_seed=2) == {"augmentation": 0, "noise": 2}
    assert written(DatmConfig(), seed=3, noise_seed=2) == {"augmentation": 0, "noise": 2, "experts": 3}
    assert written(DatmConfig(expert_seed=0), seed=3)["experts"] == 0
    assert "noise" not in written(noise="worst") and "noise" not in written(noise="clean")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (seeds(0.5), ("noise draw", AUGMENTATION)),
        (seeds(0.5, noise="clean", rate=0.0), (AUGMENTATION,)),
        (seeds(0.5, method="datm"), ("noise draw", "expert networks", AUGMENTATION)),
        (seeds(0.5, method="prune+datm", options=("expert_seed=4",)), ("noise draw", "expert networks", AUGMENTATION)),
        ([row(0.5, seed=s, noise_seed=s) for s in range(3)], (AUGMENTATION,)),
        ([row(0.5, seed=s, seeds={"augmentation": s, "noise": s, "experts": s}) for s in range(3)], ()),
        ([row(0.5, seed=s, seeds={"augmentation": s, "noise": 0}) for s in range(3)], ("noise draw",)),
        ([row(0.5)], ()),
    ],
)
def test_shared_sources_are_named(rows, words):
    assert shared(rows) == words


def test_only_drawn_labels_have_a_noise_draw():
    assert drawn("symmetric", 0.4) and drawn("custom", 0.0) and drawn("human_surrogate:worst", 0.0)
    assert not drawn("symmetric", 0.0) and not drawn("clean", 0.0) and not drawn("worst", 0.0)
    assert draw_of(row(0.5, noise_seed=4)) == 4 and draw_of(row(0.5, noise="worst", noise_seed=4)) is None


@pytest.mark.parametrize(("checksum", "paired"), [("a1", True), ("b2", False)])
def test_rows_of_one_seed_are_paired_if_their_labels_are_the_same(checksum, paired):
    full = [row(0.4 + s / 100, "full", seed=s, noise_seed=s, noise_checksum=("a1", "c3")[s]) for s in range(2)]
    own = row(0.5, "datm", seed=0, noise_seed=0, noise_checksum=checksum)
    (one,) = compare(gather([*full, own]))
    assert one.deltas["last"].paired == paired
    assert one.deltas["last"].mean == pytest.approx(0.1 if paired else 0.095)
