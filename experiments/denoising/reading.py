"""Inputs of the command: examples with given labels, and their images, features or predictions."""

import collections
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from ddjax.data import Dataset, folder, load_all, prepare, select
from ddjax.data.images import DifferentSizes
from ddjax.data.source import is_hidden
from ddjax.denoising import tables
from ddjax.denoising.inputs import class_numbers
from ddjax.denoising.vectors import by_class
from ddjax.names import few
from ddjax.noise import NoiseSpec, apply
from ddjax.storage.arrays import npz_headers, read_npz
from ddjax.storage.files import array_digest, expanded
from experiments.denoising import embedding, huggingface
from experiments.denoising.pictures import opener
from experiments.denoising.settings import Settings, least

SIDE = 64  # of images that differ in size, if no size is asked for
# what a run may write into the output folder; report.json is last, because `writing.clear` needs it
OUTPUTS = ("labels.csv", "cleaned.csv", "cleaned.npz", "gallery.html", "conflicts.csv", "skipped.txt", "issues.parquet")
OUTPUTS += ("label_studio.json", "label_studio.xml", "fiftyone.json", "hf", "detection.jsonl")
OUTPUTS += ("distilled.npz", "distilled.json", "report.npz", "report.json")


class Task(NamedTuple):
    """The examples.

    Attributes:
      name: of the data, for titles and folders.
      evidence: what is judged, as arguments of `ddjax.denoise`: one of images, features and pred_probs.
      given: labels as `ddjax.denoise` takes them.
      ids: [n] names of the examples, or None for rows.
      class_names: of class numbers, or None if the labels are names or have none.
      images: pictures for the page, if there are any.
      texts: texts for the page, if there are any.
      clean: true labels, where noise was added.
      dataset: what is judged of the data set that was loaded, if there are images.
    """

    name: str
    evidence: dict[str, Any]
    given: np.ndarray
    ids: np.ndarray | None
    class_names: tuple[str, ...] | None
    images: UInt8[np.ndarray, "n h w c"] | None = None
    texts: np.ndarray | None = None
    clean: Int[np.ndarray, "n"] | None = None
    dataset: Dataset | None = None

    @property
    def skipped(self) -> list[str]:
        """Files that could not be read, with the reason."""
        return [] if self.dataset is None else self.dataset.provenance.get("skipped") or []


def read(settings: Settings, options: dict[str, Any], rate: float, view: Any) -> Task:
    """Read everything that the settings name.

    Raises:
      ValueError: a file cannot be read, or the files do not match each other.
    """
    file = settings.features or settings.pred_probs
    matrix = None
    if file is not None:
        view.say(f"reading {file}")
        names = tables.PRED_PROBS if settings.pred_probs else tables.FEATURES
        with view.log():
            table = tables.read_table(file, names, settings.label_column)
        matrix = table.values
    if settings.data is None:
        assert settings.labels is not None and file is not None
        _check_output(settings, file.stem)
        view.say(f"reading {settings.labels}")
        with view.log():
            listed = tables.read_labels(settings.labels, settings.label_column)
        _as_many(matrix, len(listed.labels), f"labels in {settings.labels}", settings.pred_probs)
        given, classes = listed.labels, None
        if settings.pred_probs:
            matrix, given, classes = by_class(table, given, None)
        task = Task(file.stem, {settings.kind: matrix}, given, listed.ids, classes, texts=listed.texts)
        return task if settings.noise == "clean" else _with_noise(task, settings, rate)
    view.say(f"reading {settings.data}")
    dataset = _dataset(settings, options, view)
    _check_output(settings, dataset.name)
    if twice := [name for name, count in collections.Counter(dataset.class_names).items() if count > 1]:
        raise ValueError(f"several classes of {settings.data} are called {few(twice)}: give each a name of its own")
    if dataset.num_classes < 2:
        raise ValueError(
            f"all images of {settings.data} (there are {len(dataset.labels)}) have the class "
            f"{few(dataset.class_names)}: add images of a second class"
        )
    noise = NoiseSpec(kind=settings.noise, rate=rate, seed=settings.noise_seed)
    made = prepare(dataset, noise, limit=settings.limit, imbalance=settings.imbalance)
    empty = np.flatnonzero(np.bincount(made.train.labels, minlength=dataset.num_classes) == 0)
    if len(empty) and not settings.pred_probs:
        names = few([dataset.class_names[c] for c in empty])
        if not np.isin(empty, dataset.labels).all():
            remedy = "add images that can be read, or leave these classes out"
            if huggingface.is_dataset(expanded(settings.data)):
                remedy = "add a column of class names as text, without these classes, and choose it by --label-column"
            raise ValueError(f"no image of {settings.data} has the classes {names}: {remedy}")
        if settings.limit:
            raise ValueError(
                f"--limit {settings.limit} leaves no image of the classes {names}: raise it, or leave it out"
            )
    images = np.asarray(made.train.images)
    rows = np.searchsorted(dataset.ids, made.train.ids)
    if matrix is not None:
        if settings.pred_probs:
            matrix, *_ = by_class(table, dataset.labels, dataset.class_names)
        _as_many(matrix, len(dataset.labels), f"images of {settings.data}", settings.pred_probs)
        wanted = _file_rows(settings.data, len(dataset.labels))[rows]
        matrix = matrix if np.array_equal(wanted, np.arange(len(dataset.labels))) else np.take(matrix, wanted, axis=-2)
    elif settings.embed:
        opened = opener(settings.data, dataset, rows, settings.image_column)
        identity = [array_digest(images), settings.data]
        matrix = embedding.embedded(
            settings.embed, opened, len(images), identity, kept_in(settings, dataset.name), view
        )
    return Task(
        dataset.name,
        {settings.kind: images if matrix is None else matrix},
        np.asarray(made.train.labels),
        made.train.ids.astype(str) if dataset.keys is None else dataset.keys[rows],
        dataset.class_names,
        images=images,
        clean=None if settings.noise == "clean" else np.asarray(made.audit.labels),
        dataset=dataset if len(rows) == len(dataset.ids) else select(dataset, made.train.ids),
    )


