"""The statistics of a transform, computed in float64 over pieces of the set."""

from collections.abc import Iterator

import numpy as np
import scipy.linalg

from ddjax.preprocess.specs import Channels
from ddjax.rows import release

_ROWS = 1024


def _pieces(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(images), _ROWS):
        yield np.asarray(images[start : start + _ROWS])
        release(images)


def channel_statistics(images: np.ndarray) -> Channels:
    """Mean and standard deviation of each channel of uint8 images [n h w c], exact up to the last rounding.

    Raises:
      ValueError: a channel is constant.
    """
    counts = np.zeros((images.shape[-1], 256), np.int64)
    for piece in _pieces(images):
        for channel, row in enumerate(counts):
            row += np.bincount(piece[..., channel].ravel(), minlength=256)
    share = counts / counts.sum(1, keepdims=True)
    values = np.arange(256) / 255
    mean = share @ values
    variance = (share * (values[None] - mean[:, None]) ** 2).sum(1)
    if not (variance > 0).all():
        raise ValueError(
            f"channels {np.flatnonzero(variance == 0).tolist()} of the images are constant and cannot be divided by "
            "their deviation: choose a preprocessing without standardisation, such as 'unit'"
        )
    return Channels(tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


def whitening(
    images: np.ndarray, channels: Channels | None, kind: str, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ZCA of uint8 images [n h w c].

    With S = U diag(s) U^T the covariance of the images on the 0..1 scale (standardised where `channels` are given),
    the map is U diag((s + r)^(-1/2)) U^T. `absolute`: S is unbiased and r = eps. `relative`: S is biased,
    r = eps trace(S) / d, and the eigenvalues s + r beyond the n largest are set to one.

    Returns:
      The mean [d], the map [d d] and its inverse, float32.

    Raises:
      ValueError: the covariance is singular.
    """
    n, d = len(images), images[0].size
    shape = images.shape[1:]
    offset, scale = (np.asarray(row) for row in (channels or ((0.0,), (1.0,))))
    sums = np.zeros(shape, np.int64)
    for piece in _pieces(images):
        sums += piece.sum(0, dtype=np.int64)
    mean_pixels = sums / n
    factor = np.broadcast_to(1 / (255 * scale), shape)

    covariance = np.zeros((d, d), order="F")
    for piece in _pieces(images):
        centred = ((piece - mean_pixels) * factor).reshape(len(piece), d)
        covariance = scipy.linalg.blas.dsyrk(1.0, centred.T, beta=1.0, c=covariance, lower=1, overwrite_c=1)
    covariance /= n - 1 if kind == "absolute" else n

    ridge = eps if kind == "absolute" else eps * np.trace(covariance) / d
    values, vectors = scipy.linalg.eigh(covariance, lower=True, overwrite_a=True, check_finite=False)
    values += ridge
    if kind == "relative" and n < d:
        values[: d - n] = 1.0  # ascending: all but the n largest
    if not values[0] > 0:
        raise ValueError(
            f"the covariance of {n} images of {d} values is singular and eps={eps} adds nothing to it: "
            "use a positive eps"
        )
    mean = (mean_pixels / 255 - offset) / scale
    forward = ((vectors * values**-0.5) @ vectors.T).astype(np.float32)
    inverse = ((vectors * values**0.5) @ vectors.T).astype(np.float32)
    return mean.ravel().astype(np.float32), forward, inverse
