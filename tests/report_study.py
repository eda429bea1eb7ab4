"""Result rows with given accuracies, saved sets, and a parser of pages, for the tests of reports."""

import dataclasses
import html.parser

import numpy as np

from ddjax import preprocess
from ddjax.distilled import DistilledSet
from ddjax.distilled.saving import save_distilled
from ddjax.storage.rows import fingerprint
from experiments.running.config import Experiment

SPREAD = (-0.01, 0.0, 0.01)
VOID = {"meta", "link", "img", "input", "br", "hr"}
CLASSES = [f"class {c}" for c in range(10)]


def row(accuracy, method="toy", ipc=10, noise="symmetric", rate=0.4, seed=0, **more):
    """Return a row. `best` and `picked` belong to method full; settings go into `config`."""
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
    """Return three rows around an accuracy; `best` and `picked` have the same spread."""
    moved = [{k: v + d if k in ("best", "picked") and v is not None else v for k, v in fields.items()} for d in spread]
    return [row(accuracy + d, seed=s, **one) for s, (d, one) in enumerate(zip(spread, moved, strict=True))]


def confusion(right, classes=10):
    """Return counts of 100 test images per class: `right` correct, the rest predicted as the next class."""
    return [
        [right if j == i else 100 - right if j == (i + 1) % classes else 0 for j in range(classes)]
        for i in range(classes)
    ]


def extras(right):
    """Return the per-class columns of a row."""
    return {
        "class_names": CLASSES,
        "confusion": confusion(right),
        "recall": [right / 100] * 10,
        "denoising": {"relabel_acc": 0.8, "kept_clean": 0.9, "corrected": right / 100, "memorised": 0.05},
    }


def study_rows():
    """Return rows of two kinds of noise, two distillers and a selection at three sizes, with three seeds."""
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


def saved_set(path, value=0.5, classes=10, ipc=1):
    """Save a distilled set of constant grey images, with one brightness per class."""
    train = np.full((4, 4, 4, 1), 255, np.uint8)
    transform = preprocess.fit("unit", train)
    labels = np.repeat(np.arange(classes), ipc)
    images = np.ones((len(labels), 4, 4, 1), np.float32) * (value * (labels + 1) / classes)[:, None, None, None]
    save_distilled(
        DistilledSet(
            images=images.astype(np.float32),
            labels=labels.astype(np.int32),
            preprocess=transform,
            space=transform.fingerprint,
            num_classes=classes,
        ),
        path,
    )


class Outline(html.parser.HTMLParser):
    """All start tags with their attributes; mismatched end tags fail."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
