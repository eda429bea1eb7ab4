"""The options of a long computation that do not change its result: progress, checkpoints, and how it runs."""

import dataclasses
from collections.abc import Callable
from typing import Literal

from ddjax import ranges
from ddjax.execution.guard import PATIENCE
from ddjax.ranges import Count
from ddjax.storage.checkpoints import Checkpoints

Report = Callable[[int, int, dict[str, float]], None]  # (steps or epochs done, total, newest metrics)


@ranges.settings()
class RunOptions:
    """Options of `distill`, `run_method`, `fit`, `evaluate` and `train_full`.

    Attributes:
      report: called with (steps or epochs done, total, newest metrics). Metrics are means over members.
      checkpoints: where the computation is stored while it runs. A stopped call continues from the newest checkpoint
        and returns the same bits.
      how: how `fit` runs several networks: side by side ("vmap"), one after the other ("map"), or by backend ("auto").
      patience: a distillation ends after this number of rejected updates in a row.

    Raises:
      ValueError: a field has a wrong type or is out of range.

    Example:
      >>> from ddjax import RunOptions
      >>> RunOptions(report=lambda done, total, metrics: print(f"{done} of {total}")).report(1, 3, {})
      1 of 3
    """

    report: Report | None = None
    checkpoints: Checkpoints | None = None
    how: Literal["auto", "map", "vmap"] = "auto"
    patience: Count = PATIENCE

    def part(self, name: str) -> "RunOptions":
        """The options of a part of the computation, whose checkpoints have a folder of their own."""
        return dataclasses.replace(self, checkpoints=self.checkpoints and self.checkpoints.part(name))

    def within(self, before: int, total: int) -> "RunOptions":
        """The options of a part that starts after `before` of `total` epochs; its report counts from there."""
        report = self.report
        if report is None:
            return self
        return dataclasses.replace(self, report=lambda done, _, metrics: report(before + done, total, metrics))


DEFAULTS = RunOptions()
