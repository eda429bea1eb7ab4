"""A fleet over noise rates: classes differ in size between its members."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import Distiller, Feed
from ddjax.distillers.dance.feed import class_batches
from ddjax.execution.fleet import join_feeds
from ddjax.testing import toy_train

SIZE = 4


def draw(networks, key):
    return networks, networks


@pytest.mark.slow
def test_members_with_classes_of_other_sizes_have_the_batches_that_they_have_alone():
    train = toy_train(per_class=9)
    labels = np.array(train.labels)
    labels[np.flatnonzero(labels == 0)[:8]] = 1  # 1, 17 and 9 images: another bound of the largest class
    sets = train, dataclasses.replace(train, labels=jnp.asarray(labels))
    feeds = [class_batches(own, SIZE, jnp.float32(0), draw, jax.random.key(i)) for i, own in enumerate(sets)]
    assert feeds[0].at != feeds[1].at

    def step(state, batch):
        return state, {"images": batch.images, "present": batch.present}

    together, feed = join_feeds(Distiller(None, step, None), feeds)
    run = jax.jit(lambda number: together.step(jnp.zeros(2), feed.at(feed.data, number))[1])
    alone = [jax.jit(own.at) for own in feeds]
    for number in (0, 1, 5):
        both = run(jnp.int32(number))
        for i, own in enumerate(feeds):
            batch = alone[i](own.data, jnp.int32(number))
            np.testing.assert_array_equal(both["images"][i], batch.images)
            np.testing.assert_array_equal(both["present"][i], batch.present)


def test_feeds_of_other_functions_have_no_fleet():
    feeds = [Feed(jnp.arange(3.0), lambda data, step, i=i: data[step] + i) for i in range(2)]
    with pytest.raises(ValueError, match="the feeds of a fleet need one function `at`"):
        join_feeds(Distiller(None, None, None), feeds)
