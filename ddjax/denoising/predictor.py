"""Predictors: methods that predict the class of every example from the given labels, and the records they exchange.

A new one is a `Predictor` in `registry.PREDICTORS`. A predictor that needs another one, such as an ensemble, calls
`Request.predict`.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ddjax import checks
from ddjax.denoising.costs import Cost
from ddjax.denoising.judging import Judgement
from ddjax.denoising.keeping import Stages
from ddjax.denoising.progress import Report
from ddjax.distilled import DistilledSet
from ddjax.storage.checkpoints import Checkpoints
from ddjax.storage.rows import fingerprint
from ddjax.types import TrainSet

IMAGES, FEATURES, PREDICTIONS = "images", "features", "pred_probs"  # the inputs of `denoise`
_SCORE, _SECONDS = "score.", "seconds."


class FeatureSet(NamedTuple):
    """Feature vectors with given labels. The vectors may be memory-mapped: read them in blocks."""

    features: Any  # float [n d], finite
    labels: Int[np.ndarray, "n"]
    num_classes: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """The arguments of `ddjax.denoise` that a predictor may read; they are described there."""

    method: str
    ipc: int = 10
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    students: int = 5
    protocol: str = "common"
    epochs: int | None = None
    plain_epochs: int | None = None
    network: str | None = None
    width: int | None = None
    depth: int | None = None
    flip: bool = True
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Turn NumPy's numbers into Python's: a plan is kept as JSON."""
        values = vars(self) | {"options": {name: _plain(value) for name, value in self.options.items()}}
        for name, value in values.items():
            object.__setattr__(self, name, _plain(value))


def _check(predicted: Any, method: str, n: int, k: int) -> None:
    """Raise a ValueError for predictions that cannot be judged."""
    checks.kind(predicted, Predictions, f"what method={method!r} predicts", "ddjax.denoising.predictor has it")
    if np.ndim(predicted.members) != 3 or np.shape(predicted.members)[1:] != (n, k):
        shape = list(np.shape(predicted.members))
        raise ValueError(f"members predicted by method={method!r} must be [s n k], here [s {n} {k}]; got {shape}")
    if not np.isfinite(predicted.members).all():
        raise ValueError(
            f"members predicted by method={method!r} are not finite: if its networks diverged, lower the rate or other "
            "options"
        )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


class Predictions(NamedTuple):
    """The predictions of a predictor.

    Attributes:
      members: logits or log-probabilities of each member, finite.
      scores: scores of its own by name; larger is more suspicious.
      seconds: wall time by stage, if there are several.
      distilled: the distilled set that the members learned from, if there is one.
    """

    members: Float[np.ndarray, "s n k"]
    scores: Mapping[str, Float[np.ndarray, "n"]] = {}
    seconds: Mapping[str, float] = {}
    distilled: DistilledSet | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """The input of a predictor.

    Attributes:
      data: examples with their given labels; images are in pixels.
      plan: the arguments of `ddjax.denoise`.
      stages: what is kept on disk.
      decides: everything that decides the predictions, as JSON; the key under which it is kept.
      choose: finds a predictor by name.
      report: receives the progress of the stages.
      early: receives predictions that those of a slower predictor will replace.
      known: the predictions so far, which are not made again.
    """

    data: TrainSet | FeatureSet
    plan: Plan
    stages: Stages
    decides: Mapping[str, Any]
    choose: Callable[[str], "Predictor"]
    report: Report | None = None
    early: Callable[[Predictions], None] | None = None
    known: dict[str, Predictions] = dataclasses.field(default_factory=dict)

    @property
    def checkpoints(self) -> Checkpoints | None:
        """Checkpoints of this predictor while it is not finished."""
        return self.stages.checkpoints("logits", self.decides)

    def predict(self, method: str, **changes: Any) -> Predictions:
        """The predictions of another predictor for the same data, made now or taken from an earlier run.

        Several members in feature space become one, their mean, because they err alike where the features are weak.

        Args:
          method: the name of the predictor.
          **changes: fields of the plan that differ.

        Raises:
          ValueError: the predictions are of another kind or shape, or not finite.
        """
        plan, predictor = dataclasses.replace(self.plan, method=method, **changes), self.choose(method)
        decides = {"data": self.decides["data"], "method": method}
        decides |= {name: getattr(plan, name) for name in predictor.decides}
        key = fingerprint(decides)
        if key in self.known:
            return self.known[key]
        request, fresh = dataclasses.replace(self, plan=plan, decides=decides), []

        def make() -> dict[str, np.ndarray]:
            start = time.monotonic()
            predicted = predictor.predict(request)
            _check(predicted, method, len(self.data.labels), self.data.num_classes)
            fresh.append(predicted)
            seconds = predicted.seconds or {predictor.stage or method: time.monotonic() - start}
            members = predicted.members
            if isinstance(self.data, FeatureSet):  # they read the same features, so their agreement is no evidence
                members = members.mean(axis=0, keepdims=True)
            arrays = {"predictions": members}
            arrays |= {_SCORE + name: values for name, values in predicted.scores.items()}
            return arrays | {_SECONDS + name: np.float64(each) for name, each in seconds.items()}

        kept = self.stages.arrays("logits", decides, make)
        distilled = fresh[0].distilled if fresh else predictor.distilled(request) if predictor.distilled else None
        self.known[key] = Predictions(
            kept["predictions"],
            {name.removeprefix(_SCORE): values for name, values in kept.items() if name.startswith(_SCORE)},
            {name.removeprefix(_SECONDS): float(v) for name, v in kept.items() if name.startswith(_SECONDS)},
            distilled,
        )
        return self.known[key]


class Predictor(NamedTuple):
    """A source of predictions.

    Attributes:
      predict: makes the predictions.
      takes: the kinds of input that it can judge, of IMAGES and FEATURES.
      decides: the fields of `Plan` that decide its predictions, without the method.
      check: raises a ValueError for data or a plan that it cannot use, before any work.
      judge: replaces the judgement of its predictions; cleanlab has filters of its own.
      distilled: the distilled set of predictions that are kept, if there is one.
      config: the dataclass whose fields `Plan.options` may set.
      cost: of its predictions, where it can be counted.
      stage: the stage that it announces, if it is the only one.
    """

    predict: Callable[[Request], Predictions]
    takes: tuple[str, ...]
    decides: tuple[str, ...]
    check: Callable[[TrainSet | FeatureSet, Plan, tuple[str, ...]], None] | None = None
    judge: Callable[[Judgement, Float[np.ndarray, "s n k"], Int[np.ndarray, "n"]], Judgement] | None = None
    distilled: Callable[[Request], DistilledSet] | None = None
    config: type | None = None
    cost: Callable[[TrainSet | FeatureSet, Plan], Cost] | None = None
    stage: str | None = None
