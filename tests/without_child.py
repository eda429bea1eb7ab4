"""What works where TensorFlow, TFDS and neural-tangents are not installed: a process that cannot import them.

The last line of standard output is a JSON object: name -> what happened.
"""

import importlib.abc
import importlib.metadata
import io
import json
import pathlib
import pkgutil
import sys

ABSENT = ("tensorflow", "tensorflow_datasets", "neural_tangents", "tf2jax")


class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


sys.meta_path.insert(0, Missing())
version = importlib.metadata.version


def no_version(name):
    if name.replace("-", "_") in ("ddjax", *ABSENT):
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)


importlib.metadata.version = no_version

import jax  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import ddjax  # noqa: E402
import experiments  # noqa: E402

OPTIONAL = ("data.tiny_imagenet_builder", "sweeping.on_ray", "sweeping.on_slurm", "sweeping.jobs", "__main__")
folder, found = pathlib.Path(sys.argv[1]), {}


def attempt(name, function):
    try:
        found[name] = function()
    except (Exception, SystemExit) as error:
        found[name] = f"{type(error).__name__}: {error}"


def every_module():
    names = []
    for package in (ddjax, experiments):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(OPTIONAL):
                importlib.import_module(module.name)
                names.append(module.name)
    return len(names)


def of_files():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (40, 8, 8, 3), np.uint8), np.arange(40) % 2
    np.savez(folder / "set.npz", images=images, labels=labels)
    for i, image in enumerate(images):
        place = folder / "folder" / f"class_{labels[i]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    return [len(ddjax.load(path).images) for path in ("digits", str(folder / "set.npz"), str(folder / "folder"))]


def a_command(*words):
    from experiments import one

    sys.argv = ["one", "--out", str(folder / "runs"), "--quiet", "--students", "1", "--width", "4", *words]
    sys.stdout, sys.stderr = said, errors = io.StringIO(), io.StringIO()
    try:
        one.command()
    except SystemExit as error:
        return [error.code, (errors.getvalue() or said.getvalue()).strip()]
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


def a_tfds_set():
    place = folder / "cifar10" / "3.0.2"
    place.mkdir(parents=True)
    (place / "dataset_info.json").write_text('{"splits": [{"name": "train"}, {"name": "test"}]}')
    return a_command("--dataset", "cifar10", "--data-dir", str(folder), "--method", "random")


attempt("modules", every_module)
attempt("files", of_files)
attempt("report", lambda: ddjax.__version__ in importlib.import_module("ddjax.__main__").report())
attempt(
    "kip", lambda: a_command("--method", "kip", "--dataset", str(folder / "set.npz"), "--limit", "20", "--ipc", "1")
)
attempt("tfds", a_tfds_set)
attempt(
    "random",
    lambda: a_command("--dataset", str(folder / "set.npz"), "--method", "random", "--epochs", "2", "--ipc", "1"),
)
found["loaded"] = sorted(set(ABSENT) & set(sys.modules))
found["backend"] = jax.default_backend()
print(json.dumps(found))
