"""`python -m ddjax`: measured rates, sizes of folders, and packages that are missing."""

import importlib.metadata

import pytest

from ddjax import __main__ as main
from ddjax import machine


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(main, "target", lambda: "gpu")
    monkeypatch.setattr(main, "asked", lambda: "tensorfloat32")
    monkeypatch.setattr(machine, "published", lambda: machine.PUBLISHED["NVIDIA H100"])
    monkeypatch.setattr(machine, "rate", lambda name, side: {"tensorfloat32": 390e12, "float32": 10e12}[name])
    monkeypatch.setattr(machine, "bandwidth", lambda: 3e12)


def test_rates_stand_beside_those_of_the_data_sheet_and_a_slow_one_is_explained(gpu):
    first, second, third = [line for _, line in main._speed()]
    assert first == "products in tensorfloat32 390 TFLOP/s, 79% of the published 494 TFLOP/s"
    assert second.startswith("products in float32 10 TFLOP/s, 15% of the published 67 TFLOP/s: slow; another process")
    assert third == "memory 3 TB/s, 90% of the published 3.35 TB/s"


def test_an_accelerator_that_runs_needs_no_driver(gpu):
    assert "cuda" in main._extras()[0][1]


def test_a_device_that_does_not_exist_is_named(monkeypatch):
    def target():
        raise RuntimeError("no devices were found")

    monkeypatch.setattr(main, "target", target)
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    with pytest.raises(SystemExit, match=r"no device for JAX_PLATFORMS='tpu' \(no devices were found\): unset it"):
        main.main()


def test_sizes_are_those_of_all_files(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(bytes(3 * 2**20))
    (tmp_path / "a" / "lost").symlink_to(tmp_path / "nothing")
    assert main._size(tmp_path) == main._size(tmp_path / "a" / "b" / "file") == "3 MiB"


@pytest.mark.parametrize("installed", [True, False])
def test_a_missing_package_is_named_with_its_use_and_its_line(monkeypatch, installed):
    version = importlib.metadata.version

    def without(name):
        if name in ("neural-tangents", "rich") or (name == "ddjax" and not installed):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    requires = importlib.metadata.requires

    def own(name):
        if name == "ddjax" and not installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return requires(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    monkeypatch.setattr(importlib.metadata, "requires", own)
    (title, first), (_, second) = main._packages()
    assert title == "missing"
    assert first == (
        "neural-tangents, for method kip with kernel ntk or nngp: pip install 'neural-tangents>=0.6.5'"
    ) and second.startswith("rich, for everything: pip install 'rich>=")
