"""Without TensorFlow, TFDS and neural-tangents all but TFDS sets and kernels of infinite width works."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
TESTS = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("without")
    own = {"DDJAX_CACHE": str(folder / "cache"), "JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": ""}
    own["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # its path library asks whether TensorFlow is there
    command = [sys.executable, str(TESTS / "without_child.py"), str(folder)]
    done = subprocess.run(command, cwd=TESTS.parent, env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_module_loads_and_the_report_is_printed(found):
    assert found["modules"] > 200 and found["report"] is True and found["loaded"] == [], found


def test_digits_arrays_and_folders_are_read(found):
    assert found["files"][0] == 1442 and min(found["files"][1:]) > 20


def test_a_run_gives_a_row(found):
    status, said = found["random"]
    assert status == 0 and "test accuracy" in said


def test_kernels_of_infinite_width_name_the_package_in_one_sentence(found):
    status, said = found["kip"]
    assert status == 2 and said == (
        "error: kernels of infinite width need neural-tangents, which is not installed: pip install "
        "'neural-tangents>=0.6.5'. KIP does without it with kernel='conjugate'"
    )


def test_a_tfds_set_names_the_packages_in_one_sentence(found):
    status, said = found["tfds"]
    assert status == 2 and said == (
        "error: TFDS sets need two packages (No module named 'tensorflow'): pip install tensorflow-datasets "
        "tensorflow. Digits, folders, .npz and .csv files need neither"
    )
