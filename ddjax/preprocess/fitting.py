"""Fit a preprocessing on training images. A fitted whitening is cached on disk."""

import hashlib
import json
import pathlib
import warnings

import jax.numpy as jnp
import numpy as np

from ddjax import checks
from ddjax.names import choose
from ddjax.preprocess.specs import ALIASES, CONSTANTS, SPECS, Channels, Spec
from ddjax.preprocess.transform import Preprocess
from ddjax.preprocess.whitening import channel_statistics, whitening
from ddjax.storage import manifest
from ddjax.storage.files import array_digest, cache_dir
from ddjax.storage.locks import alone

KIND = manifest.Kind("ddjax-whitening", 1, "a fitted whitening")
_ARRAYS = ("zca_mean", "zca", "zca_inverse")


def fit(spec: str | Spec, images: np.ndarray, dataset: str = "", *, cache: bool = True) -> Preprocess:
    """Fit the transform that `spec` describes. The labels play no part, so one transform serves every noise setting.

    Args:
      spec: a name in `SPECS`, or a `Spec`.
      images: uint8 training images [n h w c]. They are read in pieces and may be memory-mapped.
      dataset: selects published channel constants. If there are none of the kind that `spec` names, the constants are
        fitted and the fingerprint says `fit`.
      cache: whether a whitening is read from and written to the cache directory, under a hash of the images and the
        specification. Fitting one takes d^3 operations: seconds for 32 x 32 x 3, many minutes for 64 x 64 x 3.

    Returns:
      The transform.

    Raises:
      ValueError: `spec` is unknown, or the images do not fit it.

    Example:
      >>> images = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 1), np.uint8)
      >>> fit("standardize", images).mean.shape
      (1,)
    """
    spec = choose(SPECS, spec, "preprocessing") if isinstance(spec, str) else spec
    checks.kind(spec, Spec, "spec", "Name one in ddjax.preprocess.SPECS, or pass a Spec")
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) < 2:
        raise ValueError(
            f"fit() takes at least two uint8 images of shape [n h w c]; got {images.dtype}{list(images.shape)}. "
            "Floats go to apply()."
        )
    kind, channels = _channels(spec, images, dataset)
    whiten = spec.zca != "none" and (spec.grey_zca or images.shape[-1] > 1)
    steps = [spec.name] + ([kind] if kind != "none" else [])
    definition = {"channels": channels, "layout": "nhwc"}
    if whiten:
        steps.append(f"zca-{spec.zca}-{spec.eps:g}")
        definition |= {"zca": [spec.zca, spec.eps], "images": array_digest(images)}
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:16]
    fitted = {}
    if channels is not None:
        fitted = {"mean": jnp.array(channels.mean, jnp.float32), "std": jnp.array(channels.std, jnp.float32)}
    if whiten:
        arrays = _cached_whitening(digest, images, channels, spec) if cache else _whitening(images, channels, spec)
        fitted |= {name: jnp.asarray(array) for name, array in arrays.items()}
    return Preprocess(**fitted, name=spec.name, fingerprint=f"{'-'.join(steps)}:{digest}")


def _channels(spec: Spec, images: np.ndarray, dataset: str) -> tuple[str, Channels | None]:
    if spec.standardize == "none":
        return "none", None
    channels = CONSTANTS.get(spec.standardize, {}).get(ALIASES.get(dataset, dataset))
    if channels is None:
        return "fit", channel_statistics(images)
    if len(channels.mean) != images.shape[-1]:
        raise ValueError(
            f"the constants of dataset {dataset!r} are for {len(channels.mean)} channels; the images have shape "
            f"{list(images.shape)}: name another dataset, or none to fit the constants"
        )
    return spec.standardize, channels


def _whitening(images: np.ndarray, channels: Channels | None, spec: Spec) -> dict[str, np.ndarray]:
    return dict(zip(_ARRAYS, whitening(images, channels, spec.zca, spec.eps), strict=True))


def _cached_whitening(digest: str, images: np.ndarray, channels: Channels | None, spec: Spec) -> dict[str, np.ndarray]:
    stem = cache_dir() / "preprocess" / digest
    if (arrays := _read(stem)) is None:
        try:
            with alone(stem.with_suffix(".lock"), f"the whitening {stem}", wait=True):
                if (arrays := _read(stem)) is None:  # another process may have fitted it before the lock
                    arrays = _whitening(images, channels, spec)
                    manifest.save(stem, KIND, arrays, {})
        except OSError as error:
            warnings.warn(f"the whitening is not cached; writing into {stem.parent} failed: {error}", stacklevel=3)
    return _whitening(images, channels, spec) if arrays is None else arrays


def _read(stem: pathlib.Path) -> dict[str, np.ndarray] | None:
    if not manifest.paths(stem)[1].exists():  # the manifest is written last
        return None
    try:
        return manifest.load(stem, KIND)[0]
    except ValueError as error:
        warnings.warn(f"the cached whitening {stem}.npz is damaged ({error}); it is fitted again", stacklevel=4)
        return None
