"""Every command answers a wrong flag in one line on standard error, with status 2, before any work."""

import itertools
import re
import shlex
import sys
import typing

import doors_numbers
import pytest
from PIL import Image

from ddjax.data import loading
from experiments import bench, checkup, data, denoise, membership, noise, one, pilot, report, score, sweep
from experiments.display import cli

QUICK = ["--limit", "150", "--width", "4", "--epochs", "2", "--students", "1"]
COMMANDS = {
    "one": one.command,
    "sweep": lambda: cli.main(sweep.sweep),
    "denoise": lambda: cli.main(denoise.denoise),
    "report": lambda: cli.main(report.report),
    "noise": lambda: cli.main(noise.inspect),
    "data": lambda: cli.main(data.main),
    "bench": lambda: cli.main(bench.bench),
    "pilot": lambda: cli.main(pilot.pilot),
    "checkup": lambda: cli.main(checkup.checkup),
    "score": lambda: cli.main(score.score),
    "membership": lambda: cli.main(membership.membership_of),
}
CASES = [  # others: numbers below, options in test_options.py
    ("one", "--dataset cifra10", "unknown data set 'cifra10'.*Did you mean 'cifar10'"),
    ("one", "--dataset nothing/here.npz", "there is no file nothing/here.npz"),
    ("one", "--method rcgi", "unknown method 'rcgi'.*Did you mean 'rcig'"),
    ("one", "--method nowhere:METHOD", "read as module:ATTRIBUTE, and that failed"),
    ("one", "--method :METHOD", "unknown method ':METHOD'"),
    ("one", "--network .here:NETWORK", "unknown network '.here:NETWORK'"),
    ("one", "--protocol comon", "unknown protocol 'comon'"),
    ("one", "--baseline B-PLAN", "unknown baseline 'B-PLAN'.*B-PLAIN"),
    ("one", "--noise symetric --rate 0.4", "unknown noise kind 'symetric'"),
    ("one", "--noise clean --rate 0.4", "has its own rate; leave rate at 0"),
    ("one", "--noise custom", "noise kind 'custom' alone needs matrix_file; got 'custom' and None"),
    ("one", "--noise custom --matrix-file no.npy", "matrix_file no.npy is not a file: name another one"),
    ("one", "--precision float8", "unknown precision 'float8'"),
    ("one", "--method random --ipc 0", "ipc must be"),
    (
        "one",
        "--method random --ipc 1000",
        "ipc=1000 of random is more than the 150 training images hold .*: lower ipc, ",
    ),
    ("one", "--method random --ipc 15", "--ipc 15 is more than these classes hold.* set --options short_class=repeat"),
    ("one", "--method datm --options start=noise", "--options start=noise gives no labels .*, or --options start=real"),
    ("one", "--method random --options nonsense=1", "unknown option of method 'random' 'nonsense'"),
    ("one", "--method gce --options q=2", "option q must be a finite number above 0 and at most 1; got 2.0"),
    ("one", "--limit 99999", "limit must be at most 1442, the training images of digits; got 99999"),
    ("one", "--method herding --ipc 1 --depth 9", "depth 9 does not fit images of side 8"),
    ("one", "--preprocess standardise", "unknown preprocessing 'standardise'"),
    ("one", "--network convnett", "unknown network 'convnett'"),
    *(
        ("one", f"--method {name} --over devices", f"method {re.escape(name)} has none .*: leave --over out")
        for name in ("random", "full", "random+relabel")
    ),
    ("one", "--config nothing.toml", "--config nothing.toml is not a file: name a TOML file, or leave --config out"),
    ("sweep", "--config .", "--config . is not a file"),
    ("sweep", "--preset digits --config a.toml", "--preset digits and --config a.toml both name a grid: leave one"),
    ("sweep", "--machine h200", "--machine h200 has no effect on a run here: add --dry-run"),
    ("sweep", "--executor ray --tensorboard logs", "--tensorboard logs only cells that run here: leave it out"),
    ("sweep", "--preset figur2", "unknown preset 'figur2'"),
    ("sweep", "--preset demo --rates 0.3", r"--rates 0.3: not in the grid"),
    ("sweep", "--preset demo --resources gpus=nan --executor slurm", "resource gpus must be .*got nan"),
    ("denoise", "nothing/here", "there is no folder or file nothing/here"),
    ("denoise", "nothing/here --noise symetric", "Did you mean 'symmetric'"),
    ("denoise", "digits --noise custom", "--noise custom reads a matrix from a file, .*: name a function"),
    ("denoise", "digits --rate 0.4", "--rate 0.4 needs --noise: name a kind of noise, or leave --rate out"),
    ("denoise", "digits --noise-seed 3", "--noise-seed 3 needs --noise: name a kind of noise, or leave --"),
    ("denoise", "--features a.npy --labels a.csv --limit 5 --image-size 8", "--limit, --image-size: images are needed"),
    ("denoise", "digits --method dancee", "unknown method 'dancee'"),
    ("denoise", "digits --compare", "--compare needs true labels: add errors to them with --noise"),
    ("denoise", "digits --method datm --options ipc=3", "option ipc=3 stands beside ipc=10"),
    ("noise", "--dataset digits --kind pmd --rate 0.4", "--kind pmd needs the predictions of a teacher, which this"),
    (
        "noise",
        "--kind part_dependent --rate 0.4",
        "--kind part_dependent depends on the images, .*: take --dataset digits",
    ),
    ("noise", "--dataset digits --plot .", r"--plot \. must be a file, and it is a folder"),
    ("score", "nothing.npz", "there is no file nothing.npz: name the file of a distilled set"),
    ("score", ".", r"there is no file \."),
    ("checkup", "--out ck --images nothing.npz", "there is no file nothing.npz"),
    ("report", "nothing/here", "nothing/here does not exist"),
    ("data", "write digits d.npz --labels-file a.pt", "--labels-file is only for cifar10 and cifar100; leave it out"),
    ("data", "check cifar10 --data-dir gone", "cifar10 is not prepared: no gone.*Prepare it with --download or `tfds"),
]


