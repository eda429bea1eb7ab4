"""Layers import only downwards, and the heavy libraries stay behind their doors."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# a package may import those of a smaller number, and its own files; neighbours do not know each other
LAYER = {
    **dict.fromkeys(["trees", "names", "files", "locks", "stopping", "precision", "timing"], 0),
    **dict.fromkeys(["types", "checkpoints", "devices"], 1),
    **dict.fromkeys(["checks", "guard", "results"], 2),
    **dict.fromkeys(["noise", "preprocess", "augment", "models", "kernels", "bilevel", "loop"], 3),
    **dict.fromkeys(["decode", "fleet", "mesh"], 4),
    "distilled": 5,
    "saving": 6,
    **dict.fromkeys(["data", "training"], 6),
    **dict.fromkeys(["experts", "evaluation", "robust"], 7),
    "distillers": 8,
    **dict.fromkeys(["denoising", "testing"], 9),
    "__main__": 10,
}
# a package -> the only files that may import it
DOORS = {
    "tensorflow": ["ddjax/data/tfds.py", "ddjax/data/stream.py"],
    "tensorflow_datasets": ["ddjax/data/tfds.py", "ddjax/data/stream.py", "ddjax/data/tiny_imagenet_builder.py"],
    "neural_tangents": ["ddjax/kernels/tangent.py"],
    "flax": ["ddjax/models/", "ddjax/checkpoint.py", "experiments/benchmarks/plain.py"],
    "matplotlib": ["experiments/"],
    "tyro": ["experiments/"],
    "rich": ["experiments/"],
    "tqdm": ["experiments/progress.py"],
    "tensorboardX": ["experiments/board.py"],
    "ray": ["experiments/sweeping/on_ray.py"],
    "submitit": ["experiments/sweeping/on_slurm.py", "experiments/sweeping/jobs.py"],
}
FORBIDDEN = ["jaxopt", "clu", "torch"]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno


FILES = sorted([*ROOT.glob("ddjax/**/*.py"), *ROOT.glob("experiments/**/*.py")])


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    name = path.relative_to(ROOT)
    for module, line in imports(path):
        package = module.split(".")[0]
        assert package not in FORBIDDEN, f"{name}:{line} imports {module}"
        if package in DOORS:
            assert str(name).startswith(tuple(DOORS[package])), f"{name}:{line} imports {module}"
        if name.parts[0] == "ddjax":
            assert package != "experiments", f"{name}:{line} imports {module}"
            if (package == "ddjax" and name.name != "__init__.py") or module.startswith("ddjax."):
                check_layer(name, module, line)


def check_layer(name, module, line):
    here = name.parts[1].removesuffix(".py")
    parts = module.split(".")
    if here == "__init__" or len(parts) == 1:
        return
    assert here in LAYER, f"{name} belongs to no layer: give {here!r} a place in LAYER"
    there = parts[1]
    assert there == here or LAYER[there] < LAYER[here], f"{name}:{line} imports {module}, which is not below it"


def test_files_hold_one_idea():
    long = {str(p.relative_to(ROOT)): n for p in FILES if (n := len(p.read_text().splitlines())) > 300}
    assert not long, f"past 300 lines, what is the second idea? {long}"
