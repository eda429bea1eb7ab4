"""Decode image files to one uint8 array with Pillow. Files that cannot be read are reported by name."""

import contextlib
import io
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import PIL
from jaxtyping import Bool, UInt8
from PIL import Image

from ddjax.data import processes
from ddjax.data.mapped import empty, taken
from ddjax.data.source import Work
from ddjax.decoding import FORMATS, ORIENTATION, decode_into, decoded, quiet, reader
from ddjax.names import few

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
DECODER = f"Pillow {PIL.__version__}"
MAX_SKIPPED = 0.01  # largest share of files that may be unreadable
RESIZE = "use image_size=32, for example, to crop and resize all"  # the end of messages about sizes that differ


class DifferentSizes(ValueError):
    """Images differ in size, and no size was asked for."""


class Decoded(NamedTuple):
    """The images of the readable files."""

    images: UInt8[np.ndarray, "m h w c"]
    kept: Bool[np.ndarray, "n"]  # which files were read
    skipped: list[str]  # "name: reason" of the other files


def differing_sizes(names: Sequence[str], read: Callable[[str], bytes]) -> str | None:
    """Compare the sizes in the headers of images. Returns a message if they differ, and None otherwise."""
    sizes: dict[tuple[int, int], list[str]] = {}
    with quiet():
        for name in names:
            # unreadable files are reported when they are decoded; a decoder can raise any error on damaged bytes
            with contextlib.suppress(Exception), Image.open(io.BytesIO(read(name)), formats=FORMATS) as image:
                sideways = image.getexif().get(ORIENTATION, 1) > 4
                sizes.setdefault(image.size[::-1] if sideways else image.size, []).append(name)
    if len(sizes) < 2:
        return None
    usual = max(sizes, key=lambda size: len(sizes[size]))
    others = [f"{name!r} ({w} x {h})" for (w, h), them in sizes.items() if (w, h) != usual for name in them]
    return (
        f"images differ in size (width x height): {len(sizes[usual]):,} of {usual[0]} x {usual[1]}, {len(others):,} of "
        f"other sizes: {few(others)}; {RESIZE}"
    )


def decode_files(
    names: Sequence[str],
    read: Callable[[str], bytes] | pathlib.Path,
    *,
    image_size: int | None = None,
    strict: bool = False,
    grey: bool = True,
    most_skipped: float = MAX_SKIPPED,
    work: Work | None = None,
) -> Decoded:
    """Decode the image files `names`. Transparency is dropped, and 16 bits become 8.

    Args:
      names: of the files.
      read: the folder to which they are relative, or a function that returns the bytes of a file.
      image_size: side for `fit_square`; without it all images must have one size.
      strict: whether an unreadable file is an error. Otherwise such files are skipped and reported.
      grey: whether the result has one channel if every file is grey. Otherwise it is RGB.
      most_skipped: largest share of files that may be skipped.
      work: where many files of a folder are decoded by several processes into an array in a file, which an interrupted
        call leaves to the next one. The result is the same.

    Raises:
      ValueError: images differ in size, none can be read, or too many cannot be read.
      RuntimeError: a process died.
    """
    reading = read if callable(read) else reader(read)
    shape = _first_shape(names, reading, image_size)
    if work and not callable(read) and len(names) >= processes.MANY:
        images, parts = processes.decode_by_processes(names, read, image_size, shape, work)
    else:
        images = empty((len(names), *shape, 3), work and work.folder / "images.npy")
        parts = (decode_into(images, names, [row], reading, image_size) for row in range(len(names)))
    skipped: dict[int, str] = {}
    with contextlib.closing(parts):  # an error ends the processes
        for part in parts:
            if part.odd:
                raise DifferentSizes(differing_sizes(names, reading))
            skipped |= dict(part.skipped)
            grey &= part.grey
            if part.skipped and (strict or len(skipped) > most_skipped * len(names)):
                raise ValueError(_too_many([skipped[row] for row in sorted(skipped)], len(names), strict, most_skipped))
    messages = [skipped[row] for row in sorted(skipped)]
    kept = np.ones(len(names), bool)
    kept[list(skipped)] = False
    if not kept.any():
        raise ValueError("there are no readable image files" + (f" ({'; '.join(messages[:3])})" if messages else ""))
    if grey or messages:
        images = taken(images[..., :1] if grey else images, kept)
    return Decoded(images, kept, messages)


def _first_shape(names: Sequence[str], read: Callable[[str], bytes], image_size: int | None) -> tuple[int, int]:
    """Height and width of the first file that can be read."""
    with quiet():
        for name in names:
            with contextlib.suppress(Exception):  # `decode_into` reports it
                return decoded(read(name), image_size).shape[:2]
    return 0, 0


def _too_many(skipped: list[str], total: int, strict: bool, most: float) -> str:
    return (
        f"{len(skipped)} of {total} image files cannot be read ({'; '.join(skipped[-3:])}); repair or remove them. "
        + ("With strict=False up to" if strict else "Up to")
        + f" {MAX_SKIPPED if strict else most:.0%} of the files may be unreadable and are skipped"
    )
