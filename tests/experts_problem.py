"""Two experts on the toy problem, which the tests of experts share."""

import atexit
import functools
import pathlib
import shutil
import tempfile

import jax

from ddjax.experts import trajectories
from ddjax.models import build
from ddjax.testing import toy_train
from ddjax.training import Examples, Recipe, Sharpness

TRAIN = toy_train()
MODEL = build("convnet", (8, 8, 3), 3, depth=1, width=4)
RECIPE = Recipe(epochs=3, batch=10, rate=0.1, sharpness=Sharpness())
EXAMPLES = Examples(TRAIN.images, jax.nn.one_hot(TRAIN.labels, 3))


def made(tmp_path, **changes):
    settings = {"experts": 2, "folder": tmp_path} | changes
    return trajectories(MODEL, settings.pop("recipe", RECIPE), settings.pop("train", TRAIN), **settings)


def trained():
    """A list, and a report function that appends its calls to the list."""
    calls = []
    return calls, lambda done, of, metrics: calls.append((done, of, metrics))


@functools.cache
def whole():
    """Both experts, trained once in a process."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ddjax-experts-"))
    atexit.register(shutil.rmtree, folder)
    return made(folder)
