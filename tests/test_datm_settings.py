"""DATM's published values, and how they join with given ones."""

import dataclasses

import pytest

from ddjax.distillers.datm_config import DatmConfig, MttConfig
from ddjax.distillers.datm_settings import DIFFERENCES, PUBLISHED, settings


def test_there_are_124_and_each_makes_a_config():
    assert len(set(PUBLISHED)) == 124 and set(DIFFERENCES) <= set(PUBLISHED)
    for name, ipc in PUBLISHED:
        config = DatmConfig(setting=name, ipc=ipc)
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


def test_given_values_win_over_the_settings_and_those_over_defaults():
    config = DatmConfig(setting="cifar10", ipc=10, experts=3, step_size=0.02)
    assert (config.experts, config.step_size, config.inner_steps, config.hypergradient) == (3, 0.02, 80, "exact")
    assert dataclasses.replace(config, experts=5).inner_steps == 80


def test_mtt_is_a_config_of_its_own():
    config = MttConfig(ipc=3)
    assert (config.expert_recipe, config.learn_labels, config.start, config.ipc) == ("mtt", False, "real", 3)
    assert config.recipe(9).sharpness is None and DatmConfig().recipe(9).sharpness is not None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"setting": "cifar10", "ipc": 7}, "published for ipc 1, 10, 50, 500, 1000; got ipc=7"),
        ({"setting": "cifar"}, "Did you mean 'cifar10'"),
        ({"inner_step": 3}, "Did you mean 'inner_steps'"),
        ({"expert_epochs": 10}, "lower last_start"),
        ({"first_start": 10, "early_last_start": 10}, "first_start=10 leaves no epoch"),
        ({"hypergradient": "telsa"}, "Did you mean 'tesla'"),
        ({"start": "noise"}, "learn_labels=False"),
        ({"threshold": 0.0}, "threshold must be a number above 0"),
        ({"segments": 0}, "segments must be a whole number, at least 1"),
    ],
)
def test_what_cannot_run_is_refused(fields, message):
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
