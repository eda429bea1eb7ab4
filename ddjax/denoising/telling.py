"""How a run of the denoiser says what it is at."""

import functools
from collections.abc import Callable

from ddjax.training.fit import Report as Progress

Report = Callable[[str, int, int, dict[str, float]], None]  # (stage, done, total, newest metrics)


def begun(report: Report | None, stage: str, total: int = 0) -> Progress | None:
    """Announce a stage that starts now, and return the report of its progress.

    Args:
      report: what is told; with None nothing is.
      stage: its name.
      total: how many steps or epochs it takes; 0 where that is not known or there is one step only.

    Returns:
      A function of (done, total, newest metrics), or None.
    """
    if report is None:
        return None
    report(stage, 0, total, {})
    return functools.partial(report, stage)
