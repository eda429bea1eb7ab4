"""Run one experiment and score it.

Example: python -m experiments.one --dataset digits --noise symmetric --rate 0.4 --method random --ipc 10
"""

import contextlib
import dataclasses
import pathlib
import sys
from typing import Any, Literal

import tyro

from ddjax import ranges, stopping
from ddjax.ranges import NonNegative
from experiments.display.cli import (
    as_repeated,
    check_folder,
    end,
    fail,
    flags,
    join_hosts,
    make_deterministic,
    program,
    use_data_dir,
    with_huge_pages,
)
from experiments.running.config import Experiment, from_file

DESCRIPTION = """Run one experiment: corrupt labels, distil, train students, and print their scores.

--config FILE reads settings from a TOML file. Flags override the file. SIGTERM and Ctrl-C save the run and exit with
status 75. The same command continues."""


@dataclasses.dataclass(frozen=True)
class Settings(Experiment):
    """Settings of the command: those of the experiment, and where and how it runs.

    Attributes:
        out: directory for results.jsonl, the distilled set and the figures.
        json: print the row as one JSON line at the end of standard output.
        quiet: print no progress.
        tensorboard: directory for TensorBoard logs.
        data_dir: TFDS directory, if it is not the default.
        over: distil on one device, on all devices of this machine, or on the devices of several hosts. Each host
            runs this same command. Slurm and TPU pods need nothing else; elsewhere set JAX_COORDINATOR_ADDRESS,
            JAX_NUM_PROCESSES and JAX_PROCESS_ID.
        save_every: seconds between checkpoints; 0 saves at every opportunity.
        fresh: start again, without the checkpoints of an interrupted run.
        images: where training images are kept, as bytes: on the device, on the host, or "auto" for the device if they
            take at most a quarter of its memory. The place is printed; the results are the same.
        deterministic: bit-equal results on an accelerator, at some cost in speed; a CPU always gives them.
    """

    out: pathlib.Path = pathlib.Path("runs")
    json: bool = False
    quiet: bool = False
    tensorboard: pathlib.Path | None = None
    data_dir: str | None = None
    over: Literal["one", "devices", "hosts"] = "one"
    save_every: NonNegative = 60.0
    fresh: bool = False
    images: Literal["auto", "device", "host"] = "auto"
    deterministic: bool = False

    def __post_init__(self) -> None:
        """Do nothing: `one` checks the fields. From here, tyro would print the error in its own format."""


def one(settings: Settings) -> int:
    """Run the experiment, write its files and print its scores; only the first of several hosts writes and prints.

    Raises:
      ValueError: a setting is wrong; nothing has been trained.
    """
    ranges.fields(settings)
    check_folder("--out", settings.out)
    check_folder("--tensorboard", settings.tensorboard)
    use_data_dir(settings.data_dir)
    if settings.deterministic:
        make_deterministic()
    import jax

    if settings.over == "hosts":
        join_hosts()
    from ddjax.execution.mesh import mesh_of
    from ddjax.storage.locks import alone
    from ddjax.storage.rows import fingerprint
    from experiments.display.board import Board
    from experiments.display.progress import View
    from experiments.running.checkpointing import Keeping
    from experiments.running.methods import parse
    from experiments.running.run import run
    from experiments.running.shared import Shared
    from experiments.sweeping.cost import check_cells

    experiment = settings.settled()
    check_cells([experiment])
    parsed = parse(experiment.method)
    if settings.over != "one" and not parsed.method.split:
        raise ValueError(
            f"--over {settings.over} divides the steps of a distillation, and method {experiment.method} has none that "
            "can be divided: leave --over out"
        )
    if unread := without_effect(experiment):
        print(f"note: method {experiment.method} does not read {', '.join(unread)}", file=sys.stderr)
    first = jax.process_index() == 0
    view = View(settings.quiet or not first, Board(settings.tensorboard) if settings.tensorboard and first else None)
    mesh = None if settings.over == "one" else mesh_of()
    name = fingerprint(experiment)
    folder = settings.out / f"{experiment.dataset.replace('/', '_')}-{experiment.method}-{name}"
    keeping = Keeping(folder / "unfinished", settings.save_every, settings.fresh)
    lock = settings.out / f".{name}.lock"
    with alone(lock, f"the run in {folder}") if first else contextlib.nullcontext(), view.log():
        shared = Shared(mesh=mesh, keeping=keeping, images=settings.images)
        outcome = run(experiment, shared=shared, view=view)
        if first:
            write(settings, outcome, folder)
            keeping.finished([experiment])
    return 0


def without_effect(experiment: Experiment) -> list[str]:
    """The flags that are given, and that the method of an experiment does not read."""
    from experiments.running.methods import parse

    parsed = parse(experiment.method)
    judged = parsed.on_all or parsed.wrapper or experiment.protocol == "dd-ranking"  # trained on the whole set as well
    read = {
        "steps": any(field.name == "steps" for field in dataclasses.fields(parsed.method.config)),
        "ipc": parsed.sized,
        "baseline": judged,
        "holdout": parsed.on_all,
    }
    given = [name for name in read if getattr(experiment, name) != getattr(Experiment, name)]
    return [f"--{name}" for name in given if not read[name]]


def write(settings: Settings, outcome: Any, folder: pathlib.Path) -> None:
    """Write the distilled set, the log, the figures and the row, and print the result."""
    from ddjax.distilled import saving
    from ddjax.storage.rows import append, to_line
    from experiments.display import figures, tables

    outcome.row["command"] = as_repeated("one")
    if outcome.distilled is not None:
        saving.save_distilled(outcome.distilled, folder / "distilled")
    if outcome.log:
        write_log(outcome.log, folder / "log.csv")
    drawn = figures.draw(outcome, folder)
    append(settings.out / "results.jsonl", outcome.row)
    print(tables.describe(outcome.row))
    print("written to", ", ".join(str(path) for path in [settings.out / "results.jsonl", *drawn]))
    if settings.json:
        print(to_line(outcome.row))


def write_log(log: dict[str, Any], path: pathlib.Path) -> None:
    """Write a distiller's metrics as CSV, one line per step."""
    import pandas

    from ddjax.storage.files import replacing

    with replacing(path, "w") as file:
        pandas.DataFrame(log).to_csv(file, index_label="step", float_format="%.6g", na_rep="nan", lineterminator="\r\n")


def _settings_from_file(arguments: list[str]) -> tuple[Settings, list[str]]:
    """Read the defaults from the file of `--config FILE`, and return them with the other arguments."""
    arguments = [part for one in arguments for part in (one.split("=", 1) if one.startswith("--config=") else [one])]
    if "--config" not in arguments:
        return Settings(), arguments
    at = arguments.index("--config")
    if at + 1 == len(arguments):
        raise ValueError("--config needs the path of a TOML file")
    found = from_file(pathlib.Path(arguments[at + 1]))
    return Settings(**dataclasses.asdict(found)), arguments[:at] + arguments[at + 2 :]


def command() -> None:
    """Run the command line: `--config FILE` gives defaults, and flags override them."""
    try:
        default, arguments = _settings_from_file(sys.argv[1:])
        settings = tyro.cli(Settings, prog=program(), default=default, args=arguments, description=DESCRIPTION)
        with stopping.in_order():
            status = one(settings)
        sys.exit(status)
    except stopping.Stopped as stopped:
        end(stopped)
    except (ValueError, OSError, ImportError) as error:
        fail(error, flags(one))


if __name__ == "__main__":
    with_huge_pages()
    command()
