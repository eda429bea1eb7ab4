"""Layers import only downwards, and the heavy libraries stay behind their doors."""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# a package may import those of a smaller number, and its own files; neighbours do not know each other
LAYER = {
    **dict.fromkeys(["trees", "names", "stopping", "timing"], 0),
    **dict.fromkeys(["ranges", "backend", "decoding"], 1),
    **dict.fromkeys(["types", "storage", "precision", "rows"], 2),
    **dict.fromkeys(["checks", "machine", "shuffle"], 3),
    **dict.fromkeys(["noise", "preprocess", "augment", "models", "kernels", "bilevel", "execution"], 4),
    "distilled": 5,
    **dict.fromkeys(["data", "training"], 6),
    **dict.fromkeys(["experts", "evaluation", "robust"], 7),
    "distillers": 8,
    "run": 9,
    **dict.fromkeys(["denoising", "testing"], 10),
    "__main__": 11,
}
# a package -> the only files that may import it
DOORS = {
    "tensorflow": ["ddjax/data/tfds.py", "ddjax/data/stream.py"],
    "tensorflow_datasets": ["ddjax/data/tfds.py", "ddjax/data/tiny_imagenet_builder.py"],
    "neural_tangents": [],  # only `kernels.tangent.load` loads it, by importlib: an import statement fails on newer JAX
    "flax": ["ddjax/models/", "ddjax/distilled/released.py", "experiments/benchmarks/plain.py"],
    "matplotlib": ["experiments/"],
    "jinja2": ["experiments/"],
    "tyro": ["experiments/"],
    "rich": ["experiments/"],
    "tensorboardX": ["experiments/display/board.py"],
    "torch": ["experiments/benchmarks/pytorch.py", "experiments/denoising/embedding.py"],
    "timm": ["experiments/denoising/embedding.py"],
    "datasets": ["experiments/denoising/huggingface.py", "experiments/denoising/exports.py"],
    "ray": ["experiments/sweeping/on_ray.py"],
    "submitit": ["experiments/sweeping/on_slurm.py", "experiments/sweeping/jobs.py"],
}
FORBIDDEN = ["jaxopt", "clu"]


@functools.cache
def imports(path):
    """Every module that a file imports, and the line; `from ddjax import checks` imports `ddjax.checks`."""
    return list(_imports(path))


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} is a relative import, which this test does not follow"
            if node.module == "ddjax":
                yield from ((f"ddjax.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module, node.lineno


FILES = sorted([*ROOT.glob("ddjax/**/*.py"), *ROOT.glob("experiments/**/*.py")])


def test_x64_is_entered_by_the_name_that_every_supported_jax_has():
    users = [path for path in FILES if "jax.enable_x64" in path.read_text()]
    assert users == [ROOT / "ddjax/precision.py"], "call ddjax.precision.enable_x64: JAX 0.7 has no jax.enable_x64"


def test_one_module_asks_for_the_backend():
    users = [str(path.relative_to(ROOT)) for path in FILES if "default_backend" in path.read_text()]
    assert users == ["ddjax/backend.py"], "call ddjax.backend.target: programs are also traced for other platforms"


def test_imports_point_downwards():
    for path, (module, line) in ((file, found) for file in FILES for found in imports(file)):
        name, package = path.relative_to(ROOT), module.split(".")[0]
        assert package not in FORBIDDEN, f"{name}:{line} imports {module}"
        if package in DOORS:
            assert str(name).startswith(tuple(DOORS[package])), f"{name}:{line} imports {module}"
        if name.parts[0] == "ddjax":
            assert package != "experiments", f"{name}:{line} imports {module}"
            if package == "ddjax":
                check_layer(name, module, line)


def check_layer(name, module, line):
    here = name.parts[1].removesuffix(".py")
    parts = module.split(".")
    if here == "__init__" or parts[1:] in ([], ["__version__"]):
        return
    assert here in LAYER, f"{name} belongs to no layer: give {here!r} a place in LAYER"
    there = parts[1]
    assert there == here or LAYER[there] < LAYER[here], f"{name}:{line} imports {module}, which is not below it"


@pytest.mark.parametrize("line", ["from ddjax import data", "import ddjax.data.cache", "from ddjax.data import load"])
def test_an_import_that_points_upwards_is_found(tmp_path, line):
    file = tmp_path / "names.py"
    file.write_text(f"def later():\n    {line}\n")
    [(module, number)] = imports(file)
    with pytest.raises(AssertionError, match=r"names.py:2 imports ddjax.data.*, which is not below it"):
        check_layer(pathlib.Path("ddjax/names.py"), module, number)


def test_every_layer_and_every_door_exists():
    parts = [path for path in (ROOT / "ddjax").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert {path.stem for path in parts} - {"__init__"} == LAYER.keys()
    for package, doors in DOORS.items():
        users = [str(path.relative_to(ROOT)) for path in FILES if package in packages(path)]
        unused = [door for door in doors if not any(user.startswith(door) for user in users)]
        assert not unused, f"no file imports {package} under {unused}, where DOORS allows it"


def packages(path):
    return {module.split(".")[0] for module, _ in imports(path)}


def test_files_hold_one_idea():
    tests = [path for path in ROOT.glob("tests/**/*.py") if not path.name.endswith("_cases.py")]  # tables of cases
    long = {str(p.relative_to(ROOT)): n for p in [*FILES, *tests] if (n := len(p.read_text().splitlines())) > 250}
    assert not long, f"past 250 lines, what is the second idea? {long}"
