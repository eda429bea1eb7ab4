"""The published settings of DATM and of its study of noisy labels: 124 rows, as one table and its exceptions.

A setting is named by its data set and, if values were tuned to one kind and rate of noise, by these:
`settings("cifar10", 10)` is the clean row, `settings("cifar10/symmetric/0.4", 10)` the one published for that noise.
Runs use the clean row for every noise by default, because the noise is unknown in practice. `config.published` makes a
configuration of a setting. Sources: Guo et al., 2024 (arXiv:2310.05773); arXiv:2411.11924.
"""

from typing import Any

from ddjax.names import unknown

_COLUMNS = (
    "inner_steps", "inner_batch", "match_epochs", "image_rate", "label_rate", "step_size_rate", "threshold",
    "first_start", "early_last_start", "last_start", "growth_steps", "start",
)  # fmt: skip
# with growth_steps 0 the range of start epochs is constant, and early_last_start is not used
CLEAN: dict[tuple[str, int], tuple[Any, ...]] = {
    ("cifar10", 1): (80, 0, 2, 100.0, 5.0, 1e-7, 1.1, 0, 4, 4, 0, "correct"),
    ("cifar10", 10): (80, 0, 2, 100.0, 2.0, 1e-5, 1.0, 0, 10, 20, 1000, "correct"),
    ("cifar10", 50): (80, 0, 2, 1000.0, 2.0, 1e-5, 1.0, 0, 20, 40, 2000, "correct"),
    ("cifar10", 500): (40, 1000, 2, 50.0, 10.0, 1e-5, 1.0, 40, 60, 60, 0, "correct"),
    ("cifar10", 1000): (100, 1000, 2, 50.0, 10.0, 1e-5, 1.0, 40, 60, 60, 0, "correct"),
    ("cifar100", 1): (40, 0, 3, 1000.0, 10.0, 1e-5, 1.0, 0, 10, 20, 1000, "correct"),
    ("cifar100", 10): (80, 0, 2, 1000.0, 10.0, 1e-5, 1.0, 0, 30, 50, 2000, "correct"),
    ("cifar100", 50): (80, 1000, 2, 1000.0, 10.0, 1e-5, 1.0, 20, 70, 70, 0, "real"),
    ("cifar100", 100): (80, 1000, 2, 50.0, 10.0, 1e-5, 1.0, 30, 70, 70, 0, "correct"),
    ("tiny_imagenet", 1): (40, 0, 2, 10000.0, 10.0, 1e-4, 1.0, 0, 15, 20, 2000, "correct"),
    ("tiny_imagenet", 10): (40, 500, 2, 100.0, 10.0, 1e-4, 1.0, 10, 50, 50, 0, "correct"),
    ("tiny_imagenet", 50): (20, 1000, 2, 100.0, 10.0, 1e-4, 1.0, 40, 70, 70, 0, "correct"),
}
_COMMON = {
    "width": 128,
    "steps": 10_000,  # published loops include the end, which makes one step more
    "experts": 100,
    "expert_epochs": 100,
    "expert_batch": 256,
    "step_size": 0.01,
}

_RATES = ("0.2", "0.4", "0.6", "0.8")
_SYNTHETIC = [f"{kind}/{rate}" for kind in ("symmetric", "asymmetric") for rate in _RATES]
# data set -> noise -> images per class for which a configuration was published
_NOISY: dict[str, dict[str, tuple[int, ...]]] = {
    "cifar10": dict.fromkeys([*_SYNTHETIC, "aggre", "rand1", "rand2", "rand3", "worst"], (1, 10, 50, 500, 1000)),
    "cifar100": dict.fromkeys(_SYNTHETIC, (1, 10, 50, 100)) | {"noisy100": (1, 10, 50)},
    "tiny_imagenet": dict.fromkeys([f"symmetric/{rate}" for rate in _RATES], (1, 10, 50)),
}


def _differences() -> dict[tuple[str, int], dict[str, Any]]:
    """The fields that noisy configurations change in the clean row of their data set and size."""
    changes: dict[tuple[str, int], dict[str, Any]] = {}
    for noise in _SYNTHETIC:
        for ipc in (1, 10, 50):
            changes[f"cifar10/{noise}", ipc] = {"step_size": 0.001}
    changes["cifar10/worst", 10] = {"step_size": 0.001}
    for name, ipc in [("symmetric/0.8", 10), ("asymmetric/0.8", 10), ("asymmetric/0.8", 50)]:
        changes[f"cifar10/{name}", ipc]["step_size_rate"] = 1e-6
    for noise in _SYNTHETIC[:6]:  # all but asymmetric/0.6 and asymmetric/0.8
        changes[f"cifar10/{noise}", 1000] = {"steps": 6000}
    changes["cifar10/symmetric/0.4", 1000]["step_size"] = 0.008
    changes["cifar10/symmetric/0.8", 1000] |= {"step_size": 0.005, "start": "real"}
    changes["cifar10/asymmetric/0.8", 1000] = {"start": "real"}  # its file has rate 0.78, evidently a typing error
    for noise in ("symmetric/0.4", "symmetric/0.6", "symmetric/0.8", "asymmetric/0.6", "asymmetric/0.8"):
        changes[f"cifar100/{noise}", 100] = {"start": "real"}
    for rate in ("0.4", "0.6", "0.8"):
        changes[f"tiny_imagenet/symmetric/{rate}", 50] = {"start": "real"}
    return changes


DIFFERENCES = _differences()
PUBLISHED: tuple[tuple[str, int], ...] = (
    *CLEAN,
    *((f"{data}/{noise}", ipc) for data, table in _NOISY.items() for noise, sizes in table.items() for ipc in sizes),
)
"""All 124 (name, images per class)."""


def settings(name: str, ipc: int) -> dict[str, Any]:
    """The fields of a DatmConfig that were published.

    Args:
      name: the data set, or data set and noise.
      ipc: images per class.

    Raises:
      ValueError: nothing was published under this name, or not for this number of images.
    """
    if (name, ipc) not in PUBLISHED:
        sizes = [size for known, size in PUBLISHED if known == name]
        if sizes:
            raise ValueError(
                f"setting {name!r} was published for ipc {', '.join(map(str, sizes))}; got ipc={ipc}. "
                "Change ipc, or take the configuration of one of these and replace what you want to change."
            )
        raise unknown("published DATM setting", name, dict.fromkeys(known for known, _ in PUBLISHED))
    row = CLEAN[name.split("/")[0], ipc]
    return {**_COMMON, **dict(zip(_COLUMNS, row, strict=True)), **DIFFERENCES.get((name, ipc), {})}