def _with_noise(task: Task, settings: Settings, rate: float) -> Task:
    """The task with errors added to its labels, which are then the truth."""
    columns = task.class_names
    if settings.pred_probs and task.given.dtype.kind != "U":
        columns = [str(c) for c in range(task.evidence[settings.kind].shape[-1])]
    clean, names = class_numbers(task.given, columns, filled=columns is None)
    spec = NoiseSpec(kind=settings.noise, rate=rate, seed=settings.noise_seed)
    noisy = apply(spec, clean, np.arange(len(clean)), len(names))
    return task._replace(given=noisy.labels, class_names=names, clean=clean)


def output_of(settings: Settings, name: str) -> pathlib.Path:
    """The output folder of the command for the data of this name; a test with added noise has its own.

    By default it is named after the path of the data, so that files of one name in several folders do not share it.
    """
    place = expanded(settings.data or settings.features or settings.pred_probs or "").resolve()
    if place != pathlib.Path.cwd() and place.exists():
        inside = place.is_relative_to(pathlib.Path.cwd())
        name = str(place.relative_to(pathlib.Path.cwd() if inside else place.anchor))
    parts = [name, settings.judge] + [settings.noise] * (settings.noise != "clean")
    default = pathlib.Path("runs") / "denoise" / re.sub(r"[/\\:]", "_", "-".join(parts))
    return expanded(settings.out or default)


def kept_in(settings: Settings, name: str) -> pathlib.Path:
    """Where finished stages are kept."""
    return output_of(settings, name) / "stages"


def _check_output(settings: Settings, name: str) -> None:
    """Raise a ValueError if the output would replace a file that is read, or lie among the class folders."""
    out, data = output_of(settings, name).resolve(), expanded(settings.data or "")
    for file in (settings.data and data, settings.features, settings.pred_probs, settings.labels, settings.decisions):
        path = file and expanded(file).resolve()
        if path and path.name in OUTPUTS and path.parent == out:
            raise ValueError(f"{file} is read, and the output would replace it: choose another folder by --out")
    if not settings.data or not data.is_dir() or huggingface.is_dataset(data):
        return
    for part in folder.parts(data.resolve()):
        if part and out.is_relative_to(part) and not any(map(is_hidden, out.relative_to(part).parts)):
            raise ValueError(
                f"the output folder {out} lies in {part}, whose folders are classes: choose another one by --out"
            )


def _dataset(settings: Settings, options: dict[str, Any], view: Any) -> Dataset:
    assert settings.data is not None
    size = settings.image_size or (embedding.SHOWN if settings.embed else None)
    place = expanded(settings.data)
    if huggingface.is_dataset(place):
        columns = {"image_column": settings.image_column, "label_column": settings.label_column}
        return huggingface.load(place, image_size=size, **columns)
    if settings.image_column or settings.label_column:
        raise ValueError(
            f"--image-column and --label-column choose in a folder of the package datasets, which {settings.data} is "
            "not: leave them out"
        )
    if settings.image_size and place.suffix == ".npz" and place.is_file():
        raise ValueError(
            f"--image-size {settings.image_size} resizes image files, and {place} is an array: leave it out"
        )
    fewest = least(settings, options)
    with view.reading(settings.data) as report:
        try:
            return load_all(settings.data, image_size=size, least=fewest, report=report)
        except DifferentSizes:
            view.say(
                f"images differ in size: all are cropped and resized to {SIDE} x {SIDE}; --image-size N chooses N x N"
            )
            return load_all(settings.data, image_size=SIDE, least=fewest, report=report)


def _file_rows(source: str, count: int) -> Int[np.ndarray, "n"]:
    """The row in the source of each image: those of an .npz are loaded in the order of their ids."""
    path = expanded(source)
    if path.suffix != ".npz" or "ids" not in npz_headers(path):
        return np.arange(count)
    return np.argsort(read_npz(path, ["ids"])["ids"].reshape(count), kind="stable")


def _as_many(matrix: np.ndarray, count: int, what: str, pred_probs: Any) -> None:
    rows = matrix.shape[-2] if matrix.ndim > 1 else matrix.size
    if rows != count:
        raise ValueError(
            f"{'pred_probs' if pred_probs else 'features'} have {rows} rows, and there are {count} {what}: they must "
            "be the same examples in the same order. The first line of a .csv is its header"
        )
