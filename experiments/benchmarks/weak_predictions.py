"""Make weak predictions for the benchmark `judge`: cross-validated on labels with known errors.

Example: python -m experiments.benchmarks.weak_predictions weak --cifar-rows 0 10000 --data-dir TFDS
"""

import pathlib
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Float, Int

from ddjax.ranges import Natural
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
REPEATS = 3  # of one predictor, by other folds or other typical patches


def given_labels(
    truth: Int[np.ndarray, "n"], kind: str, rate: float, seed: int, classes: int = 10
) -> Int[np.ndarray, "n"]:
    """Labels drawn through a channel. Of ten classes, `classcond` flips each at a rate of its own to three."""
    rng, eye = np.random.default_rng(seed), np.eye(classes)
    channel = (1 - rate) * eye + rate / (classes - 1) * (1 - eye)
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


Made = Iterator[tuple[str, Float[np.ndarray, "*s n k"], Int[np.ndarray, "n"], Int[np.ndarray, "n"]]]


def digits() -> Made:
    """Logistic regression on a few pixels, also repeated, naive Bayes, random forests and nearest neighbours."""
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
    models = [(name, LogisticRegression(max_iter=300), columns, 1) for name, columns in pixels.items()]
    models.append(("nb", GaussianNB(var_smoothing=1e-2), slice(None), 1))
    models.append(("knn10", KNeighborsClassifier(25), pixels["lr10"], 1))
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0)
    models.append(("rf10", forest, pixels["lr10"], 1))
    models.append((f"lr10x{REPEATS}", LogisticRegression(max_iter=300), pixels["lr10"], REPEATS))
    models.append((f"rf10x{REPEATS}", forest, pixels["lr10"], REPEATS))
    for seed, (kind, rate) in enumerate(CHANNELS):
        given = given_labels(truth, kind, rate, seed)
        splits = [StratifiedKFold(FOLDS, shuffle=True, random_state=seed + 100 * i) for i in range(REPEATS)]
        for name, model, columns, times in models:
            made = [
                cross_val_predict(model, images[:, columns], given, cv=split, method="predict_proba")
                for split in splits[:times]
            ]
            yield f"digits-{name}-{kind}{rate:g}", made[0] if times == 1 else np.stack(made), given, truth


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


def photographs(count: int) -> Made:
    """What the denoiser asks about a folder of 600 photographs, `ridge*3`, on draws of four classes of CIFAR-10."""
    from ddjax.data import load_all
    from ddjax.denoising.patches import patch_features
    from ddjax.denoising.proximity import left_out_logs

    data = load_all("cifar10")
    labels, images = np.asarray(data.labels), np.asarray(data.images)
    for draw in range(count):
        rng = np.random.default_rng(draw)
        classes = rng.choice(10, 4, replace=False)
        rows = np.concatenate([rng.choice(np.flatnonzero(labels == c), 150, replace=False) for c in classes])
        truth = np.repeat(np.arange(4), 150)
        features = [patch_features(images[rows], seed) for seed in range(REPEATS)]
        for kind, rate in (("right", 0.0), ("symmetric", 0.2), ("symmetric", 0.4), ("pair", 0.2)):
            given = given_labels(truth, kind, rate, draw, classes=4)
            logs = [left_out_logs(each, np.eye(4, dtype=np.float32)[given], given) for each in features]
            yield f"folder{draw}-{kind}{rate:g}", np.exp(np.stack(logs)), given, truth


def write(
    out: tyro.conf.Positional[pathlib.Path],
    cifar_rows: tuple[int, int] | None = None,
    folders: Natural = 0,
    data_dir: str | None = None,
) -> None:
    """Write a file of `pred_probs`, `given` and `truth` for each kind of prediction and of label noise.

    Args:
      out: the folder to write.
      cifar_rows: first image and number of images of CIFAR-10 with CIFAR-10N; by default the digits are written.
      folders: number of folders of 600 photographs of CIFAR-10, in place of the digits.
      data_dir: TFDS directory, if it is not the default.
    """
    if folders and cifar_rows:
        raise ValueError(f"--folders {folders} and --cifar-rows {cifar_rows} are two kinds of files: give one of both")
    use_data_dir(data_dir)
    out.mkdir(parents=True, exist_ok=True)
    made = cifar(*cifar_rows) if cifar_rows else photographs(folders) if folders else digits()
    for name, probabilities, given, truth in made:
        labels = {"given": given.astype(np.int32), "truth": truth.astype(np.int32)}
        np.savez(out / f"{name}.npz", pred_probs=probabilities.astype(np.float32), **labels)


if __name__ == "__main__":
    main(write, __doc__)
