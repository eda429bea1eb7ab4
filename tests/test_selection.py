"""Selected sets of classes with fewer images than places."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import run_method
from ddjax.distillers.selection import SelectionConfig
from ddjax.testing import toy_train


def test_a_short_class_repeats_each_of_its_images_equally_often():
    train = toy_train(num_classes=2, per_class=3)
    train = dataclasses.replace(train, labels=jnp.array([0, 0, 0, 1, 1, 1])[jnp.argsort(train.labels)])
    found = run_method("kcenter", train, jax.random.key(0), ipc=7, features="pixels", short_class="repeat").distilled
    for label in (0, 1):
        own = np.asarray(found.images)[np.asarray(found.labels) == label]
        real = np.asarray(train.images)[np.asarray(train.labels) == label]
        rows = [int(np.flatnonzero((real == image).all((1, 2, 3)))[0]) for image in own]
        assert sorted(rows[:3]) == sorted(rows[3:6]) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"ipc=7 is more.*short_class='repeat'"):
        run_method("kcenter", train, jax.random.key(0), ipc=7, features="pixels")


def test_unknown_names_are_refused():
    for field in ("features", "short_class"):
        with pytest.raises(ValueError, match=f"unknown {field} 'x'"):
            SelectionConfig(**{field: "x"})
