"""Rows as experiments write them, with accuracies of the test's choosing."""

import dataclasses

from ddjax.storage.rows import fingerprint
from experiments.running.config import Experiment

SPREAD = (-0.01, 0.0, 0.01)
CLASSES = [f"class {c}" for c in range(10)]


def row(accuracy, method="toy", ipc=10, noise="symmetric", rate=0.4, seed=0, **more):
    """One row; for method full, `best` and `picked` are given with it. Settings go into `config`."""
    fields = {field.name for field in dataclasses.fields(Experiment)}
    config = Experiment(
        noise=noise, rate=rate, method=method, ipc=ipc, seed=seed, **{k: v for k, v in more.items() if k in fields}
    )
    full = method == "full"
    made = {
        "dataset": config.dataset,
        "noise": noise,
        "rate": rate,
        "effective_rate": rate,
        "method": method,
        "ipc": None if full else ipc,
        "seed": seed,
        "protocol": "B-PLAIN" if full else config.protocol,
        "last_acc": accuracy,
        "best_acc": more.get("best", accuracy),
        "picked_acc": more.get("picked", accuracy) if full else None,
        "students": [accuracy],
        "train_images": 1000,
        "images": 10 * ipc,
        "hardware": "1 x toy",
        "command": "python -m experiments.one",
        "commit": "0123456789ab",
        "versions": {"jax": "0.10"},
        "config": dataclasses.asdict(config),
    }
    extra = {k: v for k, v in more.items() if k not in fields and k not in ("best", "picked")}
    return made | extra | {"fingerprint": fingerprint(config)}


def seeds(accuracy, spread=SPREAD, **fields):
    """Three rows around an accuracy; best and picked move with it."""
    moved = [{k: v + d if k in ("best", "picked") and v is not None else v for k, v in fields.items()} for d in spread]
    return [row(accuracy + d, seed=s, **one) for s, (d, one) in enumerate(zip(spread, moved, strict=True))]


def confusion(right, classes=10):
    """Counts of 100 test images a class, `right` of them on the diagonal, the rest on the next class."""
    return [
        [right if j == i else 100 - right if j == (i + 1) % classes else 0 for j in range(classes)]
        for i in range(classes)
    ]


def extras(right):
    """The per-class columns of a row."""
    return {
        "class_names": CLASSES,
        "confusion": confusion(right),
        "recall": [right / 100] * 10,
        "denoising": {"relabel_acc": 0.8, "kept_clean": 0.9, "corrected": right / 100, "memorised": 0.05},
    }


def study_rows():
    """Three rates of two kinds of noise, two distillers and a selection at three sizes, three seeds."""
    rows = []
    for noise, rates in (("clean", (0.0,)), ("symmetric", (0.2, 0.4, 0.6, 0.8)), ("asymmetric", (0.2, 0.4))):
        for rate in rates:
            fall = {"clean": 0.0, "symmetric": 0.7 * rate, "asymmetric": 0.35 * rate}[noise]
            where = {"noise": noise, "rate": rate}
            rows += seeds(
                0.92 - fall, method="full", best=0.93 - fall / 4, picked=0.925 - fall / 3, **where, **extras(60)
            )
            for method, slope in (("toy", 0.2), ("other", 0.35), ("random", 0.8)):
                for ipc, gain in ((1, 0.0), (10, 0.08), (50, 0.11)):
                    accuracy = 0.74 + gain - slope * rate * (2 if noise == "asymmetric" else 1)
                    rows += seeds(accuracy, method=method, ipc=ipc, **where, **extras(80))
    return rows
