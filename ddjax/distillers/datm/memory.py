"""The memory of an outer step of DATM, predicted from shapes, and the cheapest way to make the step fit."""

import dataclasses
import functools
import logging
import math

from ddjax.experts.identity import parameters
from ddjax.training.arithmetic import products
from ddjax.types import Model

log = logging.getLogger("ddjax.datm")
FLOAT = 4
# in units of the outputs of a network's products: the memory of a second-order step, and what the derivative of a
# step keeps without recomputation; XLA's convolutions on accelerators need more workspace
AT_ONCE, AT_ONCE_XLA = 5.0, 9.2
KEPT = {"nothing": 0.0, "dots": 1.3, "everything": 6.8}


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The sizes that decide the memory of an outer step."""

    parameters: int
    unit: int  # bytes of the outputs of all products, for one image
    distilled: int  # numbers in images and labels
    image: int  # numbers in one image
    steps: int
    batch: int
    segments: int  # held at the same time
    at_once: float  # memory of a second-order step, in units of `unit`


@dataclasses.dataclass(frozen=True)
class Way:
    """How the step is computed."""

    hypergradient: str
    remat: str
    pieces: int  # of an inner batch


@functools.lru_cache(maxsize=16)
def unit_of(model: Model, image_shape: tuple[int, ...]) -> int:
    """Bytes of the outputs of all convolutions and matrix products, for one image."""
    outputs = (out.aval for each in products(model, image_shape) for out in each.outvars)
    return sum(math.prod(out.shape) * out.dtype.itemsize for out in outputs)


def growth(shapes: Shapes, way: Way) -> int:
    """Bytes that each additional inner step needs."""
    if way.hypergradient == "tesla_replay":
        return 0
    kept = KEPT[way.remat] if way.hypergradient == "exact" else 0.0
    weights = FLOAT * shapes.parameters * (1 if kept == 0 else 2)  # kernels' gradients are products too
    return int(shapes.segments * (weights + kept * shapes.unit * shapes.batch))


def peak(shapes: Shapes, way: Way) -> int:
    """Peak memory in bytes: learned arrays and momenta, segments, what inner steps keep, and one inner step."""
    learned = FLOAT * 6 * shapes.distilled  # values, momenta, gradients, sums of gradients, and updated values
    weights = FLOAT * 8 * shapes.parameters * shapes.segments
    step = shapes.segments * (
        shapes.at_once * shapes.unit * shapes.batch / way.pieces + 4 * FLOAT * shapes.image * shapes.batch
    )
    return int(learned + weights + shapes.steps * growth(shapes, way) + step)


@functools.lru_cache(maxsize=64)
def fitted(shapes: Shapes, way: Way, gib: float) -> Way:
    """The first way, in order of cost, that fits into the memory.

    First, less is kept for the derivative; then, batches are cut into more pieces. Neither changes the mathematics.

    Args:
      shapes: the sizes.
      way: the configured way, which is the cheapest.
      gib: the bound in GiB; 0 sets no bound.

    Raises:
      ValueError: no way fits.
    """
    bytes_ = peak(shapes, way)
    if gib and bytes_ > gib * 2**30:
        cuts = [n for n in range(way.pieces, shapes.batch + 1) if shapes.batch % n == 0]
        lean = [name for name in ("everything", "dots", "nothing") if KEPT[name] <= KEPT[way.remat]]
        ways = [dataclasses.replace(way, remat=name) for name in lean]
        ways += [dataclasses.replace(ways[-1], pieces=n) for n in cuts]
        fits = [candidate for candidate in ways if peak(shapes, candidate) <= gib * 2**30]
        if not fits:
            least = peak(shapes, ways[-1])
            more = "" if way.hypergradient == "tesla_replay" else "hypergradient='tesla_replay' keeps no inner step; "
            raise ValueError(
                f"memory={gib:g} GiB cannot hold an outer step: remat='nothing' and micro_batch=1 still need "
                f"{least / 2**30:.2f} GiB, {growth(shapes, ways[-1]) / 2**20:.1f} MiB for each of {shapes.steps} inner "
                f"steps. {more}use fewer inner_steps, fewer segments or a smaller width, or raise memory"
            )
        way, bytes_ = fits[0], peak(shapes, fits[0])
    log.info(
        "about %.2f GiB for an outer step: %d inner steps of %d images in %d pieces, %.1f MiB each (%s, remat %s)",
        bytes_ / 2**30,
        shapes.steps,
        shapes.batch,
        way.pieces,
        growth(shapes, way) / 2**20,
        way.hypergradient,
        way.remat,
    )
    return way


def shapes_of(
    model: Model, image_shape: tuple[int, ...], m: int, k: int, steps: int, batch: int, held: int, platform: str
) -> Shapes:
    """The sizes of an outer step on m images of k classes that computes `held` segments at a time, on a platform."""
    image = math.prod(image_shape)
    return Shapes(
        parameters=parameters(model),
        unit=unit_of(model, tuple(image_shape)),
        distilled=m * (image + k),
        image=image,
        steps=steps,
        batch=batch,
        segments=held,
        at_once=AT_ONCE if platform == "cpu" else AT_ONCE_XLA,
    )
