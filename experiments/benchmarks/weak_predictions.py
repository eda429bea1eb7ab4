"""Make weak predictions for the benchmark `judge`: cross-validated on labels with known errors.

Example: python -m experiments.benchmarks.weak_predictions weak --cifar-rows 0 10000 --data-dir TFDS
"""

import pathlib
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Float, Int

from experiments.benchmarks.judging import FOLDS
from experiments.display.cli import main, use_data_dir

CHANNELS = (
    ("right", 0.0),
    ("symmetric", 0.2),
    ("symmetric", 0.4),
    ("pair", 0.2),
    ("pair", 0.4),
    ("asymmetric", 0.2),
    ("asymmetric", 0.4),
    ("classcond", 0.25),
)
HUMAN = ("aggre", "worst")
FLIPS = ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3))  # truck, bird, deer, cat and dog
PIXELS = (6, 10, 16)
ATOMS = 200


def given_labels(truth: Int[np.ndarray, "n"], kind: str, rate: float, seed: int) -> Int[np.ndarray, "n"]:
    """Labels of ten classes drawn through a channel; `classcond` flips each class at a rate of its own to three."""
    rng, eye = np.random.default_rng(seed), np.eye(10)
    channel = (1 - rate) * eye + rate / 9 * (1 - eye)
    if kind == "pair":
        channel = (1 - rate) * eye + rate * np.roll(eye, 1, axis=1)
    elif kind == "asymmetric":
        channel = eye.copy()
        for true, given in FLIPS:
            channel[true, true], channel[true, given] = 1 - rate, rate
    elif kind == "classcond":
        channel = eye.copy()
        for true in range(10):
            others = rng.choice([c for c in range(10) if c != true], 3, replace=False)
            flipped = rate * 2 * rng.random()
            channel[true, true], channel[true, others] = 1 - flipped, flipped * rng.dirichlet(np.ones(3))
    return (channel[truth].cumsum(axis=1) > rng.random((len(truth), 1))).argmax(axis=1)


Made = Iterator[tuple[str, Float[np.ndarray, "n k"], Int[np.ndarray, "n"], Int[np.ndarray, "n"]]]


def digits() -> Made:
    """Logistic regression on a few pixels, naive Bayes, random forests and nearest neighbours."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier

    images, truth = load_digits(return_X_y=True)
    images, rng = images / 16, np.random.default_rng(5)
    varied = np.flatnonzero(images.std(axis=0) > 0.1)
    pixels = {f"lr{count}": rng.choice(varied, count, replace=False) for count in PIXELS} | {"lr64": slice(None)}
    models = [(name, LogisticRegression(max_iter=300), columns) for name, columns in pixels.items()]
    models.append(("nb", GaussianNB(var_smoothing=1e-2), slice(None)))
    models.append(("knn10", KNeighborsClassifier(25), pixels["lr10"]))
    models.append(("rf10", RandomForestClassifier(100, min_samples_leaf=3, random_state=0), pixels["lr10"]))
    for seed, (kind, rate) in enumerate(CHANNELS):
        given = given_labels(truth, kind, rate, seed)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for name, model, columns in models:
            probabilities = cross_val_predict(model, images[:, columns], given, cv=folds, method="predict_proba")
            yield f"digits-{name}-{kind}{rate:g}", probabilities, given, truth


def cifar(first: int, count: int) -> Made:
    """The denoiser's `ridge` with half of its patches, on the training images from `first`."""
    from ddjax.data import load_all, prepare
    from ddjax.denoising.patches import patch_features
    from ddjax.denoising.proximity import left_out_logs
    from ddjax.noise import NoiseSpec

    data, rows = load_all("cifar10"), slice(first, first + count)
    truth = np.asarray(data.labels)[rows]
    features = patch_features(np.asarray(data.images)[rows], 0, atoms=ATOMS)
    labels = {f"{kind}{rate:g}": given_labels(truth, kind, rate, i + 100) for i, (kind, rate) in enumerate(CHANNELS)}
    labels |= {kind: np.asarray(prepare(data, NoiseSpec(kind)).train.labels)[rows] for kind in HUMAN}
    for name, given in labels.items():
        logs = left_out_logs(features, np.eye(10, dtype=np.float32)[given], given)
        yield f"cifar{first}-ridge-{name}", np.asarray(jnp.exp(logs)), given, truth


def write(
    out: tyro.conf.Positional[pathlib.Path], cifar_rows: tuple[int, int] | None = None, data_dir: str | None = None
) -> None:
    """Write a file of `pred_probs`, `given` and `truth` for each kind of prediction and of label noise.

    Args:
      out: the folder to write.
      cifar_rows: first image and number of images of CIFAR-10 with CIFAR-10N; by default the digits are written.
      data_dir: TFDS directory, if it is not the default.
    """
    use_data_dir(data_dir)
    out.mkdir(parents=True, exist_ok=True)
    for name, probabilities, given, truth in cifar(*cifar_rows) if cifar_rows else digits():
        made = {"given": given.astype(np.int32), "truth": truth.astype(np.int32)}
        np.savez(out / f"{name}.npz", pred_probs=probabilities.astype(np.float32), **made)


if __name__ == "__main__":
    main(write, __doc__)
