"""Try every case of doors_cases.py and doors_numbers.py; run by test_doors.py.

`python doors.py FOLDER` runs without the test suite's own type checks, and prints as JSON what each case raised. The
network that the cases receive raises when it is called, so other errors come before any tracing.
"""

import dataclasses
import json
import pathlib
import sys
import traceback
import warnings

import doors_cases
import doors_numbers


class Things:
    """A small data set, its parts, and calls of the public functions with valid arguments."""

    def __init__(self, folder):
        import jax
        import jax.numpy as jnp
        import numpy as np

        import ddjax
        from ddjax import experts, noise, preprocess, ranges, robust
        from ddjax.preprocess.specs import Spec
        from ddjax.robust import held_out
        from ddjax.training import Examples, Sharpness

        self.jax, self.jnp, self.np, self.ddjax = jax, jnp, np, ddjax
        self.experts, self.noise, self.preprocess = experts, noise, preprocess
        self.ranges, self.robust, self.held_out = ranges, robust, held_out
        self.Examples, self.Sharpness, self.Spec = Examples, Sharpness, Spec
        self.folder = folder
        self.dataset = ddjax.synthetic(3, 12)
        self.data = ddjax.prepare(self.dataset, ddjax.NoiseSpec("symmetric", rate=0.2))
        self.transform = preprocess.fit("standardize", self.dataset.images)
        self.ready = ddjax.to_space(self.data, self.transform)
        self.recipe = ddjax.Recipe(epochs=1, batch=8, rate=0.01)
        self.keys = jax.random.split(jax.random.key(0), 1)
        labels = preprocess.one_hot(jnp.asarray(self.ready.train.labels), 3)
        self.examples = Examples(self.ready.train.images, labels)
        self.nan = self.ready.train.images.at[0].set(jnp.nan)
        self.distilled = ddjax.DistilledSet(
            images=self.ready.train.images[:3],
            labels=jnp.arange(3),
            num_classes=3,
            space=self.transform.fingerprint,
            preprocess=self.transform,
        )
        self.baseline = dataclasses.replace(ddjax.BASELINES["B-PLAIN"], recipe=self.recipe)

        def run(*arguments):
            raise AssertionError("the network was run")

        self.model = ddjax.types.Model(run, run, run, run)

    def evaluate(self, distilled=None, test=None, **more):
        more = {"model": self.model, "epochs": 1, "students": 1, "train": self.data.train, **more}
        return self.ddjax.evaluate(distilled or self.distilled, test or self.data.test, **more)

    def dd_ranking(self, random=None, full_accuracy=0.5, **more):
        more = {"train": self.data.train, **more}
        return self.ddjax.dd_ranking(self.distilled, random or self.distilled, full_accuracy, self.data.test, **more)

    def train_full(self, train=None, test=None, **more):
        train, test = train or self.ready.train, test or self.ready.test
        return self.ddjax.train_full(self.baseline, train, test, model=self.model, **{"holdout": 0.0, **more})

    def fit(self, **more):
        return self.ddjax.fit(
            self.model, **{"recipe": self.recipe, "examples": self.examples, "keys": self.keys, **more}
        )

    def denoise(self, labels=None, **more):
        return self.ddjax.denoise(self.dataset.images, self.dataset.labels if labels is None else labels, **more)

    def distiller(self, method, train=None, **fields):
        from ddjax.distillers.setup import set_up

        method, key = self.ddjax.DISTILLERS[method]._replace(model=None), self.jax.random.key(0)
        return set_up(method, method.config(**fields), train or self.ready.train, key, self.model)

    def npz(self, **changes):
        n = self.np.arange(40)
        arrays = {"images": self.np.zeros((40, 5, 5, 3), self.np.uint8), "labels": n % 4, **changes}
        self.np.savez(self.folder / "a.npz", **arrays)
        return self.ddjax.load(self.folder / "a.npz", cache_dir=self.folder / "cache")

    def pictures(self, spoil, count=3):
        """Load a folder of two classes after `spoil` changed one of its files."""
        from PIL import Image

        root = self.folder / "pictures"
        for c in ("cat", "dog"):
            (root / c).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                Image.new("RGB", (6, 6), (i, 2, 3)).save(root / c / f"{i}.png")
        spoil(root / "cat" / "0.png")
        return self.ddjax.load(root, cache_dir=self.folder / "cache")


def raised(function, *arguments):
    """What a call raised: [the error's class, its message, the module that raised it]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*arguments)
        return ["nothing", "", ""]
    except BaseException as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        return [type(error).__name__, str(error), frames[-1].f_globals.get("__name__", "")]


def main(folder):
    """Try every case and every number; print what each raised, and the arguments without a case."""
    things = Things(pathlib.Path(folder))
    cases = {kind: [raised(call, things) for _, call in rows] for kind, rows in doors_cases.CASES.items()}
    numbers = [
        [door, argument, repr(value), *raised(call)] for door, argument, value, call in doors_numbers.tried(things)
    ]
    print(json.dumps({"cases": cases, "numbers": numbers, "untested": doors_numbers.untested(things)}))


if __name__ == "__main__":
    main(sys.argv[1])
