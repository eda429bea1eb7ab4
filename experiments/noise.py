"""Add label noise to a data set and report rates, class sizes and a checksum; optionally plot the confusion matrix.

Example: python -m experiments.noise --dataset cifar10 --kind symmetric --rate 0.4 --plot noise.png
"""

import json as json_format
import pathlib
from typing import Literal

import numpy as np

from ddjax import noise
from ddjax.data.digits import digits as digits_of_sklearn
from ddjax.noise import human, taxonomy
from ddjax.noise.labels import confusion
from ddjax.noise.spec import RATELESS, reads
from ddjax.ranges import Seed, Share, checked
from experiments.display.cli import check_file, main

TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "tiny_imagenet": "Tiny-ImageNet", "digits": "Digits"}
SUPERCLASSES = tuple(taxonomy.CIFAR100_SUPERCLASSES)


@checked
def inspect(
    dataset: Literal["cifar10", "cifar100", "tiny_imagenet", "digits"] = "cifar10",
    kind: str = "symmetric",
    rate: Share = 0.0,
    seed: Seed = 0,
    sampler: str = "numpy_legacy",
    order: Literal["original", "tfds"] = "original",
    labels: pathlib.Path | None = None,
    matrix: pathlib.Path | None = None,
    json: bool = False,
    plot: pathlib.Path | None = None,
) -> None:
    """Corrupt the training labels of a data set and print what changed.

    Only labels are needed, except for digits, which scikit-learn contains.

    Args:
        dataset: data set of the labels. The labels of CIFAR are read from the CIFAR-N label files.
        kind: clean, a kind of matrix noise, a human label set, human_surrogate:SET, custom, or module:ATTRIBUTE.
        rate: nominal noise rate; 0 for kinds that have a fixed rate.
        seed: seed of the sampler.
        sampler: numpy_legacy (equal to published noise, bit for bit) or jax (one key per example).
        order: order in which numpy_legacy draws for the examples.
        labels: .pt, .npy or .csv file with the clean (and human) labels of CIFAR, if not in the default directory.
        matrix: .npy or .csv file with the transition matrix of --kind custom.
        json: print the record as one JSON line at the end.
        plot: file for a picture of the confusion matrix (.png, .pdf or .svg).

    Raises:
        ValueError: the noise is not possible on this data set, or a file is wrong.
    """
    if plot:
        from experiments.display import figures

        check_file("--plot", plot)
        figures.format_of(plot)
    spec = noise.NoiseSpec(
        kind=kind,
        rate=rate,
        seed=seed,
        sampler=sampler,
        order=order,
        labels_file=str(labels) if labels and "labels_file" in reads(kind) else None,
        matrix_file=str(matrix) if matrix else None,
    )
    if rate and kind.partition(":")[0] == "pmd":
        raise ValueError(
            f"--kind {kind} needs the predictions of a teacher, which this command does not train: choose another "
            f"kind, or run experiments.one --noise {kind}, which trains one"
        )
    if rate and kind == "part_dependent" and dataset != "digits":
        raise ValueError(
            f"--kind {kind} depends on the images, and this command reads those of digits alone: take --dataset "
            f"digits, or run experiments.one --dataset {dataset} --noise {kind}"
        )
    clean, names, images = load(dataset, labels, coarse=kind.endswith("noisy100_coarse"))
    given, record = noise.apply(spec, clean, np.arange(len(clean)), len(names), dataset, images=images)
    record = {"dataset": dataset, **record}
    print(summary(record, names))
    if plot:
        draw(plot, confusion(clean, given, len(names))[0], record, names)
        print(f"picture         {plot}")
    if json:
        print(json_format.dumps(record))


def load(
    dataset: str, file: pathlib.Path | None, coarse: bool
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray | None]:
    """Clean training labels [n] and class names [k]; the images [n h w c] of digits, for other data sets None."""
    if dataset in human.FILES:
        clean = noise.clean_labels(dataset, file)
        if dataset == "cifar10":
            return clean, taxonomy.CIFAR10, None
        if coarse:
            return taxonomy.CIFAR100_COARSE[clean], SUPERCLASSES, None
        return clean, tuple(str(c) for c in range(100)), None
    if file:
        raise ValueError(f"--labels is only for cifar10 and cifar100; leave it out for {dataset}")
    if dataset == "tiny_imagenet":
        return np.repeat(np.arange(200), 500), tuple(str(c) for c in range(200)), None
    digits = digits_of_sklearn()
    return digits.labels, digits.class_names, digits.images


def summary(record: dict, names: tuple[str, ...]) -> str:
    """The record as lines of text."""
    before, after = record["clean_counts"], record["given_counts"]
    lines = [
        f"noise           {record['kind']} on {record['dataset']}, {record['n']} training labels, {len(names)} classes",
        f"nominal rate    {record['rate'] if record['kind'] not in RATELESS else 'none: this kind has a fixed rate'}",
        f"realised rate   {record['effective_rate']:.5f} ({record['flips']} labels changed)",
        f"sampler         {record['sampler'] or 'none: nothing is drawn'}, seed {record['seed']}",
        f"checksum        {record['checksum']} (original order)",
    ]
    if record["order"] == "tfds":
        lines.append(f"                {record['checksum_in_order']} (tfds order, as drawn)")
    if len(names) > 20:
        return "\n".join([*lines, f"class sizes     {min(before)}..{max(before)} -> {min(after)}..{max(after)}"])
    width = max(map(len, names))
    sizes = [f"  {name:<{width}} {was:>6} -> {now:>6}" for name, was, now in zip(names, before, after, strict=True)]
    return "\n".join([*lines, "class sizes     clean -> given", *sizes])


def draw(path: pathlib.Path, shares: np.ndarray, record: dict, names: tuple[str, ...]) -> None:
    """Plot the realised confusion matrix [k k]: row = clean class, column = given label."""
    from experiments.display import figures

    groups = 5 if record["dataset"] == "cifar100" and len(names) == 100 else 0
    if groups:
        members = np.concatenate([*taxonomy.CIFAR100_SUPERCLASSES.values()])
        shares, names = shares[np.ix_(members, members)], SUPERCLASSES
    figure, axes = figures.heat(100 * shares, names, "given label", "clean label", gamma=0.4, groups=groups)
    nominal = f", nominal rate {record['rate']:g}" if record["rate"] else ""
    drawn = f", seed {record['seed']}, {record['order']} order" if record["sampler"] == "numpy_legacy" else ""
    axes.set_title(
        f"{TITLES[record['dataset']]}: {record['kind'].replace('_', ' ')}{nominal}\n"
        f"{record['effective_rate']:.2%} of {record['n']} labels changed{drawn}",
        loc="left",
        fontsize=10,
    )
    figures.save(figure, path)


if __name__ == "__main__":
    main(inspect, description=__doc__)