# command -> words before a flag, and the settings or the function whose annotations give the flags
NUMBERS = {
    "one": ("", one.Settings),
    "sweep": ("--preset demo", sweep.sweep),
    "denoise": ("digits", denoise.Settings),
    "noise": ("", noise.inspect),
    "data": ("check digits", data.Check),
    "bench": ("import", bench.bench),
}


def outside(hint):
    """Words that a flag with this annotation must refuse."""
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated and inner[0] in (int, float):
        kinds = (int,) if inner[0] is int else (int, float)
        return [str(value) for value in doors_numbers.outside(hint) if type(value) in kinds]
    return next(filter(None, map(outside, inner)), [])


def flags(reads):
    """Each numeric flag, and the words that it must refuse."""
    hints = typing.get_type_hints(reads, include_extras=True)
    return {name: outside(hint) for name, hint in hints.items() if name != "return" and doors_numbers.numbers(hint)}


def ended(command, words, tmp_path, monkeypatch, capsys):
    """The lines that a command with a wrong flag leaves on standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [command, *words])
    with pytest.raises(SystemExit) as stopped:
        COMMANDS[command]()
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2, lines
    assert lines[-1].startswith("error: "), lines
    return lines


@pytest.mark.parametrize(("command", "words", "said"), CASES, ids=[f"{c} {w}" for c, w, _ in CASES])
def test_a_wrong_flag_is_one_line(command, words, said, tmp_path, monkeypatch, capsys, cache):
    quick = QUICK if command == "one" else []
    given = words.split()
    quick = [word for i, word in enumerate(quick) if quick[i - i % 2] not in given]
    out = ["--out", str(tmp_path / "out")] if command in ("one", "sweep") else []
    lines = ended(command, [*given, *quick, *out], tmp_path, monkeypatch, capsys)
    assert re.search(said, lines[-1]), lines
    assert not list(tmp_path.glob("out/*.jsonl"))


@pytest.mark.parametrize("command", NUMBERS)
def test_a_number_outside_its_range_is_refused_before_data_are_read(command, tmp_path, monkeypatch, capsys, cache):
    monkeypatch.setattr(loading, "locate", None)  # nothing may be looked for
    before, reads = NUMBERS[command]
    for name, values in flags(reads).items():
        assert values, f"{name} declares no range"
        for value in values:
            words = [*before.split(), f"--{name.replace('_', '-')}", value]
            [line] = ended(command, words, tmp_path, monkeypatch, capsys)
            assert re.match(rf"error: {name}(\[\d\])? must be .*; got {re.escape(value)}", line), line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["one", "sweep", "denoise", "report", "pilot", "checkup", "score", "membership"])
def test_an_output_that_cannot_be_written_is_refused_before_any_work(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loading, "locate", None)  # nothing may be looked for
    (tmp_path / "old").write_text("mine")
    (tmp_path / "folder").mkdir()
    said = {"old": "must be a folder, and old is a file", "old/new": "must be a folder, and old is a file"}
    if command in ("score", "membership"):  # these write a file
        said = {"folder": "must be a file, and it is a folder", "old/new": "old is a file"}
    before = {"denoise": ["digits"], "score": ["set.npz"]}.get(command, [])
    for out, words in said.items():
        line = ended(command, [*before, "--out", out], tmp_path, monkeypatch, capsys)[-1]
        assert line.startswith(f"error: --out {out}".removesuffix("/new")) and words in line, line
    assert (tmp_path / "old").read_text() == "mine"


def test_images_of_several_sizes_are_refused_with_the_command_that_resizes_them(tmp_path, monkeypatch, capsys, cache):
    for i, (part, name, side) in enumerate(itertools.product(("train", "test"), ("cat", "dog"), (4, 5))):
        place = tmp_path / "my pets" / part / name / f"{side}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (side, 4), 20 * i).save(place)
    line = ended("one", ["--dataset", "my pets", "--out", "out"], tmp_path, monkeypatch, capsys)[-1]
    assert "image_size=" not in line
    [words] = re.findall("`python -m experiments.data (.*)`", line)
    monkeypatch.setattr(sys, "argv", ["data", *shlex.split(words)])
    with pytest.raises(SystemExit) as stopped:
        COMMANDS["data"]()
    assert not stopped.value.code and loading.load(tmp_path / "resized.npz").image_shape == (32, 32, 1)


def test_a_run_on_hosts_outside_of_a_cluster_says_what_to_set(monkeypatch):
    def initialize():
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr("jax.distributed.initialize", initialize)
    with pytest.raises(
        ValueError, match=r"no cluster was found .*: set JAX_COORDINATOR_ADDRESS, .* on each host"
    ) as found:
        cli.join_hosts()
    with pytest.raises(SystemExit):  # and no traceback, as of an error in another package
        cli.fail(found.value)
