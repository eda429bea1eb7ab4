"""Mistakes in data sets and labels, for doors_cases.py: (words, a function of `doors.Things`)."""

import struct
import zipfile
import zlib


def nan_image(t):
    images = t.np.zeros((40, 5, 5, 3), t.np.float32)
    images[3, 0, 0, 0] = t.np.nan
    t.npz(images=images, test_images=images[:4] * 0, test_labels=t.np.arange(4))


def outside_member(t):
    with zipfile.ZipFile(t.folder / "c.npz", "w") as archive:
        archive.writestr("../../evil.npy", b"\x93NUMPY")
    try:
        t.ddjax.load(t.folder / "c.npz", cache_dir=t.folder / "cache")
    finally:
        assert not list(t.folder.parent.glob("**/evil.npy"))


def bomb(path, side=60_000):
    """Write a PNG whose header announces an image of this size."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def link(path, target):
    path.unlink()
    path.symlink_to(target)


def other_size(path):
    from PIL import Image

    Image.new("RGB", (9, 7)).save(path)


def csv(t, text):
    (t.folder / "a.csv").write_text(text)
    t.ddjax.load(t.folder / "a.csv")


IMAGES = [  # of an .npz
    ("NaN or infinity in 1 images, the first at row 3", nan_image),
    (r"300; pixels must lie in \[0, 255\]", lambda t: t.npz(images=t.np.full((40, 5, 5, 3), 300))),
    ("must hold uint8 pixels.*complex128", lambda t: t.npz(images=t.np.zeros((40, 5, 5, 3), complex))),
    ("labels has shape", lambda t: t.npz(images=t.np.zeros((0, 5, 5, 3), t.np.uint8))),
    (r"1 \(grey\) or 3 \(RGB\)", lambda t: t.npz(images=t.np.zeros((40, 5, 5, 2), t.np.uint8))),
    ("not a readable .npz", outside_member),
]
FILES = [  # of a folder of images
    ("cannot be read.*cat/0.png", lambda t: t.pictures(lambda p: p.write_bytes(p.read_bytes()[:40]))),
    ("cannot be read.*cat/0.png: not an image", lambda t: t.pictures(lambda p: p.write_bytes(b""))),
    ("cannot be read.*cat/0.png: not an image", lambda t: t.pictures(lambda p: p.write_text("hello"))),
    ("cat/0.png: DecompressionBomb", lambda t: t.pictures(bomb)),
    (r"images differ in size.*image_size=32", lambda t: t.pictures(other_size)),
    ("cat/0.png: FileNotFoundError", lambda t: t.pictures(lambda p: link(p, p.parent / "gone.png"))),
    ("cat/0.png", lambda t: t.pictures(lambda p: link(p, p))),
]
LABELS = [
    # of an .npz
    ("must hold integers.*float64", lambda t: t.npz(labels=t.np.full(40, t.np.nan))),
    ("holds -1, first at row 0; classes count from 0", lambda t: t.npz(labels=t.np.arange(40) % 4 - 1)),
    (
        "holds class 3, first at row 5, but there are 3 classes",
        lambda t: t.npz(class_names=t.np.array(["a", "b", "c"])),
    ),
    (r"no training example for 1 of 3 classes \('1'\)", lambda t: t.npz(labels=t.np.arange(40) % 2 * 2)),
    ("class numbers are expected", lambda t: t.npz(labels=t.np.eye(4)[t.np.arange(40) % 4])),
    ("must hold integers.*<U1", lambda t: t.npz(labels=t.np.array(["a", "b"] * 20))),
    (r"duplicate ids: \[0\]", lambda t: t.npz(ids=t.np.zeros(40, int))),
    ("pickled objects are refused", lambda t: t.npz(labels=t.np.array([{}] * 40, object))),
    # of a .csv
    (r"a.csv, line 3: label is empty", lambda t: csv(t, "path,label\nx.png,1\ny.png,\n")),
    ("files that do not exist, such as .*passwd", lambda t: csv(t, "path,label\n../nothing/passwd,1\n")),
    # of denoise
    ("must be class numbers from 0, or names; got None at index 2", lambda t: t.denoise([1, "a", None, 2.0] * 9)),
    ("all class numbers or all names; got 1 at index 0 and 'a' at index 1", lambda t: t.denoise([1, "a"] * 18)),
    ("must hold integers.*float64", lambda t: t.denoise([0.0, 1.0, 2.0] * 12)),
    ("must hold integers.*bool", lambda t: t.denoise([True, False] * 18)),
    ("'nan' at index 1|nan at index 1", lambda t: t.denoise(["a", float("nan"), "b"] * 12)),
    ("hold.* 1000000000000", lambda t: t.denoise([0, 10**12] * 18)),
    (r"class_names must differ from each other; \['a'\] come more", lambda t: t.denoise(class_names=["a", "b", "a"])),
    (
        r"labels must be \[n\], one for each image; images are \(36, 8, 8, 1\); got \(35,\)",
        lambda t: t.denoise(t.dataset.labels[:-1]),
    ),
    ("two classes or more", lambda t: t.denoise(t.dataset.labels * 0)),
]
