"""Every numeric argument of the public doors, with values below, above, NaN and of the wrong type.

`DOORS` says which values each argument must refuse, independently of the annotations that refuse them. Settings
records have too many fields for that: their values are made from the ranges in their annotations, and
`unbounded` finds a field that declares none. Run by doors.py, in a process without the test suite's own type checks.
"""

import functools
import math
import types
import typing

NAN, INF = math.nan, math.inf
WHOLE = (1.5, NAN, "3", True)
NATURAL = (-1, *WHOLE)
COUNT = (0, *NATURAL)
TWO = (1, *COUNT)
SEED = (2**32, *NATURAL)
REAL = (NAN, "0.5", True)
NON_NEGATIVE = (-0.1, INF, *REAL)
POSITIVE = (0.0, *NON_NEGATIVE)
SHARE = (1.1, *NON_NEGATIVE)
PART = (1.0, *SHARE)
POSITIVE_SHARE = (0.0, *SHARE)
RATIO = (0.9, *NON_NEGATIVE)
BOOLEAN = ("no", 0, None)
SHAPE = ((8, 8), (0, 8, 1), (8, "8", 1), (8, NAN, 1), 8)


def _none(*unused):
    raise AssertionError("the work began")


# name -> (what is called, with Things and one bad argument; whose signature has the arguments; argument -> bad values)
DOORS = {
    "NoiseSpec": (
        lambda t, **bad: t.ddjax.NoiseSpec("symmetric", **bad),
        lambda t: t.ddjax.NoiseSpec,
        {"rate": SHARE, "seed": SEED},
    ),
    "synthetic": (
        lambda t, **bad: t.ddjax.synthetic(**bad),
        lambda t: t.ddjax.synthetic,
        {
            "num_classes": TWO,
            "per_class": COUNT,
            "image_shape": SHAPE,
            "seed": SEED,
            "test_per_class": COUNT,
            "noise": NON_NEGATIVE,
        },
    ),
    "load": (
        lambda t, **bad: t.ddjax.load("digits", **bad),
        lambda t: t.ddjax.load,
        {"image_size": COUNT, "strict": BOOLEAN, "download": BOOLEAN, "verify": BOOLEAN},
    ),
    "prepare": (
        lambda t, **bad: t.ddjax.prepare(t.dataset, t.ddjax.NoiseSpec(), **bad),
        lambda t: t.ddjax.prepare,
        {"limit": (37, *COUNT), "imbalance": RATIO},
    ),
    "build": (
        lambda t, **bad: t.ddjax.build(**{"name": "convnet", "image_shape": (8, 8, 1), "num_classes": 3, **bad}),
        lambda t: t.ddjax.build,
        {
            **dict.fromkeys(("num_classes", "width", "depth", "width_growth"), COUNT),
            "image_shape": SHAPE,
            "beta": POSITIVE,
            "batch_momentum": SHARE,
        },
    ),
    "fit": (
        lambda t, **bad: t.ddjax.fit(t.model, t.recipe, t.examples, t.keys, **bad),
        lambda t: t.ddjax.fit,
        {"every": COUNT, "final": BOOLEAN},
    ),
    "evaluate": (
        lambda t, **bad: t.evaluate(**bad),
        lambda t: t.ddjax.evaluate,
        {"seed": SEED, "students": COUNT, "epochs": COUNT, "flip": BOOLEAN},
    ),
    "train_full": (
        lambda t, **bad: t.train_full(**bad),
        lambda t: t.ddjax.train_full,
        {"seed": SEED, "students": COUNT, "holdout": PART},
    ),
    "dd_ranking": (
        lambda t, **bad: t.ddjax.dd_ranking(
            t.distilled, t.distilled, **{"full_accuracy": 0.5, "test": t.data.test, "train": t.data.train, **bad}
        ),
        lambda t: t.ddjax.dd_ranking,
        {"full_accuracy": (50.0, *SHARE), "seed": SEED, "students": COUNT, "epochs": COUNT, "flip": BOOLEAN},
    ),
    "denoise": (
        lambda t, **bad: t.ddjax.denoise(t.dataset.images, t.dataset.labels, **bad),
        lambda t: t.ddjax.denoise,
        {
            **dict.fromkeys(("ipc", "students", "epochs", "plain_epochs", "width", "depth", "folds"), COUNT),
            "precision": POSITIVE_SHARE,
            "seed": SEED,
            "flip": BOOLEAN,
        },
    ),
    "denoise by cleanlab": (
        lambda t, **bad: t.ddjax.denoise(t.dataset.images, t.dataset.labels, method="cleanlab", **bad),
        None,
        {"folds": (1, 37)},
    ),
    "DenoiseReport.report": (
        lambda t, **bad: t.ddjax.DenoiseReport.report(None, **bad),
        lambda t: t.ddjax.DenoiseReport.report,
        {"most": NATURAL},
    ),
    "distill": (
        lambda t, **bad: t.ddjax.distill(
            t.ddjax.Distiller(_none, _none, _none), t.ddjax.Feed(None, _none), {}, **{"steps": 1, **bad}
        ),
        lambda t: t.ddjax.distill,
        {"steps": NATURAL, "first": NATURAL, "chunk": NATURAL},
    ),
    "RunOptions": (
        lambda t, **bad: t.ddjax.RunOptions(**bad),
        lambda t: t.ddjax.RunOptions,
        {"patience": COUNT},
    ),
    "Checkpoints": (
        lambda t, **bad: t.ddjax.Checkpoints(t.folder / "kept", {}, **bad),
        lambda t: t.ddjax.Checkpoints.__init__,
        {"keep": COUNT, "seconds": NON_NEGATIVE, "fresh": BOOLEAN, "wait": BOOLEAN},
    ),
    "trajectories": (
        lambda t, **bad: t.trajectories(**bad),
        lambda t: t.experts.trajectories,
        {"experts": COUNT, "seed": SEED, "store": BOOLEAN},
    ),
    "long_tail": (
        lambda t, **bad: t.noise.long_tail(t.dataset.labels, **{"ratio": 2.0, **bad}),
        lambda t: t.noise.long_tail,
        {"ratio": RATIO, "n_max": COUNT, "seed": SEED, "num_classes": TWO},
    ),
    "corrupt": (
        lambda t, **bad: t.noise.corrupt(t.dataset.labels, t.np.eye(3), **bad),
        lambda t: t.noise.corrupt,
        {"seed": SEED},
    ),
    "stratified_folds": (
        lambda t, **bad: t.held_out.stratified_folds(t.dataset.labels, **{"folds": 2, "seed": 0, **bad}),
        lambda t: t.held_out.stratified_folds,
        {"folds": (37, *TWO), "seed": SEED},
    ),
    "held_out_probabilities": (
        lambda t, **bad: t.held_out.held_out_probabilities(t.model, t.recipe, t.examples, t.keys[0], **bad),
        lambda t: t.held_out.held_out_probabilities,
        {"folds": TWO, "seed": SEED},
    ),
    "make_rule": (
        lambda t, **bad: t.robust.make_rule("ce", **bad),
        lambda t: t.robust.make_rule,
        {"epochs": COUNT},
    ),
}


