"""Named grids."""

import dataclasses
import pathlib
from typing import Any

from ddjax.distillers.rcig.config import CONFIGS, PUBLISHED
from ddjax.names import choose
from experiments.sweeping.grid import Grid, Settings, from_file

CLEAN = ("clean", 0.0)
SYMMETRIC = tuple(("symmetric", rate) for rate in (0.2, 0.4, 0.6, 0.8))
ASYMMETRIC = tuple(("asymmetric", rate) for rate in (0.2, 0.4, 0.6, 0.8))
HUMAN = tuple((kind, 0.0) for kind in ("aggre", "rand1", "rand2", "rand3", "worst"))
LEARNED = ("rcig", "datm", "dance")
METHODS = ("random", *LEARNED, "full")
# Digits have 8x8 pixels, so a few hundred steps are enough.
SHORT: dict[str, dict[int, Settings]] = {
    "rcig": {
        0: {"width": 32, "steps": 200, "options": ("batch=256", "pool_size=10", "image_rate=0.01")},
        10: {"steps": 60},
    },
    "datm": {0: {"width": 32, "steps": 150}, 10: {"steps": 30}},
    "dance": {0: {"width": 32, "steps": 150}},
    "full": {0: {"students": 1, "epochs": 100}},
}
# On natural images: 20 hours on two cores by the plan. `python -m experiments.pilot` draws the curves they come from.
EXPERTS = (
    "experts=2",
    "expert_epochs=12",
    "early_last_start=4",
    "last_start=9",
    "match_epochs=3",
    "growth_steps=0",
    "short_class=real",
)
PHOTOGRAPHS: dict[str, dict[int, Settings]] = {
    "rcig": {
        0: {"options": ("width=20", "batch=256", "pool_size=10", "inner_steps=10", "hinv_steps=10", "image_rate=0.01")},
        1: {"steps": 200},
        10: {"steps": 100},
        50: {"steps": 30},
    },
    "datm": {
        1: {"steps": 100, "options": (*EXPERTS, "inner_steps=20")},
        10: {"steps": 60, "options": (*EXPERTS, "inner_steps=20")},
        50: {"steps": 60, "options": (*EXPERTS, "inner_steps=20", "inner_batch=50")},
    },
    "dance": {
        0: {"options": ("members=2", "pool_epochs=4", "batch=64", "cap=100")},
        1: {"steps": 200},
        10: {"steps": 150},
        50: {"steps": 80},
    },
    "dm": {0: {"options": ("batch=64",)}, 1: {"steps": 200}, 10: {"steps": 200}, 50: {"steps": 150}},
    "full": {0: {"epochs": 60}},
}
AUGMENTED: dict[str, dict[int, Settings]] = {"full": {0: {"epochs": 15, "baseline": "B-DANCE"}}}
STUDIED = (CLEAN, *SYMMETRIC, *ASYMMETRIC[:2], HUMAN[0], HUMAN[-1])


def photographs(
    seeds: tuple[int, ...], noises: tuple[tuple[str, float], ...] = STUDIED, **everywhere: Any
) -> dict[str, Grid]:
    """Parts of the study on the first 10,000 images of CIFAR-10, by name."""
    shared = {
        "datasets": ("cifar10",),
        "noises": noises,
        "seeds": seeds,
        "protocols": ("quick",),
        "everywhere": {"limit": 10_000, "width": 48, "students": 1, **everywhere},
    }
    sets = ("random", "herding", "dm", "dance", "datm", "rcig")
    return {
        "full": Grid(methods=("full",), of_method=PHOTOGRAPHS, **shared),
        **{f"{ipc}": Grid(methods=sets, ipc=(ipc,), of_method=PHOTOGRAPHS, **shared) for ipc in (10, 50, 1)},
        "augmented": Grid(methods=("full",), of_method=AUGMENTED, **shared),
    }


def by_value(parts: dict[str, Grid]) -> tuple[Grid, ...]:
    """The parts in the order of their value."""
    return tuple(parts[name] for name in ("full", "10", "50", "augmented", "1"))


def on_network(network: str, width: int) -> tuple[Grid, Grid]:
    """Sets distilled with the ConvNet of the study, and training on the whole set, both scored on another network."""
    parts = photographs((0, 1), (CLEAN, SYMMETRIC[1]), network=network, width=width)
    own = {
        method: {
            ipc: settings | ({"options": (*settings.get("options", ()), "width=48")} if "options" in settings else {})
            for ipc, settings in PHOTOGRAPHS[method].items()
        }
        for method in ("dm", "dance", "datm")
    }
    return parts["full"], dataclasses.replace(parts["10"], of_method={**PHOTOGRAPHS, **own})


