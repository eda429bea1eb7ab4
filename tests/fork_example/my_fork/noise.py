"""Noise from outside: a matrix, and an annotator that looks at the images."""

import numpy as np

from ddjax.noise import Annotator, NoiseSpec, Truth


def neighbours(rate, num_classes, **context):
    """Each class becomes the one before or the one after with probability rate / 2 each: [k k], rows sum to 1."""
    matrix = np.eye(num_classes) * (1 - rate)
    for c in range(num_classes):
        matrix[c, (c - 1) % num_classes] += rate / 2
        matrix[c, (c + 1) % num_classes] += rate / 2
    return matrix


def _faint(spec: NoiseSpec, truth: Truth):
    """The faintest images are misread, as some other class."""
    contrast = np.std(np.asarray(truth.images, np.float32), axis=(1, 2, 3))
    wrong = np.argsort(contrast, kind="stable")[: round(spec.rate * len(contrast))]
    given = np.array(truth.labels)
    shift = np.random.default_rng(spec.seed).integers(1, truth.num_classes, len(wrong))
    given[wrong] = (given[wrong] + shift) % truth.num_classes
    return given


faint = Annotator(_faint)
