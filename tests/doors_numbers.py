"""Every numeric argument of the public functions, with values outside its range; run by doors.py.

`DOORS` states the range of each argument independently of the annotations in ddjax. Settings records have too many
fields for that, so their values come from their annotations, and `unbounded` finds a field without a range.
"""

import functools
import math
import operator
import types
import typing
from typing import Annotated

from ddjax.ranges import Count, Natural, NonNegative, PartialShare, Positive, PositiveShare, Range, Seed, Share

NAN, INF = math.nan, math.inf
WHOLE = (1.5, NAN, "3", True)
REAL = (NAN, "0.5", True)
BOOLEAN = ("no", 0, None)
SHAPE = ((8, 8), (0, 8, 1), (8, "8", 1), (8, NAN, 1), 8)
Two = Annotated[int, Range(2)]
Ratio = Annotated[float, Range(1)]
EVALUATION = {"seed": Seed, "students": Count, "epochs": Count, "flip": bool}


def _none(*unused):
    raise AssertionError("the work began")


# name -> (other arguments, argument -> range or values); Things has functions for some names
DOORS = {
    "NoiseSpec": (lambda t: {"kind": "symmetric"}, {"rate": Share, "seed": Seed}),
    "synthetic": (
        lambda t: {},
        {
            **{"num_classes": Two, "per_class": Count, "image_shape": SHAPE, "seed": Seed},
            **{"test_per_class": Count, "noise": NonNegative},
        },
    ),
    "load": (
        lambda t: {"name": "digits"},
        {"image_size": Count, "strict": bool, "download": bool, "verify": bool},
    ),
    "prepare": (
        lambda t: {"dataset": t.dataset, "noise": t.ddjax.NoiseSpec()},
        {"limit": Annotated[int, Range(1, 36)], "imbalance": Ratio},
    ),
    "build": (
        lambda t: {"name": "convnet", "image_shape": (8, 8, 1), "num_classes": 3},
        {
            **dict.fromkeys(("num_classes", "width", "depth", "width_growth"), Count),
            **{"image_shape": SHAPE, "beta": Positive, "batch_momentum": Share},
        },
    ),
    "fit": (lambda t: {}, {"every": Count, "final": bool}),
    "evaluate": (lambda t: {}, EVALUATION),
    "train_full": (lambda t: {}, {"seed": Seed, "students": Count, "holdout": PartialShare}),
    "dd_ranking": (lambda t: {}, {"full_accuracy": Share, **EVALUATION}),
    "denoise": (
        lambda t: {},
        {
            **dict.fromkeys(("ipc", "students", "epochs", "plain_epochs", "width", "depth", "folds"), Count),
            **{"precision": PositiveShare, "seed": Seed, "flip": bool},
        },
    ),
    "DenoiseReport.report": (lambda t: {"self": None}, {"most": Natural}),
    "distill": (
        lambda t: {
            "distiller": t.ddjax.Distiller(_none, _none, _none),
            **{"feed": t.ddjax.Feed(None, _none), "state": {}, "steps": 1},
        },
        {"steps": Natural, "first": Natural, "chunk": Natural},
    ),
    "RunOptions": (lambda t: {}, {"patience": Count}),
    "Checkpoints": (
        lambda t: {"folder": t.folder / "kept", "config": {}},
        {"keep": Count, "seconds": NonNegative, "fresh": bool, "wait": bool},
    ),
    "experts.trajectories": (
        lambda t: {
            **{"model": t.model, "recipe": t.recipe, "train": t.ready.train},
            **{"experts": 1, "folder": t.folder / "experts"},
        },
        {"experts": Count, "seed": Seed, "store": bool},
    ),
    "noise.long_tail": (
        lambda t: {"labels": t.dataset.labels, "ratio": 2.0},
        {"ratio": Ratio, "n_max": Count, "seed": Seed, "num_classes": Two},
    ),
    "noise.corrupt": (lambda t: {"labels": t.dataset.labels, "matrix": t.np.eye(3)}, {"seed": Seed}),
    "held_out.stratified_folds": (
        lambda t: {"labels": t.dataset.labels, "folds": 2, "seed": 0},
        {"folds": Annotated[int, Range(2, 36)], "seed": Seed},
    ),
    "held_out.held_out_probabilities": (
        lambda t: {"model": t.model, "recipe": t.recipe, "examples": t.examples, "key": t.keys[0]},
        {"folds": Two, "seed": Seed},
    ),
    "robust.make_rule": (lambda t: {"name": "ce"}, {"epochs": Count}),
}


