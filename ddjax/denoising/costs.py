"""How long a predictor takes, from shapes, counted operations and the measured speed of this machine."""

import functools
from typing import NamedTuple

from ddjax import machine
from ddjax.backend import target
from ddjax.denoising import likelihood
from ddjax.denoising.judging import PASSES
from ddjax.training.arithmetic import forward_flop
from ddjax.types import Model, TrainSet

GRADIENT = 3  # forward passes that a gradient costs
ELEMENT = 200  # operations per logit for exp, log and sums; two busy cores judge 50,000 images of 100 classes in 25 s
EIGEN = 30  # n^3 operations of an eigendecomposition, at the speed of a product
_NETWORK = 0.8  # speed of a network over that of a matrix product
_COMPILE = {"cpu": 6.0}  # seconds for the programs of a predictor, on a machine of the usual speed
_COMPILE_ELSEWHERE = 20.0
_USUAL = 100e9  # operations per second of two cores
_SIDE = 1536


class Cost(NamedTuple):
    """Operations at the speed of a matrix product, and kinds of programs to compile."""

    flop: float = 0.0
    programs: int = 0

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        """The cost of both, one after the other."""
        return Cost(self.flop + other.flop, self.programs + other.programs)

    def times(self, count: int) -> "Cost":
        """Several runs of the same programs."""
        return Cost(self.flop * count, self.programs)


def training(model: Model, data: TrainSet, epochs: int, predictions: int = 0) -> Cost:
    """Training a network on all images, and `predictions` of each."""
    n, passes = len(data.labels), GRADIENT * epochs + predictions
    return Cost(n * passes * forward_flop(model, tuple(data.images.shape[1:])) / _NETWORK, 1)


def judging(n: int, k: int) -> Cost:
    """Judging predictions once."""
    passes = PASSES * n + likelihood.PASSES * min(n, likelihood.ROWS)  # the latter for weak predictions: an upper bound
    return Cost(passes * k * (2 * k + ELEMENT))


def seconds(cost: Cost) -> float:
    """Predicted seconds on this machine as it is now."""
    rate, backend = measured_rate(), target()
    compiling = _COMPILE[backend] * _USUAL / rate if backend in _COMPILE else _COMPILE_ELSEWHERE
    return cost.flop / rate + cost.programs * compiling


@functools.cache
def measured_rate() -> float:
    """Operations per second of a float32 matrix product, measured once in about a second."""
    return machine.rate("float32", _SIDE)
