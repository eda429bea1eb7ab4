"""The named grids."""

from experiments.sweeping.grid import Grid

CLEAN = ("clean", 0.0)
SYMMETRIC = tuple(("symmetric", rate) for rate in (0.2, 0.4, 0.6, 0.8))
ASYMMETRIC = (("asymmetric", 0.2), ("asymmetric", 0.4))
HUMAN = (("aggre", 0.0), ("worst", 0.0))
LEARNED = ("rcig", "dance")
# Digits are 8x8 pixels: a few hundred steps do what thousands do on photographs.
SHORT = {
    "rcig": {
        0: {"width": 32, "steps": 300, "options": ("batch=256", "pool_size=10", "image_rate=0.01")},
        10: {"steps": 100},
    },
    "dance": {0: {"width": 32, "steps": 300}},
}

PRESETS: dict[str, Grid] = {
    "demo": Grid(
        noises=(CLEAN, ("symmetric", 0.4), ("asymmetric", 0.4)),
        methods=("random", *LEARNED, "full"),
        everywhere={"students": 2},
        of_method=SHORT,
    ),
    "figure2": Grid(("cifar10",), (CLEAN, *SYMMETRIC), ("random", *LEARNED, "full"), (1, 10, 50)),
    "figure4": Grid(("cifar10",), (CLEAN, *ASYMMETRIC), ("random", *LEARNED, "full"), (1, 10, 50)),
    "figure5": Grid(("cifar10",), (CLEAN, *HUMAN), ("random", *LEARNED, "full"), (1, 10, 50)),
    "tier_a": Grid(
        ("cifar10",), (CLEAN, *SYMMETRIC, *ASYMMETRIC, *HUMAN), ("random", *LEARNED, "full"), (10, 50), (0, 1, 2)
    ),
    "long_tail": Grid(
        ("cifar10",), (CLEAN, SYMMETRIC[1]), ("random", *LEARNED, "full"), (10,), everywhere={"imbalance": 100.0}
    ),
}
