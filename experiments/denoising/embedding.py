"""Features of images by a pretrained network of the package timm, in batches; what is done is kept and continued."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from ddjax import stopping
from ddjax.storage.files import replacing
from ddjax.storage.rows import fingerprint

PREFIX = "timm:"
BATCH = 32  # images
SHOWN = 96  # side of the pictures on the page, if no size is asked for: the network reads the files themselves

Open = Callable[[int], Image.Image]  # row -> picture


def check_name(name: str) -> None:
    """Raise a ValueError if the name is not timm:NAME, or timm is not installed."""
    if not name.startswith(PREFIX) or name == PREFIX:
        raise ValueError(f"--embed {name} must be {PREFIX}NAME, such as {PREFIX}resnet18.a1_in1k")
    try:
        import timm  # noqa: F401
    except ImportError as error:
        raise ValueError("--embed needs timm and torch: pip install -e '.[embed]'") from error


def network(name: str) -> tuple[Any, Callable[[Image.Image], Any]]:
    """A network without its classifier, and what prepares a picture for it.

    Args:
      name: timm:NAME; timm:local-dir:PATH is a network that `timm.models.save_for_hf_hub` wrote.

    Raises:
      ValueError: the name is unknown, or there are no weights.
    """
    import timm

    try:
        model = timm.create_model(name.removeprefix(PREFIX), pretrained=True, num_classes=0).eval()
    except Exception as error:  # timm and the hub raise many kinds
        first = str(error).splitlines()[:1] or [type(error).__name__]
        raise ValueError(
            f"--embed {name}: the network or its weights cannot be loaded ({first[0]}). Weights come from the cache or "
            "from the hub; timm.list_models(pretrained=True) lists the names"
        ) from error
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    return model, prepare


def embedded(
    name: str, opened: Open, count: int, identity: Any, folder: pathlib.Path, view: Any
) -> Float[np.ndarray, "n d"]:
    """The features of all pictures, memory-mapped. A stopped run continues after its last batch.

    Args:
      name: timm:NAME.
      opened: opens the picture of a row.
      count: number of pictures.
      identity: what distinguishes these pictures from others, as JSON.
      folder: where the features are kept.
      view: shows the progress.

    Raises:
      ValueError: the network cannot be loaded.
    """
    import timm
    import torch

    key = fingerprint([name, count, identity, timm.__version__, True])  # True: with trained weights
    stem = folder / f"embedding-{key}"
    whole, part, clock = (stem.with_name(stem.name + end) for end in (".npy", ".part.npy", ".part.json"))
    if not whole.exists():
        folder.mkdir(parents=True, exist_ok=True)
        model, prepare = network(name)
        done = json.loads(clock.read_text()) if clock.exists() and part.exists() else 0
        with torch.inference_mode(), view.task(f"computing features by {name}") as show, stopping.deferred():
            for first in range(done, count, BATCH):
                rows = range(first, min(first + BATCH, count))
                found = model(torch.stack([prepare(opened(row).convert("RGB")) for row in rows])).flatten(1).numpy()
                shape = (count, found.shape[1])
                made = np.lib.format.open_memmap(part, "r+" if first else "w+", dtype=np.float32, shape=shape)
                made[first : rows.stop] = found
                made.flush()
                with replacing(clock, "w") as file:
                    json.dump(rows.stop, file)
                show(rows.stop, count, {})
                if stopping.requested():
                    stopping.stop(f"the features of {rows.stop} of {count} images are kept")
        part.replace(whole)
        clock.unlink()
    return np.load(whole, mmap_mode="r")
