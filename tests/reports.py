"""Denoise reports made by hand, and tables read back."""

import csv

import numpy as np

from ddjax.denoising import DenoiseReport


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def report_on(ids, given, wrong, truth, class_names, **more):
    """Labels are flagged that are wrong with a probability above one half; suggested is the likeliest other class."""
    flagged = wrong > 0.5
    others = np.where(np.eye(len(class_names), dtype=bool)[given], -1, truth)
    fields = {
        "ids": np.asarray(ids),
        "same_as": np.arange(len(given)),
        "given": given,
        "suggested": np.where(flagged, others.argmax(axis=1), given),
        "suspicion": wrong,
        "wrong": wrong,
        "truth": truth,
        "flagged": flagged,
        "scores": {"loss": wrong},
        "class_names": tuple(class_names),
        "score": "loss",
        "method": "by hand",
        "expected_precision": 0.9,
        "noise_rate": 0.3,
        "seconds": {},
        "settings": {},
    }
    return DenoiseReport(**fields | more)
