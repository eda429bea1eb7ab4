"""Speed and memory of machines for plans. Named machines are assumed; this machine is measured by a matrix product."""

import dataclasses

from ddjax.names import choose
from ddjax.precision import DEFAULTS, POLICIES


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine.

    Attributes:
      name: used by `--machine`.
      rates: operations per second of long runs, by precision.
      precision: the default one of a run there.
      pass_s: minimum seconds of a pass through a network, for the launches of its kernels.
      compile_s: seconds to compile the programs of a kind of cell.
      memory: bytes.
      together: whether networks of a group and cells of a fleet run in parallel.
      source: where the numbers come from.
    """

    name: str
    rates: dict[str, float]
    precision: str
    pass_s: float
    compile_s: float
    memory: float
    together: bool
    source: str

    def rate(self, precision: str) -> float:
        """Operations per second at a precision."""
        return choose(self.rates, precision, "precision")


GIB = 2**30
MACHINES: dict[str, Machine] = {
    "h200": Machine(
        "h200",
        {"float32": 30e12, "tensorfloat32": 100e12, "bfloat16_3x": 30e12, "bfloat16": 100e12},
        DEFAULTS["gpu"],
        5e-4,
        60.0,
        139 * GIB,
        True,
        "assumed: half of the peak in float32, a fifth with tensor cores, which networks of width 128 do not fill",
    ),
    "cpu2": Machine(
        "cpu2",
        dict.fromkeys(POLICIES, 100e9),
        DEFAULTS["cpu"],
        3e-4,
        20.0,
        16 * GIB,
        False,
        "two cores at the measured rate of their matrix products, which long runs reach",
    ),
}


def device_memory() -> float:
    """Bytes of memory of the default device."""
    from ddjax.machine import memory

    return float(memory() or MACHINES["h200"].memory)


def here() -> Machine:
    """Measure this machine, in about a second."""
    from ddjax.backend import target
    from ddjax.machine import rate as measured

    rate = measured("float32", repeats=3)
    cpu = target() == "cpu"
    like = MACHINES["cpu2" if cpu else "h200"]
    # a product reaches a larger share of the peak than a network
    scale = rate / like.rates["float32"] * (1.0 if cpu else 0.6)
    rates = {name: value * scale for name, value in like.rates.items()}
    words = f"a float32 matrix product of {rate / 1e9:.0f} GFLOP/s, measured now"
    return dataclasses.replace(like, name="here", rates=rates, memory=device_memory(), source=words)


def machine(name: str | None) -> Machine:
    """A machine by name, or this machine."""
    return here() if name is None else choose(MACHINES, name, "machine")