def public(t, name):
    """A function of ddjax by its name."""
    return operator.attrgetter(name)(t if hasattr(t, name.partition(".")[0]) and "." in name else t.ddjax)


def tried(t):
    """Each argument with each value outside its range: (name of the function, argument, value, the call)."""
    for name, (others, arguments) in DOORS.items():
        function = getattr(t, name, None) or public(t, name)
        for argument, wanted in arguments.items():
            for value in wanted if wanted is SHAPE else outside(wanted):
                if value is not None or wanted is bool:
                    yield name, argument, value, functools.partial(function, **{**others(t), argument: value})
    for value in (1, 37):
        yield "denoise", "folds", value, functools.partial(t.denoise, method="cleanlab", folds=value)
    for name, (call, hints) in settings(t).items():
        for argument, hint in hints.items():
            for value in outside(hint):
                yield name, argument, value, functools.partial(call, **{argument: value})


def settings(t):
    """The settings records and rules: name -> (what makes one of its fields, the annotations of the fields)."""
    recipe = {"epochs": 1, "batch": 1, "rate": 0.1}
    records = {f"{name}'s configuration": (method.config, {}) for name, method in t.ddjax.DISTILLERS.items()}
    records |= {"Recipe": (t.ddjax.Recipe, recipe), "Sharpness": (t.Sharpness, {}), "Spec": (t.Spec, {"name": "own"})}
    found = {}
    for name, (kind, base) in records.items():
        found[name] = (lambda k=kind, b=base, **bad: k(**{**b, **bad}), t.ranges.annotations(kind))
    for name, published in t.robust.RULES.items():
        hints = typing.get_type_hints(published.make, include_extras=True)
        found[f"rule {name}"] = (published.make, {n: hint for n, hint in hints.items() if n != "return"})
    return found


def outside(hint):
    """Values that an annotation must refuse."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return BOOLEAN
    if origin is Annotated and isinstance(inner[1], Range):
        base, within = inner[0], inner[1]
        step = 1 if base is int else 0.1
        low = [within.low] if within.above else [within.low - step]
        high = [] if within.high == INF else [within.high] if within.below else [within.high + step]
        endless = [] if base is int or within.infinite else [INF]
        return (*low, *high, *endless, *(WHOLE if base is int else REAL), None)
    if len(inner) == 2 and type(None) in inner:
        return [value for value in outside(inner[0]) if value is not None]
    return ()


def numbers(hint):
    """Whether there is a number in the annotation."""
    return hint in (int, float) or any(map(numbers, typing.get_args(hint)))


def unbounded(hint):
    """Whether a number in the annotation has no range."""
    if typing.get_origin(hint) is Annotated:
        return unbounded(typing.get_args(hint)[0]) and len(typing.get_args(hint)) < 2
    return hint in (int, float) or any(map(unbounded, typing.get_args(hint)))


def numeric(hint):
    """Whether an argument is a number or a boolean, or may be one."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType, Annotated)
    return hint in (int, float, bool) or (union and any(map(numeric, typing.get_args(hint))))


def untested(t):
    """Numeric arguments that are not in the table above, and fields of settings that declare no range."""
    found = []
    for name, (_, arguments) in DOORS.items():
        function = public(t, name)
        function = function.__init__ if name == "Checkpoints" else function
        hints = typing.get_type_hints(function, include_extras=True)
        found += [f"{name}({each})" for each, hint in hints.items() if numeric(hint) and each not in arguments]
    for name, (_, hints) in settings(t).items():
        found += [f"{name}.{argument}" for argument, hint in hints.items() if unbounded(hint)]
    return found
