"""DATM's published values, and what may be changed in them."""

import dataclasses

import pytest

from ddjax.distillers.datm.config import DatmConfig, MttConfig, published
from ddjax.distillers.datm.settings import DIFFERENCES, PUBLISHED, settings
from experiments.running.config import Experiment, method_config


def test_there_are_124_and_each_makes_a_config():
    assert len(set(PUBLISHED)) == 124 and set(DIFFERENCES) <= set(PUBLISHED)
    for name, ipc in PUBLISHED:
        config = published(name, ipc)
        assert config.ipc == ipc and type(config) is DatmConfig
        classes = {"cifar10": 10, "cifar100": 100, "tiny_imagenet": 200}[name.split("/")[0]]
        assert config.batch(classes * ipc) <= 1000
        assert (config.experts, config.expert_epochs, config.width) == (100, 100, 128)
        assert config.recipe(1000).batch == 256


@pytest.mark.parametrize(
    ("name", "ipc", "fields"),
    [
        ("cifar10", 1, {"threshold": 1.1, "step_size_rate": 1e-7, "last_start": 4, "step_size": 0.01, "label_rate": 5}),
        ("cifar10/symmetric/0.4", 1, {"threshold": 1.1, "step_size": 0.001}),
        ("cifar10/symmetric/0.8", 10, {"step_size": 0.001, "step_size_rate": 1e-6}),
        ("cifar10/symmetric/0.8", 50, {"step_size": 0.001, "step_size_rate": 1e-5}),
        ("cifar10/asymmetric/0.8", 50, {"step_size": 0.001, "step_size_rate": 1e-6}),
        ("cifar10/symmetric/0.4", 500, {"step_size": 0.01, "steps": 10_000}),
        ("cifar10/symmetric/0.4", 1000, {"step_size": 0.008, "steps": 6000, "start": "correct"}),
        ("cifar10/symmetric/0.8", 1000, {"step_size": 0.005, "steps": 6000, "start": "real"}),
        ("cifar10/asymmetric/0.8", 1000, {"steps": 10_000, "start": "real"}),
        ("cifar10/worst", 10, {"step_size": 0.001}),
        ("cifar10/worst", 50, {"step_size": 0.01}),
        ("cifar100", 1, {"match_epochs": 3, "inner_steps": 40}),
        ("cifar100/symmetric/0.4", 100, {"start": "real", "first_start": 30}),
        ("cifar100/asymmetric/0.4", 100, {"start": "correct"}),
        ("tiny_imagenet/symmetric/0.4", 50, {"start": "real", "inner_steps": 20}),
    ],
)
def test_published_values(name, ipc, fields):
    found = settings(name, ipc)
    assert {key: found[key] for key in fields} == fields


def test_a_published_configuration_is_an_ordinary_one():
    config = published("cifar10", 50)
    assert config == DatmConfig(ipc=50, **settings("cifar10", 50)) != published("cifar10", 10)
    other = dataclasses.replace(config, ipc=10)  # changes this and nothing else
    assert dataclasses.asdict(other) == dataclasses.asdict(config) | {"ipc": 10}
    assert dataclasses.replace(config, experts=5).image_rate == config.image_rate == 1000.0
    with pytest.raises(ValueError, match="segments must be a whole number, at least 1"):
        dataclasses.replace(config, segments=0)


def test_a_command_names_a_published_configuration_and_changes_it():
    options = ("experts=3", "setting=cifar10/symmetric/0.4", "step_size=0.02")
    found = method_config(DatmConfig, Experiment(dataset="cifar10", method="datm", ipc=10, steps=7, options=options))
    assert found == dataclasses.replace(published("cifar10/symmetric/0.4", 10), experts=3, step_size=0.02, steps=7)
    with pytest.raises(ValueError, match="unknown option of method 'mtt' 'setting'"):
        method_config(MttConfig, Experiment(method="mtt", options=("setting=cifar10",)))
    with pytest.raises(ValueError, match="published for ipc 1, 10, 50, 500, 1000; got ipc=7"):
        method_config(DatmConfig, Experiment(method="datm", ipc=7, options=("setting=cifar10",)))


def test_mtt_is_a_config_of_its_own():
    config = MttConfig(ipc=3)
    assert (config.expert_recipe, config.learn_labels, config.start, config.ipc) == ("mtt", False, "real", 3)
    assert config.recipe(9).sharpness is None and DatmConfig().recipe(9).sharpness is not None
    changed = dataclasses.replace(config, inner_steps=30)
    assert (changed.threshold, changed.growth_steps, changed.learn_labels) == (float("inf"), 0, False)


def test_unpublished_settings_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'cifar10'"):
        published("cifar", 10)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"expert_epochs": 10}, "lower last_start"),
        ({"first_start": 10, "early_last_start": 10}, "first_start=10 leaves no epoch"),
        ({"hypergradient": "telsa"}, "Did you mean 'tesla'"),
        ({"start": "noise"}, "learn_labels=False"),
    ],
)
def test_invalid_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        DatmConfig(**fields)


@pytest.mark.parametrize("fields", [{"inner_batch": 7}, {"micro_batch": 3}])
def test_batches_must_divide(fields):
    with pytest.raises(ValueError, match="must divide"):
        DatmConfig(**fields).batch(20)


def test_the_window_is_what_is_read_and_the_last_epoch():
    config = DatmConfig(keep="window", first_start=2, last_start=5, match_epochs=2, expert_epochs=30, growth_steps=0)
    assert config.kept() == (2, 3, 4, 5, 6, 30)


def test_small_training_sets_get_smaller_batches_so_that_an_epoch_has_steps():
    assert [DatmConfig().recipe(n).batch for n in (100, 1442, 10_000, 50_000)] == [16, 16, 111, 256]
    assert DatmConfig(expert_batch=64).recipe(1442).batch == 64
