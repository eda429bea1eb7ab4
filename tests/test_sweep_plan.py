"""A plan says what a sweep will take, before anything is loaded; rows that are there refine it."""

import dataclasses
import re

import jax
import numpy as np
import pytest
import tyro
from report_study import row

from ddjax.distillers import DISTILLERS
from ddjax.models import build
from ddjax.noise import long_tail
from ddjax.robust import make_rule
from ddjax.storage.rows import fingerprint, hardware
from ddjax.timing import in_time
from ddjax.training.arithmetic import forward_flop
from experiments.reporting.inference import seeds_needed
from experiments.running.config import Experiment
from experiments.sweep import sweep
from experiments.sweeping import planning
from experiments.sweeping.cost import cost, members_that_fit, shape_of
from experiments.sweeping.grid import Grid, cells
from experiments.sweeping.machines import MACHINES
from experiments.sweeping.operations import copies
from experiments.sweeping.presets import PRESETS
from experiments.sweeping.run import groups
from experiments.sweeping.seeds import planned_seeds
from experiments.sweeping.store import Store
from experiments.sweeping.whole import passes_of

CPU, H200 = MACHINES["cpu2"], MACHINES["h200"]


def test_arithmetic_is_that_of_the_layers():
    model = build("convnet", (32, 32, 3), 10, width=128)
    layers = 32 * 32 * 27 * 128 + 16 * 16 * 9 * 128 * 128 + 8 * 8 * 9 * 128 * 128 + 2048 * 10
    assert forward_flop(model, (32, 32, 3)) == 2 * layers


@pytest.mark.parametrize(
    ("method", "ipc", "options", "seconds", "rate"),
    # an outer step on two cores, CIFAR-10, and the rate of a matrix product on the same machine
    [
        ("rcig", 1, ("width=32", "batch=256"), 1.13, 135e9),
        ("rcig", 1, (), 18.5, 126e9),
        ("dance", 1, (), 1.06, 100e9),
        ("dance", 10, (), 2.21, 100e9),
    ],
)
def test_predicted_steps_are_within_twice_the_measured_ones(method, ipc, options, seconds, rate):
    def work(steps):
        return cost(Experiment(dataset="cifar10", method=method, ipc=ipc, steps=steps, options=options), CPU).work

    more, less = work(1100), work(100)
    step = ((more.flop - less.flop) / rate + (more.passes - less.passes) * CPU.pass_s) / 1000
    assert 0.5 < step / seconds < 2


def test_a_step_of_frepo_is_counted_by_its_images():
    def flop(batch, pool_steps):
        options = (f"batch={batch}", f"pool_steps={pool_steps}")
        return cost(Experiment(dataset="cifar10", method="frepo", ipc=10, steps=1000, options=options), CPU).work.flop

    model = DISTILLERS["frepo"].model(DISTILLERS["frepo"].config(), (32, 32, 3), 10)
    one, alone = forward_flop(model, (32, 32, 3)), flop(256, 0)
    assert flop(256, 2) - alone == pytest.approx(1000 * 2 * 100 * 3 * one)
    features = 4 * 4 * 512  # after three blocks, whose channels double
    assert flop(512, 0) - alone == pytest.approx(1000 * 256 * (one + 6 * 100 * features))
    assert cost(Experiment(method="kip"), CPU).work is None


def test_students_see_each_cell_of_an_automatic_mosaic():
    config = DISTILLERS["dance"].config()
    assert copies("dance", config, (32, 32, 3)) == 4 and copies("dance", config, (8, 8, 1)) == 1
    assert copies("rcig", DISTILLERS["rcig"].config(), (32, 32, 3)) == 2


@pytest.mark.parametrize(
    ("machine", "days"), [("h200", (3, 40)), pytest.param("cpu2", (1000, 10_000), marks=pytest.mark.slow)]
)
def test_the_study_of_cifar10_has_a_believable_plan(machine, days, tmp_path, capsys):
    assert sweep("cifar10", out=tmp_path, dry_run=True, machine=machine) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("~" in line and "cifar10" in line for line in lines) == 243
    whole = next(line for line in lines if line.startswith("in all "))
    assert days[0] < float(whole.split()[2]) < days[1] and whole.split()[3] == "d"
    experts = next(line for line in lines if line.startswith("  experts"))
    # 100 experts, 101 epochs, 320,010 numbers of 4 bytes, 9 labels, 3 seeds
    assert "27 sets" in experts and "349.1 GB" in experts
    assert not list(tmp_path.iterdir())


