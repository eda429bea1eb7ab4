"""The stages of the denoiser: each is announced, with an estimate, before it starts."""

import dataclasses
import types

import numpy as np
import pytest

from ddjax import preprocess, run
from ddjax.denoising import costs, distilling, keeping, networks, training
from ddjax.denoising.keeping import Stages
from ddjax.denoising.predictor import Plan, Request
from ddjax.denoising.registry import choose_predictor
from ddjax.distilled import DistilledSet
from ddjax.distillers import DISTILLERS
from ddjax.evaluation import PROTOCOLS
from ddjax.execution.guard import Diverged
from ddjax.models import build
from ddjax.types import TrainSet
from experiments import denoise as command
from experiments.denoising import forecast, settings, stages
from experiments.sweeping.machines import MACHINES
from experiments.sweeping.work import Shape


class Stopped(Exception):
    pass


def recorded(events):
    """A report and a function for each piece of work, which write down in which order they were called."""

    def report(stage, done, total, metrics):
        events.append((stage, done, total))

    def work(name, result=None):
        def run(*arguments, **options):
            events.append(name)
            if result is None:
                raise Stopped
            return result

        return run

    return report, work


def asked(events, epochs, **more):
    report, _ = recorded(events)
    model = build("mlp", (2, 2, 1), 2, depth=1, width=4)
    return networks.Networks(model, count=2, epochs=epochs, report=report, **more)


def small_set():
    images = np.arange(32, dtype=np.uint8).reshape(8, 2, 2, 1)
    labels, ids = np.arange(8, dtype=np.int32) % 2, np.arange(8, dtype=np.int32)
    return TrainSet(images=images, labels=labels, ids=ids, num_classes=2)


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        Stages(tmp_path / "file").arrays("logits", {}, lambda: pytest.fail("the work has begun"))


def test_a_stage_of_other_versions_is_made_again(tmp_path, monkeypatch):
    made, stages = [], Stages(tmp_path)

    def make():
        made.append(1)
        return {"x": np.zeros(1)}

    for version in ("1", "1", "2"):
        monkeypatch.setattr(keeping, "versions", lambda version=version: {"ddjax": version})
        stages.arrays("logits", {"seed": 0}, make)
    assert len(made) == 2


def test_the_search_for_a_rate_is_a_stage_of_its_own(monkeypatch):
    events, train = [], small_set()
    _, work = recorded(events)
    monkeypatch.setattr(networks, "chosen_rates", work("search", [0.01]))
    monkeypatch.setattr(networks, "fit", work("training"))
    transform = preprocess.fit("standardize", train.images)
    images = preprocess.apply(transform, train.images[:2])
    labels = np.arange(2, dtype=np.int32)
    distilled = DistilledSet(
        images=images, labels=labels, num_classes=2, space=transform.fingerprint, preprocess=transform
    )
    with pytest.raises(Stopped):
        networks.predict_students(distilled, train, PROTOCOLS["common"], asked(events, 7))
    assert events == [("rates", 0, 7), "search", ("students", 0, 7), "training"]
    negative = dataclasses.replace(distilled, step_size=np.float32(-0.1))
    with pytest.raises(Diverged, match=r"learned step size is -0\.1.*positive_step_size=True"):
        networks.predict_students(negative, train, PROTOCOLS["datm"], asked(events, 7))


@pytest.mark.parametrize(
    ("method", "place", "trains", "stage"),
    [
        ("cleanlab", training, "held_out_probabilities", ("folds", 0, 60)),
        ("small_loss", networks, "fit", ("networks", 0, 2)),
    ],
)
def test_other_judges_are_announced(monkeypatch, method, place, trains, stage):
    events = []
    report, work = recorded(events)
    monkeypatch.setattr(place, trains, work("training"))
    predictor, plan = choose_predictor(method), Plan(method, plain_epochs=20, folds=3, network="mlp", width=4)
    with pytest.raises(Stopped):
        predictor.predict(Request(small_set(), plan, Stages(None), {"data": ""}, choose_predictor, report))
    assert events == [stage, "training"] and stage[0] == predictor.stage


def test_what_precedes_a_distillation_is_announced(monkeypatch):
    events = []
    report, work = recorded(events)
    method = DISTILLERS["random"]
    config = method.config(ipc=1)
    monkeypatch.setattr(run, "distill", work("steps"))
    prepared = method._replace(prepare=lambda *given: events.append("preparing") or method.prepare(*given))
    with pytest.raises(Stopped):
        distilling.distilled_set(prepared, config, small_set(), asked(events, 1).model, 0, report)
    assert events == [("prepare", 0, 0), "preparing", ("distil", 0, method.steps(config)), "steps"]


def test_many_unreadable_files_are_counted():
    skipped = [f"{i}.png: not an image" for i in range(25)]
    images = np.zeros((7, 2, 2, 1), np.uint8)
    task = types.SimpleNamespace(skipped=skipped, given=np.zeros(7, int), class_names=("a", "b"), images=images)
    lines = stages.what_was_read(task)
    assert lines[0] == "7 images of 2 classes"
    assert lines[1] == "25 files cannot be read and are left out:" and lines[-1] == "  and 15 more" and len(lines) == 13


def test_each_stage_is_announced_before_it_starts(capsys):
    with stages.staged(False, {"distil": 150.0, "rates": 3.0}) as report:
        report("prepare", 0, 0, {})
        report("distil", 0, 300, {})
        before = capsys.readouterr().err.splitlines()
        report("distil", 300, 300, {"loss": 0.5})
        report("rates", 0, 1000, {})
        report("students", 0, 1000, {})
        report("judge", 0, 0, {})
    assert before == ["preparing the distillation", "distilling: 300 steps, about 2.5 min"]
    assert capsys.readouterr().err.splitlines() == [
        "distilling: 300/300  loss 0.500",
        "searching the learning rate of the students: 1000 epochs, about 3.0 s",
        "training students of the distilled images: 1000 epochs",
        "judging the labels",
    ]
    assert stages.announced("mine", 3, None) == "mine: 3 steps"  # of a predictor of a fork
    with stages.staged(True) as report:
        report("distil", 0, 300, {})
        report("distil", 1, 300, {"loss": 0.5})
    assert capsys.readouterr() == ("", "")


def expected(method="dance", **fields):
    settings = command.Settings(data="digits", width=8, **fields)
    return forecast.forecast(settings, [method], {"steps": 10}, False, Shape(500, 0, (8, 8, 1), 10), MACHINES["cpu2"])


def test_stages_have_an_estimate():
    made = expected()
    assert made.keys() == {"prepare", "distil", "rates", "students", "judge"}
    assert made["judge"] > costs.seconds(costs.Cost(programs=1))
    compiling = MACHINES["cpu2"].compile_s / 4
    assert all(made[stage] > compiling for stage in ("prepare", "distil", "rates", "students"))
    assert expected(students=50)["students"] - compiling == pytest.approx(10 * (made["students"] - compiling))
    assert "rates" not in expected(protocol="dance")
    assert expected("cleanlab").keys() == {"folds", "judge"}
    assert expected("small_loss").keys() == {"networks", "judge"}
    assert expected("kip").keys() == {"rates", "students", "judge"}  # no formula is known for its steps
    assert expected("plain").keys() == {"networks", "judge"}
    for fork in ("ddjax.denoising.prototypes:PREDICTOR", "ddjax.distillers.dm:METHOD*2"):
        assert expected(fork).keys() == {"judge"}
        assert settings.least(command.Settings(method=fork), {}) == 1
    assert forecast.compared("cleanlab", "images") == ["cleanlab", "small_loss"]
