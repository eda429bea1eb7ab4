"""Progress reports of the denoiser, by stage."""

import functools
from collections.abc import Callable

from ddjax.execution.options import Report as Progress

Report = Callable[[str, int, int, dict[str, float]], None]  # (stage, done, total, newest metrics)


def begun(report: Report | None, stage: str, total: int = 0) -> Progress | None:
    """Report that a stage starts, and return the report of its progress.

    Args:
      report: receives the progress, or None.
      stage: its name.
      total: number of steps or epochs; 0 if it is unknown or there is only one step.

    Returns:
      A function of (done, total, newest metrics), or None.
    """
    if report is None:
        return None
    report(stage, 0, total, {})
    return functools.partial(report, stage)