def test_a_long_tail_is_cut_after_its_images_are_chosen():
    tail = Experiment(dataset="cifar10", imbalance=50.0)
    whole = len(long_tail(np.repeat(np.arange(10), 5000), 50.0, 5000))
    assert shape_of(tail).train == whole > 10_000
    assert shape_of(dataclasses.replace(tail, limit=10_000)).train == 10_000


def test_rows_of_other_settings_refine_nothing(tmp_path):
    short, long = (Experiment(method="full", rate=0.4, epochs=epochs).settled() for epochs in (15, 60))
    store, here = Store(tmp_path), dataclasses.replace(CPU, name="here")
    store.write([{"fingerprint": fingerprint(short), "status": "done", "seconds": 123.0, "hardware": hardware()}])
    estimates = planning.plan([[short, long, dataclasses.replace(short, seed=1)]], store, here, fleet=False).estimates
    assert [one.measured for one in estimates] == [True, False, True]


def test_rows_refine_their_kind(tmp_path):
    found = cells(Grid(methods=("datm",), seeds=(0, 1, 2), noises=(("clean", 0.0), ("symmetric", 0.4)), ipc=(1, 10)))
    store, done = Store(tmp_path), found[0]
    store.write([{"fingerprint": fingerprint(done), "status": "done", "seconds": 123.0, "hardware": hardware()}])
    here = planning.plan([found], store, CPU.__class__(**{**vars(CPU), "name": "here"}), fleet=False)
    assert {one.seconds for one in here.estimates if one.cell.ipc == 1} == {123.0}
    assert (
        len({one.seconds for one in here.estimates if one.cell.ipc == 10}) == 1 and len(here.common) == 6
    )  # experts: 2 labels, 3 seeds
    assert not any(one.measured for one in planning.plan([found], store, CPU, fleet=False).estimates)
    text = planning.listing(here, store)
    assert "12 cells, 1 of them present" in text and "     done" in text and "2.0 min" in text


def test_a_method_without_a_formula_is_unknown(tmp_path):
    made = planning.plan([cells(Grid(methods=("kip",), seeds=(0,)))], Store(tmp_path), CPU, fleet=False)
    text = planning.listing(made, Store(tmp_path))
    assert "unknown" in text and "2 of unknown length" in text
    assert "one after the other, 2 cells of unknown length left out" in text


def test_columns_of_the_plan_are_as_wide_as_their_longest_name(tmp_path):
    found = cells(Grid(methods=("random", "tad_reconstructed+random"), seeds=(0,), ipc=(1,)))
    lines = planning.listing(planning.plan([found], Store(tmp_path), CPU, fleet=False), Store(tmp_path)).splitlines()
    assert len({len(line) for line in lines[:3]}) == 1 and lines[0].split()[-3:] == ["time", "memory", "disk"]


def test_a_fleet_is_cut_to_what_fits():
    found = [cell for cell in cells(*PRESETS["cifar10"]) if cell.method == "datm" and cell.ipc == 50]
    assert [len(group) for group in groups(found, fleet=True)] == [27]
    cut = groups(found, fleet=True, room=40e9)
    assert 1 < members_that_fit(found[0], 40e9) < 27
    assert len(cut) > 1 and [cell for part in cut for cell in part] == groups(found, fleet=True)[0]
    assert max(map(len, cut)) <= members_that_fit(found[0], 40e9) and max(map(len, cut)) - min(map(len, cut)) <= 1
    assert all(len(group) == 1 for group in groups(found, fleet=True, room=1e9))


def test_the_machine_at_hand_is_measured(tmp_path, capsys):
    assert sweep(out=tmp_path, dry_run=True, methods=("random",)) == 0
    assert "GFLOP/s, measured now" in capsys.readouterr().out and jax.default_backend() == "cpu"


def test_units_of_time_and_size():
    assert [in_time(s) for s in (3, 300, 30_000, 300_000)] == ["3.0 s", "5.0 min", "8.3 h", "3.5 d"]
    assert [planning.in_bytes(b) for b in (None, 2e3, 2e6, 2e9)] == ["unknown", "2 kB", "2.0 MB", "2.0 GB"]


