"""Image files as arrays, by Pillow; also the program of a process that decodes a part of many files.

It imports neither JAX nor the rest of the library, so that such a process starts quickly.
"""

import contextlib
import io
import json
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image, ImageOps

from ddjax.names import shown

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
ORIENTATION = 0x0112  # tag of EXIF; from 5 on, height and width are exchanged
GREY = {"1", "L", "LA", "La"}
DEEP = {"I", "I;16", "I;16B", "I;16L"}  # 16-bit grey; Pillow reads 16-bit colours as 8 bits
COLOUR = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
TASK, ARRAY, LEFT = "task.json", "images.npy", "left.json"  # files in the folder of a process


class Part(NamedTuple):
    """What happened to some files."""

    skipped: list[tuple[int, str]]  # row, and "name: reason", of each file that cannot be read
    grey: bool  # whether all others are grey
    odd: bool = False  # whether one has another size


def decoded(data: bytes, image_size: int | None) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w c"]:
    """The pixels of an image file, cropped and resized to a side of `image_size` if it is given."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image = ImageOps.exif_transpose(image)  # cameras note how they were held
        if image.mode in DEEP:
            plain = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))  # 0..65535 to 0..255
        elif image.mode in GREY | COLOUR:
            plain = image.convert("L" if image.mode in GREY else "RGB")  # the first frame of an animation
        else:
            raise ValueError(f"images of mode {image.mode} are not supported")
    return np.asarray(plain if image_size is None else fit_square(plain, image_size))


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """Crop the central square and average it to `size` x `size` with a box filter. An image of that size is unchanged.

    Example:
      >>> fit_square(Image.new("L", (8, 4)), 2).size
      (2, 2)
    """
    if image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((size, size), Image.Resampling.BOX, box=(left, top, left + side, top + side))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warnings of Pillow about metadata, and turn implausibly large images into errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def reader(root: pathlib.Path) -> Callable[[str], bytes]:
    """A function that returns the bytes of a file, whose name is relative to `root`."""
    return lambda name: (root / name).read_bytes()


def decode_into(
    images: UInt8[np.ndarray, "n h w 3"],
    names: Sequence[str],
    rows: Iterable[int],
    read: Callable[[str], bytes],
    image_size: int | None,
) -> Part:
    """Decode files into their rows of an array; those that cannot be read leave them as they are.

    Args:
      images: receives the pixels.
      names: of all files.
      rows: the files to decode.
      read: returns the bytes of a file.
      image_size: as in `decoded`.
    """
    skipped, grey = [], True
    with quiet():
        for row in rows:
            try:
                image = decoded(read(names[row]), image_size)
            except Exception as error:  # a decoder can raise any error on damaged bytes
                unknown = isinstance(error, PIL.UnidentifiedImageError)  # its message names a buffer
                reason = "not an image" if unknown else f"{type(error).__name__}: {error}"
                skipped.append((row, f"{shown(names[row])}: {shown(reason)}"))
                continue
            if image.shape[:2] != images.shape[1:3]:
                return Part(skipped, grey, odd=True)
            images[row] = image if image.ndim == 3 else image[..., None]
            grey &= image.ndim == 2
    return Part(skipped, grey)


def work(folder: pathlib.Path, first: int, step: int) -> None:
    """Decode every `step`-th of the parts that are left, and print a line for each: its first row and a `Part`."""
    task, left = (json.loads((folder / name).read_text()) for name in (TASK, LEFT))
    names, root = task["names"], pathlib.Path(task["root"])
    images = np.load(folder / ARRAY, mmap_mode="r+")
    for begin in left[first::step]:
        rows = range(begin, min(begin + task["at_once"], len(names)))
        part = decode_into(images, names, rows, reader(root), task["image_size"])
        images.flush()  # a line is printed for what is on the disk
        print(json.dumps([begin, *part]), flush=True)


if __name__ == "__main__":
    work(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
