"""1, 2 and 8 devices give the same numbers, for one run and for seeds; eight are simulated in a process of its own."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import processes
import pytest

from experiments.notebook import begin


@pytest.mark.slow
def test_one_two_and_eight_devices_agree():
    found = processes.answer(processes.HERE / "devices_problem.py", **processes.devices(8))
    assert found["devices"] == 8 and found["moved"] > 1e-3 and found["apart"] > 1e-4
    assert max(*found["counts"].values(), *found["seeds"]) < 2e-5, found


def test_the_transfer_guard_detects_a_transfer():
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        jnp.zeros(3) + 1.5


@pytest.mark.parametrize(("asked", "quick"), [("1", True), ("0", False), (None, True)])
def test_a_notebook_detects_quick_mode_and_devices(monkeypatch, capsys, asked, quick):
    monkeypatch.delenv("DDJAX_QUICK", raising=False)
    if asked:
        monkeypatch.setenv("DDJAX_QUICK", asked)
    place = begin(drive="ddjax")  # not on Colab: no Drive
    assert place.quick == quick and place.devices == len(jax.devices()) and place.runs == pathlib.Path("runs")
    assert (place.mesh is None) == (place.devices == 1)
    assert ("small sizes" in capsys.readouterr().out) == quick


def test_on_colab_results_go_to_the_drive(monkeypatch):
    mounted = []
    drive = type(sys)("google.colab.drive")
    drive.mount = mounted.append
    for name, module in [("google.colab", type(sys)("google.colab")), ("google.colab.drive", drive)]:
        monkeypatch.setitem(sys.modules, name, module)
    assert begin(drive="study").runs == pathlib.Path("/content/drive/MyDrive/study") and mounted == ["/content/drive"]
    assert begin().runs == pathlib.Path("runs") and len(mounted) == 1
    monkeypatch.setenv("DDJAX_QUICK", "yes")
    with pytest.raises(ValueError, match="DDJAX_QUICK must be 0 or 1; got 'yes'"):
        begin()


def test_tensorflow_is_kept_off_accelerators(monkeypatch):
    from ddjax.data import tfds

    hidden = []
    fake = type(sys)("tensorflow")
    fake.config = type("config", (), {"set_visible_devices": lambda devices, kind: hidden.append((devices, kind))})
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", type(sys)("tensorflow_datasets"))
    assert tfds.tensorflow_datasets().__name__ == "tensorflow_datasets"
    assert hidden == [([], "GPU"), ([], "TPU")]
