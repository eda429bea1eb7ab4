"""Image files, lists of them, and arrays of images in one file."""

import numpy as np
from PIL import Image


def save(path, colour, size=(6, 6), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def write_csv(folder, rows, header="path,label"):
    (folder / "list.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return folder / "list.csv"


def pets(root):
    """Write two classes, 60 flat images each, coloured by class and number; no test set."""
    for c, name in enumerate(["cat", "dog"]):
        for i in range(60):
            save(root / name / f"{i}.png", (100 * c, i, 7))
    return root


def npz(path, **changes):
    """Write 40 images of four classes, whose pixels are their numbers, and 8 test images; None leaves an array out."""
    n = np.arange(40)
    arrays = {
        "images": np.tile(n.astype(np.uint8)[:, None, None, None], (1, 5, 5, 3)),
        "labels": n % 4,
        "test_images": np.zeros((8, 5, 5, 3), np.uint8),
        "test_labels": n[:8] % 4,
    }
    arrays = {key: value for key, value in {**arrays, **changes}.items() if value is not None}
    np.savez(path, **arrays)
    return path