def tried(things):
    """Every door with every bad value: (door, argument, value, the call)."""
    for name, (call, _, arguments) in DOORS.items():
        for argument, values in arguments.items():
            for value in values:
                yield name, argument, value, functools.partial(call, things, **{argument: value})
    for name, (call, hints) in settings(things).items():
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
    """Values that an annotation must refuse, made from its range."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return BOOLEAN
    if origin is typing.Annotated:
        base, within = inner[0], inner[1]
        step = 1 if base is int else 0.1
        low = [within.low] if within.above else [within.low - step]
        high = [] if within.high == INF else [within.high] if within.below else [within.high + step]
        endless = [] if base is int or within.infinite else [INF]
        return (*low, *high, *endless, *(WHOLE if base is int else REAL), None)
    if len(inner) == 2 and type(None) in inner:
        return [value for value in outside(inner[0]) if value is not None]
    return ()


def unbounded(hint):
    """Whether a number in the annotation has no range."""
    if typing.get_origin(hint) is typing.Annotated:
        return unbounded(typing.get_args(hint)[0]) and len(typing.get_args(hint)) < 2
    return hint in (int, float) or any(map(unbounded, typing.get_args(hint)))


def numeric(hint):
    """Whether an argument is a number or a boolean, or may be one."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType, typing.Annotated)
    return hint in (int, float, bool) or (union and any(map(numeric, typing.get_args(hint))))


def forgotten(things):
    """Numeric arguments that have no row here, and fields that declare no range."""
    found = []
    for name, (_, signature, arguments) in DOORS.items():
        hints = typing.get_type_hints(signature(things), include_extras=True) if signature else {}
        found += [
            f"{name}({argument})" for argument, hint in hints.items() if numeric(hint) and argument not in arguments
        ]
    for name, (_, hints) in settings(things).items():
        found += [f"{name}.{argument}" for argument, hint in hints.items() if unbounded(hint)]
    return found
