"""Draw the curves from which the numbers of steps and epochs of a sweep are chosen.

Example: python -m experiments.pilot --preset photographs --ipc 10
"""

import dataclasses
import pathlib
from typing import Any

from ddjax.ranges import Count, Natural, Seed, checked
from experiments.display.cli import as_repeated, check_folder, main, use_data_dir, with_huge_pages

AT = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0)  # shares of a method's steps at which its set is scored
NOISES = (("clean", 0.0), ("symmetric", 0.4))
MEMORISED, NEAR = 0.95, 0.05
FILE = "curves.jsonl"


@checked
def pilot(
    preset: str | None = None,
    config: pathlib.Path | None = None,
    out: pathlib.Path | None = None,
    methods: tuple[str, ...] = (),
    ipc: tuple[Count, ...] = (),
    seed: Seed = 7,
    limit: Natural | None = None,
    data_dir: str | None = None,
    quiet: bool = False,
) -> int:
    """Run each method of a grid on a seed of its own, clean and with symmetric noise 0.4, and draw its curve.

    A distilled set is scored after 0, 1/8, 1/4, 1/2, 1 and 2 times the steps of the grid, and training on the whole set
    after each epoch. Both noises run as one program where the method can. Methods without steps, such as random, are
    left out. The curves are added to curves.jsonl, and curves.svg is drawn from all of them. The table says whether
    full training memorised the labels (at least 95 % of the given ones), and whether the set of the grid's steps is
    within 5 points of the best one.

    Args:
      preset: grid, as for experiments.sweep; by default photographs.
      config: TOML file with a grid, instead of a preset.
      out: output directory; by default runs/pilot/PRESET. Several processes may share it.
      methods: run only these methods of the grid.
      ipc: run only these numbers of distilled images per class of the grid.
      seed: of everything; the grid must not have it.
      limit: train on this many first images, in place of the grid's number; 0 takes all.
      data_dir: directory of NAME.npz files or of TFDS, if it is not the default.
      quiet: print no progress.

    Raises:
      ValueError: a name or number is wrong, the grid has the seed, or no method has a curve; nothing has run.
    """
    from ddjax.storage.files import replacing
    from ddjax.storage.rows import append, commit, fingerprint, hardware, read
    from ddjax.timing import Timer
    from experiments.display.progress import View
    from experiments.reporting.svg import standalone
    from experiments.running.curves import curves
    from experiments.running.methods import sized
    from experiments.running.shared import Shared, pieces
    from experiments.sweeping import grid as grids
    from experiments.sweeping.presets import asked
    from experiments.sweeping.run import groups

    check_folder("--out", out)
    name, whole = asked(preset, config, "photographs")
    if any(seed in grid.seeds for grid in whole):
        raise ValueError(f"--seed {seed} is a seed of the grid: choose another one, so that nothing is chosen on it")
    whole = grids.narrowed(whole, methods=methods, ipc=ipc)
    grid = [dataclasses.replace(one, seeds=(seed,), noises=NOISES) for one in whole]
    grid = [one if limit is None else grids.limited(one, limit) for one in grid]
    made = {cell: pieces(cell) for cell in grids.cells(*grid)}
    cells = [cell for cell, parts in made.items() if parts.parsed.on_all or getattr(parts.config, "steps", 0)]
    if not cells:
        names = ", ".join(dict.fromkeys(cell.method for cell in made))
        raise ValueError(f"{names}: no steps and no epochs to draw a curve over; choose other methods (--methods)")
    out = out or pathlib.Path("runs") / "pilot" / name
    use_data_dir(data_dir)
    shared = Shared()
    for group in groups(cells, fleet=True):
        timer = Timer()
        for cell, curve in zip(group, curves(group, AT, shared, View(quiet)), strict=True):
            row = {
                **{name: getattr(cell, name) for name in ("dataset", "noise", "rate", "method", "seed")},
                "ipc": cell.ipc if sized(cell.method) else None,
                "baseline": made[cell].baseline.name,
                "augment": made[cell].baseline.recipe.augment,
                "curve": curve,
                "seconds": round(timer.seconds / len(group), 1),
                "steady_s": round(timer.steady / len(group), 1),
                "config": dataclasses.asdict(cell),
                "fingerprint": fingerprint(cell),
                "hardware": hardware(),
                "commit": commit(),
                "command": as_repeated("pilot"),
            }
            append(out / FILE, row)
            print(verdict(row), flush=True)
    rows = list({row["fingerprint"]: row for row in read(out / FILE)}.values())
    with replacing(out / "curves.svg", "w") as file:
        file.write(standalone(panels(rows)))
    print(f"{len(rows)} curves are in {out / FILE}, and drawn in {out / 'curves.svg'}")
    return 0


def verdict(row: dict[str, Any]) -> str:
    """One line about a curve: whether it was cut short."""
    curve, accuracy = row["curve"], row["curve"]["accuracy"]
    name = f"{row['method']} {row['ipc'] or row['baseline']}, {row['noise']} {row['rate']:g}"
    spent = f"{row['seconds']:.0f} s, {row['steady_s']:.0f} s without compiling"
    if "epochs" in curve:
        last = curve["memorised"][-1]
        words = f"{100 * last:.1f} % of the given labels, {100 * accuracy[-1]:.1f} % of the test images"
        if row["augment"] == "none":
            words += f": {'memorised' if last >= MEMORISED else 'not memorised'}"
        return f"{name}: after {curve['epochs'][-1]} epochs {words} ({spent})"
    chosen, best = accuracy[-2], max(accuracy)
    enough = "flat" if chosen >= best - NEAR else "not flat"
    shown = " ".join(f"{100 * value:.1f}" for value in accuracy)
    return f"{name}: {shown} % after {curve['steps']} steps; {enough} at {curve['steps'][-2]} ({spent})"


def panels(rows: list[dict[str, Any]]) -> list[str]:
    """A panel for each data set, method and size, with a line for each noise."""
    from experiments.reporting.svg import Line, plot

    several = len({row["dataset"] for row in rows}) > 1
    drawn: dict[tuple, list[Line]] = {}
    for row in rows:
        curve = row["curve"]
        along = "epochs" if "epochs" in curve else "steps"
        name = f"{row['noise']} {row['rate']:g}" if row["rate"] else row["noise"]
        size = f", {row['ipc']} per class" if row["ipc"] else f" ({row['baseline']})"
        title = (f"{row['dataset']}: " if several else "") + row["method"] + size
        lines = drawn.setdefault((title, along), [])
        values = {name: curve["accuracy"]}
        if "memorised" in curve:
            values[f"{name}, given labels"] = curve["memorised"]
        for label, ys in values.items():
            points = [(x, 100 * y, 0.0) for x, y in zip(curve[along], ys, strict=True)]
            lines.append(Line(label, len(lines) % 5, thinned(points)))
    return [plot(title, lines, along, "accuracy (%)") for (title, along), lines in sorted(drawn.items())]


def thinned(points: list, most: int = 6) -> list:
    """At most about `most` points, with the first and the last one."""
    step = max(1, -(-len(points) // most))
    return [*points[:-1:step], points[-1]]


if __name__ == "__main__":
    with_huge_pages()
    main(pilot, __doc__)
