"""Pages that cannot rot: their code runs, their commands parse, every public name is documented and has its place."""

import functools
import importlib
import importlib.util
import inspect
import pathlib
import re
import shlex

import pytest
import tyro

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted((ROOT / ".docs" / "pages").glob("**/*.md"))
REFERENCE = "\n".join(path.read_text() for path in PAGES if path.parent.name == "reference")
WRITTEN = [ROOT / "README.md", *PAGES, *sorted((ROOT / ".github").glob("*.md"))]
PYTHON = {path.stem: blocks for path in PAGES if (blocks := re.findall(r"```python\n(.*?)```", path.read_text(), re.S))}
SLOW = ("start", "methods")  # they distil and train


def load_file(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / ".docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


public = load_file("public")


PARAMETERS = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in PYTHON]


@pytest.mark.parametrize("page", PARAMETERS)
def test_python_on_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in PYTHON[page]:
        exec(compile(block, f"{page}.md", "exec"), names)


def commands():
    for path in WRITTEN:
        for block in re.findall(r"```bash\n(.*?)```", path.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split("&&"):
                    words = shlex.split(part, comments=True)
                    words = words[next((i for i, word in enumerate(words) if "=" not in word), len(words)) :]
                    if words[:2] == ["python", "-m"] and words[2].startswith("experiments."):
                        yield pytest.param(words[2], words[3:], id=f"{path.stem}: {shlex.join(words[2:])[:60]}")


def parsers():
    from experiments import bench, data, denoise, noise, report, sweep

    found = {"bench": bench.bench, "noise": noise.inspect, "report": report.report, "sweep": sweep.sweep}
    return found | {"denoise": denoise.denoise, "data": data.main}


@pytest.mark.parametrize(("module", "words"), list(commands()))
def test_commands_on_pages_are_understood(module, words, monkeypatch):
    from experiments import one

    monkeypatch.chdir(ROOT)
    if "--help" in words:
        return
    if module == "experiments.one":
        default, words = one._settings_from_file(words)  # a file that is named is there
        tyro.cli(one.Settings, default=default, args=words)
        return
    command = parsers()[module.removeprefix("experiments.")]
    tyro.cli(functools.wraps(command)(lambda *values, **named: None), args=words)


def test_every_public_name_is_documented():
    for name in public.packages():
        package = importlib.import_module(name)
        assert inspect.getdoc(package), f"{name} has no docstring"
        for public_name, thing in public.exported(package):
            assert not public.described(thing) or inspect.getdoc(thing), f"{name}.{public_name} has no docstring"


def test_every_public_name_has_its_place_in_the_reference():
    missing = [name for name in public.packages() if f"PACKAGE: {name}\n" not in REFERENCE + "\n"]
    assert not missing, f"no page of .docs/pages/reference has: {missing}"
    table = public.front_door()
    import ddjax

    assert all(f"| `{name}` |" in table for name in ddjax.__all__)
    for module in re.findall(r"^::: ([\w.]+)$", REFERENCE, re.M):
        assert importlib.import_module(module).__doc__, module


def test_pictures_and_pages_that_are_linked_exist():
    elsewhere = {path.name for path in (ROOT / "experiments" / "results").glob("*.*g")}
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            there = (path.parent / target).is_file() or (target.startswith("pictures/") and target[9:] in elsewhere)
            assert there, f"{path.name} links to {target}"
        for source in re.findall(r"^FILE: (.+)$", path.read_text(), re.M):
            assert (ROOT / source).is_file(), f"{path.name} shows {source}"


def test_the_diagrams_are_those_of_their_script():
    draw = load_file("draw")
    for name, (boxes, arrows) in draw.DIAGRAMS.items():
        assert (draw.HERE / f"{name}.svg").read_text() == draw.svg(boxes, arrows)
