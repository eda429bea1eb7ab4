"""Options as text are read strictly, by the annotated type of each field."""

import dataclasses
import math
from typing import Annotated, Literal

import pytest

from ddjax.ranges import Count, Range, Share, checked, fields
from experiments.running.config import Experiment, method_config
from experiments.running.methods import parse
from experiments.running.options import BOOLEANS, read_options
from experiments.sweeping.grid import Grid, cells, from_file


@dataclasses.dataclass(frozen=True)
class Config:
    ipc: Count = 1
    flip: bool = True
    share: Share = 0.5
    name: str = "a"
    depth: Count | None = None
    kind: Literal["soft", "hard", 3] = "soft"
    drops: tuple[Count, ...] = ()
    size: tuple[Count, Share] = (1, 0.5)
    limit: Annotated[float, Range(0, infinite=True)] = math.inf
    plain: float = 1.0
    either: int | str = 1
    other: dict | None = None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("flip=true", True),
        ("flip=False", False),
        ("flip=NO", False),
        ("flip=1", True),
        ("share=0.25", 0.25),
        ("share=1", 1.0),
        ("name=", ""),
        ("name=b=c", "b=c"),
        ("depth=none", None),
        ("depth=3", 3),
        ("kind=hard", "hard"),
        ("kind=3", 3),
        ("drops=1,2, 3", (1, 2, 3)),
        ("drops=", ()),
        ("size=2,0.1", (2, 0.1)),
        ("limit=inf", math.inf),
        ("either=7", 7),
        ("either=seven", "seven"),
    ],
)
def test_an_option_has_the_type_of_its_field(option, value):
    [found] = read_options(Config, (option,), "mine").values()
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("flip=maybe",), "option flip must be one of true, yes, on, 1, false, no, off, 0; got 'maybe'"),
        (("flip=",), "must be one of true"),
        (("flip",), "an option is name=value; got 'flip'"),
        (("flop=1",), "unknown option of method 'mine' 'flop'.*Did you mean 'flip'"),
        (("flip=1", "flip=0"), "option flip is given twice, as True and '0'"),
        (("share=nan",), "option share must be a finite number from 0 to 1; got nan"),
        (("share=inf",), "from 0 to 1; got inf"),
        (("share=-0.1",), "from 0 to 1; got -0.1"),
        (("share=half",), "option share must be a number, such as 0.01; got 'half'"),
        (("ipc=1.5",), "option ipc must be a whole number, such as 10; got '1.5'"),
        (("ipc=0",), "option ipc must be a whole number, at least 1; got 0"),
        (("depth=0",), "option depth must be a whole number, at least 1; got 0"),
        (("depth=deep",), "such as 10; got 'deep'; none is accepted too"),
        (("kind=sift",), "unknown option kind 'sift'; known: soft, hard, 3. Did you mean 'soft'"),
        (("drops=1,0",), r"option drops\[1\] must be a whole number, at least 1; got 0"),
        (("size=1",), "option size must be 2 values with commas between them; got '1'"),
        (("limit=nan",), "option limit must be a number, at least 0; got nan"),
        (("plain=nan",), "option plain must be a finite number; got nan"),
        (("plain=-inf",), "option plain must be a finite number; got -inf"),
        (("other=x",), "option other cannot be given as text"),
    ],
)
def test_anything_else_is_an_error_that_names_what_is_accepted(options, words):
    with pytest.raises(ValueError, match=words):
        read_options(Config, options, "mine")


@pytest.mark.parametrize("text", BOOLEANS)
def test_every_spelling_of_a_boolean_reaches_the_configuration(text):
    config = method_config(
        parse("datm").method.config, Experiment(dataset="cifar10", method="datm", options=(f"flip={text}",))
    )
    assert config.flip is BOOLEANS[text]


def test_options_do_not_contradict_the_experiment():
    kind = parse("dance").method.config
    with pytest.raises(ValueError, match="option ipc=3 stands beside ipc=10"):
        method_config(kind, Experiment(method="dance", options=("ipc=3",)))
    with pytest.raises(ValueError, match="option steps=3 stands beside steps=5"):
        method_config(kind, Experiment(method="dance", steps=5, options=("steps=3",)))
    assert method_config(kind, Experiment(method="dance", options=("steps=3",))).steps == 3
    assert method_config(kind, Experiment(method="dance", width=8, options=("width=16",))).width == 16


def test_a_grid_refuses_what_no_cell_could_have(tmp_path):
    for wrong, words in [
        ({"seeds": (0, 2**32)}, r"seeds\[1\] must be a whole number from 0 to 4294967295; got 4294967296"),
        ({"seeds": (True,)}, r"seeds\[0\] must be a whole number"),
        ({"ipc": (1, 0)}, r"ipc\[1\] must be a whole number, at least 1; got 0"),
        ({"noises": (("symmetric", 1.5),)}, r"noises\[0\]\[1\] must be a finite number from 0 to 1; got 1.5"),
    ]:
        with pytest.raises(ValueError, match=words):
            Grid(**wrong)
    for text, words in [
        ("seeds = 3", r"grid.toml: seeds must be a list, such as seeds = \[0, 1, 2\]; got 3"),
        ('methods = "random"', r"methods must be a list, such as methods = \[\"...\"\]; got 'random'"),
        ('noises = ["symmetric", 0.4]', r"noises must be a list of pairs of kind and rate, such as noises = \[\["),
        ('noises = [["symmetric", "0.4"]]', r"noises\[0\]\[1\] must be a finite number from 0 to 1; got '0.4'"),
        ('noises = [["symmetric"]]', r"noises\[0\] must have 2 entries"),
    ]:
        (tmp_path / "grid.toml").write_text(text)
        with pytest.raises(ValueError, match=words):
            from_file(tmp_path / "grid.toml")
    (tmp_path / "grid.toml").write_text('noises = [["clean", 0], ["symmetric", 0.4]]')
    made = cells(from_file(tmp_path / "grid.toml"))
    assert {repr((cell.noise, cell.rate)) for cell in made} == {"('clean', 0.0)", "('symmetric', 0.4)"}
    with pytest.raises(ValueError, match="noise_seed must be a whole number from 0 to 4294967295; got -1"):
        cells(Grid(everywhere={"noise_seed": -1}))


def test_a_record_and_a_function_check_by_the_same_annotations():
    for wrong, words in [
        ({"flip": 1}, "flip must be True or False; got 1"),
        ({"name": 3}, "name must be text; got 3"),
        ({"depth": True}, "depth must be a whole number, at least 1; got True"),
        ({"share": "0.5"}, "share must be a finite number from 0 to 1; got '0.5'"),
        ({"drops": [1]}, r"drops must be a tuple; got \[1\]"),
        ({"kind": "sift"}, "Did you mean 'soft'"),
    ]:
        with pytest.raises(ValueError, match=words):
            fields(Config(**wrong))
    fields(Config())
    calls = []

    @checked
    def door(first, share: Share, *, seeds: list[Count], flip: bool = True) -> None:
        calls.append(share)

    door("anything", 1, seeds=[1, 2])
    for arguments, more in [
        ((0, 2.0), {"seeds": []}),
        ((0, 0.5), {"seeds": [0]}),
        ((0, 0.5), {"seeds": [], "flip": 0}),
    ]:
        with pytest.raises(ValueError, match="must be"):
            door(*arguments, **more)
    with pytest.raises(TypeError, match="share"):
        door("anything", seeds=[])
    assert calls == [1]
