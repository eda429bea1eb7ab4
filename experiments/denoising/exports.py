"""The findings in the formats that Label Studio, FiftyOne, cleanlab and the package datasets import."""

import importlib.util
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from ddjax.denoising import DenoiseReport
from ddjax.storage.files import expanded, replacing, replacing_folder
from experiments.denoising import huggingface
from experiments.denoising.gallery import png
from experiments.denoising.pictures import files
from experiments.denoising.reading import Task
from experiments.denoising.settings import Settings

LOCAL = "/data/local-files/?d="  # the address of a file below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT


class Found(NamedTuple):
    """A report, the examples that it is about, and the settings of the command."""

    report: DenoiseReport
    task: Task
    settings: Settings

    @property
    def files(self) -> list[pathlib.Path] | None:
        """The file of each image, if the data are files."""
        task = self.task
        return None if task.dataset is None else files(self.settings.data or "", task.dataset, self.report.ids)

    def label(self, row: int, *, cleaned: bool = False) -> str:
        """The name of the given or the cleaned label."""
        labels = self.report.cleaned if cleaned else self.report.given
        return self.report.class_names[labels[row]]


def check(task: Task, settings: Settings) -> None:
    """Raise a ValueError for an export that is impossible with these data or packages, before labels are judged."""
    if "hf" in settings.export and not importlib.util.find_spec("datasets"):
        raise ValueError("--export hf needs the package datasets: pip install -e '.[hf]'")
    if "fiftyone" in settings.export:
        names = [] if task.ids is None else task.ids.tolist()
        if task.dataset is None or not files(settings.data or "", task.dataset, names):
            raise ValueError("--export fiftyone needs images in files: FiftyOne finds labels by the path of an image")
        if len(set(map(_without_suffix, names))) < len(set(names)):
            raise ValueError("--export fiftyone needs images whose paths differ without their suffix")


def _without_suffix(name: str) -> str:
    return pathlib.PurePosixPath(name).with_suffix("").as_posix()


def label_studio(found: Found, folder: pathlib.Path) -> pathlib.Path:
    """Write tasks, the most suspicious first, with the given label as annotation and the suggestion as prediction.

    `label_studio.xml` is the labelling interface that the tasks refer to. The address of a picture is its path below
    the folder that holds the data, for the server's local files; a picture without a file there is part of its task.
    """
    report, task, paths = found.report, found.task, found.files
    believed = report.looks_like
    root = pathlib.Path(os.path.abspath(expanded(found.settings.data or ""))).parent
    if task.images is not None:
        kind, value = "Image", "image"
    else:
        kind, value = "Text", "id" if task.texts is None else "text"

    def result(name: str) -> list[dict[str, Any]]:
        return [{"from_name": "label", "to_name": "example", "type": "choices", "value": {"choices": [name]}}]

    def one(row: int) -> dict[str, Any]:
        data = {"id": str(report.ids[row]), "given_label": found.label(row), "flagged": bool(report.flagged[row])}
        if task.images is not None:
            file = paths and pathlib.Path(os.path.abspath(paths[row]))  # links to files elsewhere stay links
            local = file and file.is_relative_to(root) and LOCAL + quote(file.relative_to(root).as_posix())
            data["image"] = local or png(task.images[row])
        if task.texts is not None:
            data["text"] = str(task.texts[row])
        said = {"model_version": f"ddjax {report.method}", "score": float(report.truth[row, believed[row]])}
        return {
            "data": data,
            "annotations": [{"result": result(found.label(row))}],
            "predictions": [{**said, "result": result(report.class_names[believed[row]])}],
        }

    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in report.class_names)
    with replacing(folder / "label_studio.xml", "w") as file:
        file.write(
            f'<View><{kind} name="example" value="${value}"/>'
            f'<Choices name="label" toName="example" choice="single">{choices}</Choices></View>\n'
        )
    path = folder / "label_studio.json"
    with replacing(path, "w") as file:
        json.dump([one(int(row)) for row in report.order()], file)
    return path


def fiftyone(found: Found, folder: pathlib.Path) -> pathlib.Path:
    """Write the labels of a FiftyOneImageClassificationDataset, by the path of each image without its suffix.

    The label is the given one, the confidence the probability that it is right; the suggestion is an attribute.
    """
    report = found.report
    labels = {
        _without_suffix(name): {
            "label": found.label(row),
            "confidence": float(1 - report.wrong[row]),
            "attributes": {
                "suggested_label": found.label(row, cleaned=True),
                "flagged": bool(report.flagged[row]),
                "suspicion": float(report.suspicion[row]),
            },
        }
        for row, name in enumerate(report.ids.tolist())
    }
    path = folder / "fiftyone.json"
    with replacing(path, "w") as file:
        json.dump({"classes": list(report.class_names), "labels": labels}, file)
    return path


def cleanlab(found: Found, folder: pathlib.Path) -> pathlib.Path:
    """Write the frame of `Datalab.get_issues("label")` as Parquet, with a row for each example."""
    path = folder / "issues.parquet"
    with replacing(path) as file:
        found.report.get_issues("label").to_parquet(file)
    return path


def hugging_face(found: Found, folder: pathlib.Path) -> pathlib.Path:
    """Write a folder for `datasets.load_from_disk`: the examples with the columns label and cleaned_label.

    A data set of the package keeps columns `id` and `label` of its own, unless `label` is the column that was judged.
    """
    import datasets

    report, task, path = found.report, found.task, folder / "hf"
    source = expanded(found.settings.data or "")
    kind = datasets.ClassLabel(names=[*report.class_names])
    added = {
        "id": report.ids.tolist(),
        "label": report.given.tolist(),
        "cleaned_label": report.cleaned.tolist(),
        "flagged": report.flagged.tolist(),
        "suspicion": report.suspicion.tolist(),
    }
    kinds = {"id": datasets.Value("string"), "label": kind, "cleaned_label": kind}
    kinds |= {"flagged": datasets.Value("bool"), "suspicion": datasets.Value("float32")}
    if task.texts is not None:
        added["text"], kinds["text"] = task.texts.tolist(), datasets.Value("string")
    if found.settings.data and huggingface.is_dataset(source):
        assert task.dataset is not None
        table = huggingface.table(source).select(task.dataset.ids.tolist())
        labels = huggingface.column_of_labels(source, table.features, found.settings.label_column)
        own = {"id", "label"} & set(table.column_names) - {labels}
        added, kinds = ({name: of[name] for name in of if name not in own} for of in (added, kinds))
        made = datasets.Dataset.from_dict(added, features=datasets.Features(kinds))
        table = table.remove_columns([name for name in added if name in table.column_names])
        made = datasets.concatenate_datasets([table, made], axis=1)
    else:
        if task.images is not None:
            paths = found.files
            added["image"] = [*map(str, paths)] if paths else [np.squeeze(image) for image in task.images]
            kinds["image"] = datasets.Image()
        made = datasets.Dataset.from_dict(added, features=datasets.Features(kinds))
    with replacing_folder(path) as aside:
        made.save_to_disk(str(aside))
    return path


EXPORTS: Mapping[str, Callable[[Found, pathlib.Path], pathlib.Path]] = {
    "labelstudio": label_studio,
    "fiftyone": fiftyone,
    "cleanlab": cleanlab,
    "hf": hugging_face,
}
