"""From a specification and the training images to a transform; a whitening is computed once and kept."""

import hashlib
import json
import pathlib
import warnings

import jax.numpy as jnp
import numpy as np

from ddjax.names import choose
from ddjax.preprocess.specs import ALIASES, CONSTANTS, SPECS, Channels, Spec
from ddjax.preprocess.transform import Preprocess
from ddjax.preprocess.whitening import channel_statistics, whitening
from ddjax.storage.files import array_digest, cache_dir, read_npz, replacing

_ARRAYS = ("zca_mean", "zca", "zca_inverse")


def fit(spec: str | Spec, images: np.ndarray, dataset: str = "", *, cache: bool = True) -> Preprocess:
    """The transform that `spec` (a name in SPECS, or a Spec) describes, fitted on uint8 training images [n h w c].

    `dataset` selects published channel constants; where there are none of the kind asked for, they are fitted and
    the fingerprint says `fit`. Labels play no part, so one transform serves every noise setting. The images may be
    memory-mapped: they are read in pieces. A whitening takes d^3 operations (seconds for 32 x 32 x 3, many minutes
    for 64 x 64 x 3) and is kept in the cache directory under a hash of the images and the specification.
    """
    spec = choose(SPECS, spec, "preprocessing") if isinstance(spec, str) else spec
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
        path = cache_dir() / "preprocess" / f"{digest}.npz"
        arrays = _cached(path, images[0].size) if cache else None
        if arrays is None:
            arrays = dict(zip(_ARRAYS, whitening(images, channels, spec.zca, spec.eps), strict=True))
            if cache:
                with replacing(path) as file:
                    np.savez(file, **arrays)
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


def _cached(path: pathlib.Path, features: int) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        found = read_npz(path)
        arrays = {name: found[name] for name in _ARRAYS}
        for name, array in arrays.items():
            shape = (features,) if name == "zca_mean" else (features, features)
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"{name} is {array.dtype}{list(array.shape)}, or not finite")
    except (ValueError, OSError, KeyError) as error:
        warnings.warn(f"the cached whitening {path} is damaged ({error}); it is fitted again", stacklevel=3)
        return None
    return arrays
