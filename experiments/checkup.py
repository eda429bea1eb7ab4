"""Check an accelerator: tests, speed beside PyTorch, fleets, and a short run of each method.

Example: python -m experiments.checkup --out checkup --images cifar10.npz
"""

import os
import pathlib
import time
from typing import Any

from ddjax.ranges import Positive, checked
from experiments.accelerator.jobs import FAILED, SKIPPED
from experiments.display.cli import as_repeated, check_folder, main


@checked
def checkup(
    out: pathlib.Path,
    images: str | None = None,
    budget: Positive = 450.0,
    only: tuple[str, ...] = (),
    quick: bool = False,
) -> int:
    """Write rows.jsonl, page.md and log.txt. A part that fails or finds no time is reported, and the others go on.

    Nothing is downloaded. A second call is faster where `$JAX_COMPILATION_CACHE_DIR` is kept.

    Args:
      out: directory of the files.
      images: data set of the short runs, such as an .npz of CIFAR-10; by default digits.
      budget: seconds after which nothing starts and everything is stopped.
      only: sections: tests, speed, pytorch, fleet, cells; by default all.
      quick: a few seconds of each section, to try the command itself.

    Returns:
      The exit status: 1 if a part failed, else 0.

    Raises:
      ValueError: a section or the data set is unknown.
      FileNotFoundError: there is no such data set.
    """
    from ddjax import names
    from ddjax.data import loading
    from ddjax.storage.files import cache_dir, replacing
    from ddjax.storage.rows import commit, to_line
    from experiments.accelerator import plan
    from experiments.accelerator.jobs import Clock, Result, run_all, run_one
    from experiments.accelerator.page import page

    for section in only:
        names.check_known("section", section, plan.SECTIONS)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_dir() / "compiled"))
    if images is not None:
        loading.locate(images)
    check_folder("--out", out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "log.txt").write_text("")
    clock, rows = Clock(budget), []
    made = {"command": as_repeated("checkup"), "commit": commit()}
    facts: dict[str, Any] = made | {"started": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}

    def done(result: Result) -> None:
        rows.extend(row | made for row in result.rows)
        with open(out / "log.txt", "a") as log:
            log.write(result.output)
        facts["seconds"] = round(clock.spent())
        with replacing(out / "rows.jsonl", "w") as file:
            file.writelines(f"{to_line(row)}\n" for row in rows)
        with replacing(out / "page.md", "w") as file:
            file.write(page(facts, rows))
        print(f"{clock.spent():5.0f} s  {result.job.section}: {result.job.name}{_outcome(result.rows)}", flush=True)

    first = run_one(plan.machine(quick), clock)
    found = next((row for row in first.rows if "backend" in row), None)
    if found is not None:
        facts |= {
            name: found[name] for name in ("hardware", "backend", "cores", "python", "jax", "jaxlib", "flax", "numpy")
        }
    done(first)
    if found is not None:
        jobs = plan.jobs(images, out, found["backend"], quick, only)
        run_all(jobs, clock, min(plan.WORKERS, os.cpu_count() or 1), done)
    print((out / "page.md").read_text())
    return int(any(FAILED in row or row.get("verdict") in ("failed", "error") for row in rows))


def _outcome(rows: list[dict[str, Any]]) -> str:
    wrong = [row[why] for row in rows for why in (FAILED, SKIPPED) if why in row]
    return f": {wrong[0][:200]}" if wrong else ""


if __name__ == "__main__":
    main(checkup, __doc__)