TAIL = photographs((0, 1, 2), (CLEAN, SYMMETRIC[1]), imbalance=50.0)


def published(dataset: str) -> dict[str, dict[int, Settings]]:
    """Settings published for clean data, used at every noise, because the noise is unknown in practice.

    DANCE uses its defaults. RCIG's settings are differences from its defaults, which are those of CIFAR-10.
    """
    rcig = {
        ipc: {"steps": steps, "options": tuple(f"{name}={value}" for name, value in CONFIGS[config].items())}
        for (data, ipc), (config, steps) in PUBLISHED.items()
        if data == dataset
    }
    return {"rcig": rcig, "datm": {0: {"options": (f"setting={dataset}",)}}}


def study(
    dataset: str, noises: tuple[tuple[str, float], ...], ipc: tuple[int, ...], methods: tuple[str, ...] = METHODS
) -> Grid:
    """A grid on one data set, with published settings."""
    return Grid((dataset,), noises, methods, ipc, of_method=published(dataset))


DEMO = Grid(
    noises=(CLEAN, ("symmetric", 0.4), ("asymmetric", 0.4)),
    methods=METHODS,
    everywhere={"students": 2, "epochs": 300},
    of_method=SHORT,
)
PRESETS: dict[str, tuple[Grid, ...]] = {
    "demo": (DEMO,),
    # the demo with more seeds, then with more rates
    "digits": (
        dataclasses.replace(DEMO, seeds=tuple(range(10))),
        dataclasses.replace(DEMO, noises=(SYMMETRIC[0], *SYMMETRIC[2:]), seeds=tuple(range(5))),
    ),
    "photographs": (*by_value(photographs((0, 1))), *by_value(photographs((2,)))),
    "photographs_tail": (TAIL["full"], TAIL["10"]),
    "photographs_networks": (*on_network("resnet18", 16), *on_network("vgg11", 32), *on_network("alexnet", 64)),
    # RCIG is published up to 50 images per class (10 on Tiny-ImageNet); for more, only DATM
    "figure2": (
        study("cifar10", (CLEAN, *SYMMETRIC), (1, 10, 50)),
        study("cifar10", (CLEAN, *SYMMETRIC), (500, 1000), ("random", "datm")),
        study("cifar100", (CLEAN, *SYMMETRIC), (1, 10, 50)),
        study("cifar100", (CLEAN, *SYMMETRIC), (100,), ("random", "datm")),
        study("tiny_imagenet", (CLEAN, *SYMMETRIC), (1, 10, 50), ("random", "datm", "dance", "full")),
        study("tiny_imagenet", (CLEAN, *SYMMETRIC), (1, 10), ("rcig",)),
    ),
    "figure4": (
        study("cifar10", (CLEAN, *ASYMMETRIC), (1, 10, 50)),
        study("cifar10", (CLEAN, *ASYMMETRIC), (500, 1000), ("random", "datm")),
        study("cifar100", (CLEAN, *ASYMMETRIC), (1, 10, 50)),
        study("cifar100", (CLEAN, *ASYMMETRIC), (100,), ("random", "datm")),
    ),
    "figure5": (
        study("cifar10", (CLEAN, *HUMAN), (1, 10, 50)),
        study("cifar10", (CLEAN, *HUMAN), (500, 1000), ("random", "datm")),
        study("cifar100", (CLEAN, ("noisy100", 0.0)), (1, 10, 50)),
    ),
    "cifar10": (study("cifar10", STUDIED, (10, 50)),),
    "long_tail": (
        Grid(
            ("cifar10",),
            (CLEAN, SYMMETRIC[0]),
            METHODS,
            (10,),
            everywhere={"imbalance": 100.0},
            of_method=published("cifar10"),
        ),
    ),
}


def asked(preset: str | None, config: pathlib.Path | None, usual: str) -> tuple[str, tuple[Grid, ...]]:
    """The name and the grids of `--config FILE`, or of `--preset NAME`, which is `usual` by default.

    Raises:
      ValueError: both are given, the preset is unknown, or the file is wrong.
    """
    if preset and config:
        raise ValueError(f"--preset {preset} and --config {config} both name a grid: leave one of them out")
    if config:
        return config.stem, (from_file(config),)
    name = preset or usual
    return name, choose(PRESETS, name, "preset")
