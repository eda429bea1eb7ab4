"""Every command answers a wrong flag in one line on standard error, with status 2, before any work."""

import re
import sys

import pytest

from experiments import cli, denoise, noise, one, report, sweep

QUICK = ["--limit", "150", "--width", "4", "--epochs", "2", "--students", "1"]
COMMANDS = {
    "one": one.command,
    "sweep": lambda: cli.main(sweep.sweep),
    "denoise": lambda: cli.main(denoise.denoise),
    "report": lambda: cli.main(report.report),
    "noise": lambda: cli.main(noise.inspect),
}
CASES = [
    ("one", "--dataset cifra10", "unknown data set 'cifra10'.*Did you mean 'cifar10'"),
    ("one", "--dataset nothing/here.npz", "there is no file nothing/here.npz"),
    ("one", "--method rcgi", "unknown method 'rcgi'.*Did you mean 'rcig'"),
    ("one", "--method nowhere:METHOD", "read as module:ATTRIBUTE, and that failed"),
    ("one", "--protocol comon", "unknown protocol 'comon'"),
    ("one", "--baseline B-PLAN", "unknown baseline 'B-PLAN'.*B-PLAIN"),
    ("one", "--noise symetric --rate 0.4", "unknown noise kind 'symetric'"),
    ("one", "--rate 1.5", "rate must be a number in .*got 1.5"),
    ("one", "--rate -0.5", "rate must be a number in .*got -0.5"),
    ("one", "--noise clean --rate 0.4", "brings its own rate; leave rate at 0"),
    ("one", "--noise custom", "matrix_file goes with kind 'custom'"),
    ("one", "--precision float8", "unknown precision 'float8'"),
    ("one", "--method random --ipc 0", "ipc must be"),
    ("one", "--method random --ipc 1000", "--ipc 1000 is more than these classes hold"),
    ("one", "--method random --options nonsense=1", "unknown option of method 'random' 'nonsense'"),
    ("one", "--method dance --options batch=many", "option batch takes a int; got 'many'"),
    ("one", "--limit 0", "count from 1 to 1442.*got 0"),
    ("one", "--limit 99999", "count from 1 to 1442.*got 99999"),
    ("one", "--epochs 0", "recipe.epochs must be a whole number, at least 1; got 0"),
    ("one", "--method random --ipc 1 --students 0", "students must be a whole number, at least 1; got 0"),
    ("one", "--holdout 1.5", "from 0 to below 1; got 1.5"),
    ("one", "--preprocess standardise", "unknown preprocessing 'standardise'"),
    ("one", "--network convnett", "unknown network 'convnett'"),
    ("one", "--config nothing.toml", "nothing.toml"),
    ("sweep", "--preset figur2", "unknown preset 'figur2'"),
    ("sweep", "--preset demo --rates 0.3", r"rates \[0.3\]"),
    ("sweep", "--preset demo --workers 0", "--workers counts processes, one at least; got 0"),
    ("denoise", "nothing/here", "there is no folder or file nothing/here"),
    ("denoise", "digits --method dancee", "unknown method 'dancee'"),
    ("denoise", "digits --compare", "--compare measures against the truth"),
    ("report", "nothing/here", "nothing/here does not exist"),
    ("noise", "--kind symmetric --rate 2", "rate must be a number in .*got 2"),
]


@pytest.mark.parametrize(("command", "words", "said"), CASES, ids=[f"{c} {w}" for c, w, _ in CASES])
def test_a_wrong_flag_is_one_line(command, words, said, tmp_path, monkeypatch, capsys, cache):
    quick = QUICK if command == "one" else []
    given = words.split()
    quick = [word for i, word in enumerate(quick) if quick[i - i % 2] not in given]
    monkeypatch.chdir(tmp_path)
    out = ["--out", str(tmp_path / "out")] if command in ("one", "sweep") else []
    monkeypatch.setattr(sys, "argv", [command, *given, *quick, *out])
    with pytest.raises(SystemExit) as ended:
        COMMANDS[command]()
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2, lines
    assert lines[-1].startswith("error: ") and re.search(said, lines[-1]), lines
    assert not list(tmp_path.glob("out/*.jsonl"))
