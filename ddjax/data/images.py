"""Decode image files to one uint8 array with Pillow. Files that cannot be read are reported by name."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import PIL
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from ddjax.names import few, shown

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
DECODER = f"Pillow {PIL.__version__}"
MAX_SKIPPED = 0.01  # largest share of files that may be unreadable

ORIENTATION = 0x0112  # tag of EXIF; from 5 on, height and width are exchanged
GREY = {"1", "L", "LA", "La"}
DEEP = {"I", "I;16", "I;16B", "I;16L"}  # 16-bit grey; Pillow reads 16-bit colours as 8 bits
COLOUR = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}


class DifferentSizes(ValueError):
    """Images differ in size, and no size was asked for."""


class Decoded(NamedTuple):
    """The images of the readable files."""

    images: UInt8[np.ndarray, "m h w c"]
    kept: Bool[np.ndarray, "n"]  # which files were read
    skipped: list[str]  # "name: reason" of the other files


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


def _decode(data: bytes, image_size: int | None) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image = ImageOps.exif_transpose(image)  # cameras note how they were held
        if image.mode in DEEP:
            plain = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))  # 0..65535 to 0..255
        elif image.mode in GREY | COLOUR:
            plain = image.convert("L" if image.mode in GREY else "RGB")  # the first frame of an animation
        else:
            raise ValueError(f"images of mode {image.mode} are not supported")
    return np.asarray(plain if image_size is None else fit_square(plain, image_size))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warnings of Pillow about metadata, and turn implausibly large images into errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def differing_sizes(names: Sequence[str], read: Callable[[str], bytes]) -> str | None:
    """Compare the sizes in the headers of images. Returns a message if they differ, and None otherwise."""
    sizes: dict[tuple[int, int], list[str]] = {}
    with _quiet():
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
        f"other sizes: {few(others)}; use image_size=32, for example, to crop and resize all"
    )


def decode_files(
    names: Sequence[str],
    read: Callable[[str], bytes],
    *,
    image_size: int | None = None,
    strict: bool = False,
    grey: bool = True,
    most_skipped: float = MAX_SKIPPED,
) -> Decoded:
    """Decode the image files `names`. Transparency is dropped, and 16 bits become 8.

    Args:
      names: of the files.
      read: returns the bytes of a file.
      image_size: side for `fit_square`; without it all images must have one size.
      strict: whether an unreadable file is an error. Otherwise such files are skipped and reported.
      grey: whether the result has one channel if every file is grey. Otherwise it is RGB.
      most_skipped: largest share of files that may be skipped.

    Raises:
      ValueError: images differ in size, none can be read, or too many cannot be read.
    """
    if image_size is None and (problem := differing_sizes(names, read)):
        raise DifferentSizes(problem)
    images, kept, skipped, all_grey = None, np.zeros(len(names), bool), [], grey
    with _quiet():
        for i, name in enumerate(names):
            try:
                image = _decode(read(name), image_size)
            except Exception as error:  # a decoder can raise any error on damaged bytes
                unknown = isinstance(error, PIL.UnidentifiedImageError)  # its message names a buffer
                reason = "not an image" if unknown else f"{type(error).__name__}: {error}"
                skipped.append(f"{shown(name)}: {shown(reason)}")
                _check_skipped(skipped, len(names), strict, most_skipped)
                continue
            if images is None:
                images = _allocate(len(names), image.shape)
            images[i] = image if image.ndim == 3 else image[..., None]
            all_grey &= image.ndim == 2
            kept[i] = True
    if images is None:
        raise ValueError("there are no readable image files" + (f" ({'; '.join(skipped[:3])})" if skipped else ""))
    images = images if kept.all() else images[kept]
    return Decoded(np.ascontiguousarray(images[..., :1]) if all_grey else images, kept, skipped)


def _allocate(count: int, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty((count, *shape[:2], 3), np.uint8)
    except MemoryError:
        size = count * shape[0] * shape[1] * 3 / 2**30
        raise ValueError(
            f"{count} images of {shape[1]} x {shape[0]} need {size:.0f} GiB of memory; "
            "use image_size=64, for example, to shrink all"
        ) from None


def _check_skipped(skipped: list[str], total: int, strict: bool, most: float) -> None:
    if strict or len(skipped) > most * total:
        raise ValueError(
            f"{len(skipped)} of {total} image files cannot be read ({'; '.join(skipped[-3:])}); repair or remove them. "
            + ("With strict=False up to" if strict else "Up to")
            + f" {MAX_SKIPPED if strict else most:.0%} of the files may be unreadable and are skipped"
        )
