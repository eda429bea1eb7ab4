"""The option --images of the commands decides where their images are; tests/test_rows.py compares the results."""

import pytest

from ddjax.preprocess import chosen
from experiments import denoise, one
from experiments.denoising import running
from experiments.running import run
from experiments.sweep import sweep

GRID = """
methods = ["random"]
noises = [["symmetric", 0.4]]
ipc = [1]
seeds = [0]
protocols = ["quick"]
"""


def by_one(out, place):
    one.one(one.Settings(method="random", ipc=1, out=out, images=place))


def by_sweep(out, place):
    (out / "grid.toml").write_text(GRID)
    assert sweep(config=out / "grid.toml", out=out, workers=1, images=place) == 1


def by_denoise(out, place):
    denoise.denoise(denoise.Settings(data="digits", method="random", out=out, images=place, quiet=True))


@pytest.mark.parametrize(
    ("command", "module", "name"),
    [(by_one, run, "make_ready"), (by_sweep, run, "make_ready"), (by_denoise, running, "find")],
)
@pytest.mark.parametrize("place", ["auto", "host"])
def test_images_are_where_they_are_asked_for(tmp_path, monkeypatch, capsys, command, module, name, place):
    asked = []

    def work(*arguments, **options):
        asked.append(chosen("auto", size=1))
        raise ValueError("stopped here")

    monkeypatch.setattr(module, name, work)
    try:
        command(tmp_path, place)
    except ValueError as error:
        assert str(error) == "stopped here"
    there = "host" if place == "host" else "device"
    assert asked == [there] and chosen("auto", size=1) == "device"
    if command is by_sweep:
        assert f"images of digits: on the {there}, 92 kB of bytes" in capsys.readouterr().err
