"""Photographs that a camera has stored sideways are decoded upright."""

import io

import numpy as np
import pytest
from PIL import Image

from ddjax.data.images import DifferentSizes, decode_files
from ddjax.decoding import ORIENTATION


def photograph(orientation, size=(6, 4)):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[:, : size[0] // 2] = 200
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", exif=exif)
    return out.getvalue()


def test_a_note_of_the_camera_turns_the_image():
    files = {"plain": photograph(1), "turned": photograph(6, (4, 6)), "turned too": photograph(8, (4, 6))}
    with pytest.raises(DifferentSizes):
        decode_files(["plain", "wide"], {"plain": photograph(1), "wide": photograph(6)}.get)
    found = decode_files([*files], files.get)
    assert found.images.shape == (3, 4, 6, 1) and found.kept.all()
    assert found.images[0, 0, 0, 0] == 200 and found.images[0, 0, 5, 0] == 0
    assert found.images[1, 0].min() == 200 and found.images[1, 3].max() == 0
    assert found.images[2, 0].max() == 0 and found.images[2, 3].min() == 200