def test_seeds_are_planned_for_an_effect(tmp_path, capsys):
    """The plan uses the test of the report. Other networks and selections of images do not change it."""
    grid = [Experiment(method="dance"), Experiment(method="random"), Experiment(method="full")]

    def rows(draw, **more):
        spreads = (("dance", (-0.02, 0.0, 0.02)), ("full", (-0.01, 0.01, 0.0)))
        return [
            row(0.5 + d, m, noise=noise, seed=seed, noise_seed=draw * seed, **more)
            for noise in ("symmetric", "asymmetric")
            for m, spread in spreads
            for seed, d in enumerate(spread)
        ]

    def seeds(rows, effect, cells=grid):
        return int(planned_seeds(rows, cells, effect)[1].split()[3])

    own, shared = rows(draw=1), rows(draw=0)
    assert seeds(own, 0.03) == seeds_needed(0.03, np.std([-0.01, -0.01, 0.02], ddof=1) / np.sqrt(3), 2, 3)
    assert seeds(shared, 0.03) == seeds_needed(0.03, np.sqrt(0.0005 / 3), 0.0005**2 / (0.0004**2 + 0.0001**2) * 2, 3)
    assert 3 <= seeds(own, 0.05) < seeds(own, 0.02) < seeds(own, 0.02, [*grid, Experiment(method="dance", ipc=1)])
    wide = [one | {"last_acc": one["last_acc"] + 0.2} for one in rows(draw=1, network="resnet18")]
    assert [line.split()[-2] for line in planned_seeds(own + wide, grid, 0.03)[1:]] == ["1.7", "1.7"]
    assert "1 comparison;" in planned_seeds(own, grid, 0.03)[0] and "unknown" in planned_seeds(own[:1], grid, 0.02)[1]
    assert sweep(methods=("random", "full"), out=tmp_path, dry_run=True, machine="cpu2", effect=0.02) == 0
    assert "difference of 2 points" in capsys.readouterr().out


def test_messages_about_fleets_name_a_flag_as_it_is_typed(tmp_path):
    with pytest.raises(ValueError) as error:
        sweep(workers=2, fleet=True, out=tmp_path)
    flag = re.search(r"--\S*fleet(?: \w+)?", str(error.value))[0].split()
    assert flag == ["--fleet", "True"]
    words = [*flag, "--dry-run", "--machine", "cpu2", "--most", "0", "--out", str(tmp_path)]
    assert tyro.cli(sweep, args=words) == 0


def test_a_fleet_that_is_cut_is_not_blamed_for_the_memory_of_one_cell(tmp_path):
    pair, small = [Experiment(rate=rate).settled() for rate in (0.2, 0.4)], dataclasses.replace(CPU, memory=1.0)
    said = planning.listing(planning.plan([pair], Store(tmp_path), small, True), Store(tmp_path))
    assert "one cell takes more memory than there is" in said and "--fleet" not in said


def test_robust_rules_and_wrappers_are_planned_by_their_passes():
    assert passes_of(make_rule("elr", 20)) == (3, 0)
    assert passes_of(make_rule("ill", 20)) == (6, 0)  # two views
    assert passes_of(make_rule("dividemix", 20)) == (8, 1)  # two views, each guessed once; and all images per epoch
    assert passes_of(make_rule("storm", 20))[0] == 27 and passes_of(make_rule("pls", 20)) == (3, 3)
    common = {"dataset": "cifar10", "epochs": 30, "holdout": 0.0, "limit": 10_000, "students": 1}

    def of(method):
        return cost(Experiment(method=method, **common), CPU)

    plain, two = of("ce").work.flop, of("dividemix").work.flop
    watched = 30 * 20_000
    assert two / plain == pytest.approx(2 * (8 * 300_000 + watched + 300_000) / (3 * 300_000 + watched), rel=0.01)
    assert of("nested_dropout").work.flop == pytest.approx(plain * (3 * 270_000 + watched) / (3 * 300_000 + watched))
    pair = 23 * (3 * 9_000 + 20_000) + 7 * (3 * 10_000 + 20_000)  # 7 of the 30 epochs are the second stage
    assert of("nested_coteaching").work.flop == pytest.approx(2 * plain * pair / (3 * 300_000 + watched))
    assert of("herding+relabel").work.flop > of("herding").work.flop + 0.99 * of("full").work.flop
    shared = {name: {part.key for part in of(name).common} for name in ("relabel+herding", "soft_label+herding")}
    assert shared["relabel+herding"] == shared["soft_label+herding"] != set()
    assert of("prune+herding").common == of("cleanlab").common == of("kd").common != ()
    apart = [of(f"{name}+herding").common[0].key for name in ("relabel", "small_loss_prune", "tad_reconstructed")]
    assert len({*apart}) == 3
    assert of("rdc_reconstructed").work.flop > of("dance").work.flop
