"""Image files -> one uint8 array, by Pillow. Files that cannot be read are named, never guessed at."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import PIL
from jaxtyping import Bool, UInt8
from PIL import Image

from ddjax.names import few, shown

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
DECODER = f"Pillow {PIL.__version__}"
MAX_SKIPPED = 0.01  # of all files; more than that is not bad luck

GREY = {"1", "L", "LA", "La"}
DEEP = {"I", "I;16", "I;16B", "I;16L"}  # grey of 16 bits; Pillow reads colours of 16 bits as 8
COLOUR = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}


class Decoded(NamedTuple):
    """Images of the files that could be read."""

    images: UInt8[np.ndarray, "m h w c"]
    kept: Bool[np.ndarray, "n"]  # which files of the listing those are
    skipped: list[str]  # "name: reason" of the others


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """The central square over the short side, averaged (box filter) to `size` x `size`; as it is if it fits already."""
    if image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((size, size), Image.Resampling.BOX, box=(left, top, left + side, top + side))


def _decode(data: bytes, image_size: int | None) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.mode in DEEP:
            plain = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))  # 0..65535 to 0..255
        elif image.mode in GREY | COLOUR:
            plain = image.convert("L" if image.mode in GREY else "RGB")  # of an animation, the first frame
        else:
            raise ValueError(f"images of mode {image.mode} are not read")
    return np.asarray(plain if image_size is None else fit_square(plain, image_size))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Pillow's remarks on odd metadata are not shown; an implausibly large image is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def differing_sizes(names: Sequence[str], read: Callable[[str], bytes]) -> str | None:
    """A sentence that says how the images differ in size, by their headers; None where all that open have one size."""
    sizes: dict[tuple[int, int], list[str]] = {}
    with _quiet():
        for name in names:
            # what cannot be opened is named when it is decoded; a decoder can raise anything on damaged bytes
            with contextlib.suppress(Exception), Image.open(io.BytesIO(read(name)), formats=FORMATS) as image:
                sizes.setdefault(image.size, []).append(name)
    if len(sizes) < 2:
        return None
    usual = max(sizes, key=lambda size: len(sizes[size]))
    others = [f"{name!r} ({w} x {h})" for (w, h), them in sizes.items() if (w, h) != usual for name in them]
    return (
        f"images differ in size (width x height): {len(sizes[usual]):,} of {usual[0]} x {usual[1]}, {len(others):,} of "
        f"other sizes: {few(others)}; image_size=32, say, crops and resizes all"
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
    """Decode `read(name)` for every name. The set is grey if every file is (and `grey` allows), RGB otherwise.

    Transparency is dropped, and 16 bits become 8. All images must have one size unless `image_size` asks for
    `fit_square`. Unreadable and implausibly large files are left out and named, up to the share `most_skipped` of all,
    or none if `strict`.

    Raises:
      ValueError: images differ in size, none can be read, or too many cannot.
    """
    if image_size is None and (problem := differing_sizes(names, read)):
        raise ValueError(problem)
    images, kept, skipped, all_grey = None, np.zeros(len(names), bool), [], grey
    with _quiet():
        for i, name in enumerate(names):
            try:
                image = _decode(read(name), image_size)
            except Exception as error:  # a decoder can raise anything on damaged bytes
                unknown = isinstance(error, PIL.UnidentifiedImageError)  # its own words name a buffer
                reason = "not an image" if unknown else f"{type(error).__name__}: {error}"
                skipped.append(f"{shown(name)}: {shown(reason)}")
                _check_skipped(skipped, len(names), strict, most_skipped)
                continue
            if images is None:
                images = _room(len(names), image.shape)
            images[i] = image if image.ndim == 3 else image[..., None]
            all_grey &= image.ndim == 2
            kept[i] = True
    if images is None:
        raise ValueError("there are no image files to read" + (f" ({'; '.join(skipped[:3])})" if skipped else ""))
    images = images if kept.all() else images[kept]
    return Decoded(np.ascontiguousarray(images[..., :1]) if all_grey else images, kept, skipped)


def _room(count: int, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty((count, *shape[:2], 3), np.uint8)
    except MemoryError:
        size = count * shape[0] * shape[1] * 3 / 2**30
        raise ValueError(
            f"{count} images of {shape[1]} x {shape[0]} need {size:.0f} GiB of memory; image_size=64, say, shrinks all"
        ) from None


def _check_skipped(skipped: list[str], total: int, strict: bool, most: float) -> None:
    if strict or len(skipped) > most * total:
        raise ValueError(
            f"{len(skipped)} of {total} image files cannot be read ({'; '.join(skipped[-3:])}); repair or remove them. "
            + ("With strict=False up to" if strict else "Up to")
            + f" {MAX_SKIPPED if strict else most:.0%} of the files may be damaged and are left out by name"
        )
