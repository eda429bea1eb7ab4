"""Tensors in files of torch.save: values, views, byte orders, and files that lie."""

import io
import os
import pickle
import zipfile

import fuzzing
import numpy as np
import pytest
from hypothesis import given, settings
from torch_files import Tensor, torch_legacy, torch_zip

from ddjax.noise import label_files
from ddjax.storage.pickles import guarded, read_torch

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def read(path, data):
    path.write_bytes(data)
    return guarded(path, "file", read_torch)


@pytest.mark.parametrize("write", [torch_zip, torch_legacy, lambda content: torch_zip(content, order="big")])
def test_tensors_become_arrays(tmp_path, write):
    content = {"images": Tensor(VALUES), "labels": [Tensor(np.arange(3)), Tensor(np.float64(0.5), size=())], "n": 7}
    found = read(tmp_path / "a.pt", write(content))
    np.testing.assert_array_equal(found["images"], VALUES)
    assert found["images"].dtype == np.float32 and found["labels"][0].dtype == np.int64
    assert found["labels"][0].tolist() == [0, 1, 2] and found["labels"][1] == 0.5 and found["n"] == 7


def test_views_of_a_storage(tmp_path):
    transposed = Tensor(VALUES, size=(4, 3), stride=(1, 4), offset=12)
    empty = Tensor(VALUES, size=(0, 3), stride=(3, 1))
    found = read(tmp_path / "a.pt", torch_zip([transposed, empty]))
    np.testing.assert_array_equal(found[0], VALUES[1].T)
    assert found[1].shape == (0, 3)


@pytest.mark.faults(10, "a tensor that reaches beyond its storage, or a member of another size", "refused")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch_zip(Tensor(VALUES, size=(100,), stride=(1,))), "beyond its storage"),
        (torch_zip(Tensor(VALUES, size=(1 << 40,), stride=(0,))), "beyond its storage"),
        (torch_zip(Tensor(VALUES, size=(2,), stride=(1,), offset=23)), "beyond its storage"),
        (torch_zip(Tensor(VALUES, size=(2,), stride=(-1,), offset=3)), "of size"),
        (torch_zip(Tensor(VALUES, size=(2, 3), stride=(1,))), "of size"),
        (torch_zip(Tensor(VALUES), **{"data/0": b"short"}), "5 of 96 bytes"),
        (torch_legacy(Tensor(VALUES))[:-4], "92 of 96 bytes"),
        (torch_zip(Tensor(VALUES))[:-90], "truncated or not a file"),
    ],
)
def test_tensors_that_lie(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.pt", data)


def test_nested_references_are_read_once(tmp_path):
    content = [1]
    for _ in range(60):
        content = [content, content]
    read(tmp_path / "a.pt", torch_zip(content))  # 2^60 copies if each reference were followed
    content.append(content)
    with pytest.raises(ValueError, match="truncated or not a file"):
        read(tmp_path / "a.pt", torch_zip(content))


def test_compressed_members_are_refused(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([0] * 10**5))
    with pytest.raises(ValueError, match="is compressed"):
        read(tmp_path / "a.pt", stream.getvalue())


class Shell:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.faults(10, "a file of tensors with a payload", "refused; nothing of it is run")
@pytest.mark.parametrize("write", [torch_zip, torch_legacy])
def test_a_payload_beside_tensors_is_not_run(tmp_path, write):
    with pytest.raises(ValueError, match=r"asks for posix\.system.*no code was run"):
        read(tmp_path / "a.pt", write([Tensor(VALUES), Shell(tmp_path / "trap")]))
    assert not (tmp_path / "trap").exists()


@pytest.mark.faults(10, "files of tensors damaged at random", "the content or a ValueError")
def test_damaged_files(tmp_path):
    content = [Tensor(VALUES), Tensor(np.arange(3))]

    @settings(max_examples=100, deadline=None)
    @given(fuzzing.damaged(torch_zip(content), torch_legacy(content)))
    def one(data):
        try:
            read(tmp_path / "a.pt", data)
        except ValueError as error:
            assert str(error)

    one()


def test_labels_may_be_tensors_of_integers_only(tmp_path):
    path = tmp_path / "labels.pt"
    path.write_bytes(torch_zip({"clean_label": Tensor(np.arange(4))}))
    assert label_files.read(path)["clean_label"].tolist() == [0, 1, 2, 3]
    path.write_bytes(torch_zip(Tensor(VALUES)))
    with pytest.raises(ValueError, match=r"asks for torch\.FloatStorage, which integers do not need"):
        label_files.read(path)
