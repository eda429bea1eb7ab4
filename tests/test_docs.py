"""Pages stay correct: code runs, commands parse, links resolve, and every public name is in the reference."""

import functools
import importlib
import importlib.util
import inspect
import json
import pathlib
import re
import shlex
import tomllib

import pytest
import tyro

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted((ROOT / ".docs" / "pages").glob("**/*.md"))
REFERENCE = "\n".join(path.read_text() for path in PAGES if path.parent.name == "reference")
WRITTEN = [ROOT / "README.md", *PAGES, *sorted((ROOT / ".github").glob("*.md"))]
PYTHON = {path.stem: blocks for path in PAGES if (blocks := re.findall(r"```python\n(.*?)```", path.read_text(), re.S))}
SLOW = ("denoise", "devices", "protocols", "python", "results_judge")  # they distil and train


def load_file(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / ".docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name):
    return (ROOT / f".docs/pages/{name}.md").read_text()


public = load_file("public")


PARAMETERS = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in PYTHON]


@pytest.mark.parametrize("page", PARAMETERS)
def test_python_on_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in PYTHON[page]:
        exec(compile(block, f"{page}.md", "exec"), names)


def commands():
    found = {}
    for path in WRITTEN:
        text = path.read_text()
        blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
        if path.stem != "changelog":  # it names options that are gone
            inline = re.findall(r"`(python\s+-m\s+experiments\.\w+\s[^`]+)`", re.sub("```.*?```", "", text, flags=re.S))
            blocks += [" ".join(command.split()) for command in inline]
        for block in blocks:
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split("&&"):
                    words = shlex.split(part, comments=True)
                    words = words[next((i for i, word in enumerate(words) if "=" not in word), len(words)) :]
                    if words[:2] == ["python", "-m"] and words[2].startswith("experiments."):
                        found.setdefault(tuple(words[2:]), path.stem)
    return [pytest.param(words[0], words[1:], id=f"{page}: {shlex.join(words)[:60]}") for words, page in found.items()]


def parsers():
    from experiments import bench, checkup, data, denoise, membership, noise, pilot, report, score, sweep
    from experiments.benchmarks import mails, weak_predictions
    from experiments.display import growth

    found = {"bench": bench.bench, "noise": noise.inspect, "report": report.report, "sweep": sweep.sweep}
    found |= {"checkup": checkup.checkup, "denoise": denoise.denoise, "data": data.main, "score": score.score}
    found |= {"benchmarks.mails": mails.write, "benchmarks.weak_predictions": weak_predictions.write}
    found |= {"membership": membership.membership_of, "pilot": pilot.pilot}
    return found | {"display.growth": growth.write}


@pytest.mark.parametrize(("module", "words"), commands())
def test_commands_on_pages_are_understood(module, words, monkeypatch):
    from experiments import one

    monkeypatch.chdir(ROOT)
    if "--help" in words:
        return
    if module == "experiments.one":
        default, words = one._settings_from_file(words)  # a file that is named is there
        tyro.cli(one.Settings, default=default, args=words)
        return
    from experiments.benchmarks import BENCHMARKS
    from experiments.sweeping.presets import PRESETS

    command = parsers()[module.removeprefix("experiments.")]
    named = tyro.cli(functools.wraps(command)(lambda *values, **named: named), args=words)
    assert BENCHMARKS.keys() >= set(named.get("names", ())) and (named.get("preset") or "demo") in PRESETS


def test_tables_of_names_are_complete():
    from ddjax.distillers import DISTILLERS
    from ddjax.evaluation import BASELINES, PROTOCOLS
    from experiments import sweep
    from experiments.running.methods import BEFORE, CONTROLS
    from experiments.sweeping.presets import PRESETS

    study, start = page("study"), page("start")
    wrapped = [f"{name}+dance" for name in BEFORE]
    names = (*PRESETS, *PROTOCOLS, *BASELINES, *DISTILLERS, *CONTROLS, *wrapped)
    assert not [name for name in names if f"`{name}`" not in study]
    assert not [name for name in PRESETS if not re.search(rf"\b{name}\b", sweep.sweep.__doc__)]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert not [name for name in extras if f"`{name}`" not in start]


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


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_links_lead_to_files_of_the_repository(path):
    text = re.sub(r"```.*?```|`[^`\n]+`", "", path.read_text(), flags=re.S)
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (path.parent / target).is_file(), f"{path.name} links to {target}"
    for address in re.findall(r"https?://([^/)\s]+)", text):
        assert address == "img.shields.io", f"{path.name} links to {address}"
    for source in re.findall(r"^FILE: (.+)$", path.read_text(), re.M):
        assert (ROOT / source).is_file(), f"{path.name} shows {source}"


def test_the_scripts_of_ci_name_files_that_are_there():
    for script in (ROOT / ".ci").iterdir():
        for name in re.findall(r"\b(?:tests|experiments)/[\w/*.]+", script.read_text()):
            assert list(ROOT.glob(name)), f".ci/{script.name} names {name}"


SHOWN = {"compile_s": ".0f", "temporary_gib": ".1f", "convolutions": "d", "mega_cycles": ".0f"}  # columns, and formats


def test_the_table_of_compiled_programs_has_the_numbers_of_its_rows():
    rows = [json.loads(line) for line in (ROOT / "experiments/results/compile.jsonl").read_text().splitlines()]
    search = {-1.0: "shortest", -0.5: "short", 0.0: "full"}
    here = {row["name"]: f"{row['compile_s']:.0f}" for row in rows if row["backend"] == "cpu"}
    known = {
        (
            row["name"],
            search[row["effort"]],
            *(f"{row[column]:{how}}" for column, how in SHOWN.items()),
            here.get(row["name"], ""),
        )
        for row in rows
        if row["backend"] == "tpu"
    }
    cells = r"\| ([\w ,]+) \| (\w+) " + r"\| ([\d.]+) " * len(SHOWN) + r"\| *(\d*) *\|"
    table = re.findall(f"^{cells}$", page("devices"), re.M)
    shown = {(name.split(" cores")[0], *others) for name, *others in table}
    assert len(shown) > 20 and not shown - known


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / ".docs" / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", navigation, re.M)
    pages = [path.relative_to(ROOT / ".docs" / "pages").as_posix() for path in PAGES]
    assert sorted(listed) == sorted([*pages, "contributing.md", "conduct.md"])  # the last two are in .github


def test_only_pyproject_knows_the_addresses_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = {re.sub(r"^https?://", "", address).rstrip("/") for address in project["urls"].values()}
    sources = [path for folder in ("ddjax", "experiments") for path in (ROOT / folder).rglob("*.py")]
    other = [*(ROOT / "notebooks").glob("*.*"), *(ROOT / ".github").rglob("*.*"), ROOT / ".docs" / "mkdocs.yml"]
    for path in [*WRITTEN, *sources, *other, ROOT / "CITATION.cff"]:
        text = path.read_text()
        assert not [address for address in known if address in text], f"{path} names an address that may not exist"
        assert not re.search(r"pip install ['\"]?ddjax\b", text), f"{path} installs a package that may not be published"


def test_the_diagrams_are_those_of_their_script():
    draw = load_file("draw")
    for name, (boxes, arrows) in draw.DIAGRAMS.items():
        assert (draw.HERE / f"{name}.svg").read_text() == draw.svg(boxes, arrows)
