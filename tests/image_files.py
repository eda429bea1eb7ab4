"""Image files and lists of them."""

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
