import functools
import io
import os
import pickle
from unittest import mock

import numpy as np
import pytest
from torch_files import torch_legacy, torch_zip

from ddjax.noise import human, label_files
from ddjax.noise.human import C10_KEYS, SETS, clean_labels, human_labels, read_human
from ddjax.noise.labels import checksum
from ddjax.noise.orders import published_order, tfds_order
from ddjax.noise.taxonomy import CIFAR100_COARSE

# set, share that is wrong, checksum in original and in tfds order, class sizes
PUBLISHED = {
    "aggre": (0.09010, "2bd5e02e39c9c797", "684fd63be2f6f531", "5314 5509 5407 4621 4349 4963 4616 5003 5347 4871"),
    "rand1": (0.17234, "8d01b5a5af048e84", "fb4f79781f4abe41", "5021 5558 5146 4694 4445 5383 4675 5255 4921 4902"),
    "rand2": (0.18122, "7ea04c887750912f", "c71568036b61f908", "5074 5497 5199 4694 4479 5355 4699 5183 4915 4905"),
    "rand3": (0.17640, "cdbfad7e15bfc8fc", "326a8a4f9498d551", "5087 5518 5223 4698 4389 5426 4722 5225 4876 4836"),
    "worst": (0.40208, "11a306ed336e3bc8", "9912879347c545c0", "5309 6053 5342 4673 4040 5668 4203 5273 4629 4810"),
    "noisy100": (0.40200, "54050bc3f9441adc", "194342eb31860d06", None),
    "noisy100_coarse": (0.26404, "72a87757e6d246ae", "88c2b7cae5ad0d20", None),
}


READ = functools.cache(read_human)  # each published file once


def published(name):
    path = human.default_file(SETS[name].dataset)
    if not path.exists():
        pytest.skip(f"{path.name} is not in TFDS's manual folder")
    with mock.patch.object(human, "read_human", READ):
        return human_labels(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sets(name):
    rate, original, tfds, sizes = PUBLISHED[name]
    (given, clean), k = published(name), SETS[name].num_classes
    assert np.mean(given != clean) == rate
    assert checksum(given, k) == original
    assert checksum(given[tfds_order(len(given))], k) == tfds
    counts = np.bincount(given)
    if sizes:
        assert counts.tolist() == [int(size) for size in sizes.split()]
    if name == "noisy100":
        assert (counts.min(), counts.max()) == (199, 865)


def test_coarse_labels_follow_the_superclasses():
    fine, coarse = published("noisy100"), published("noisy100_coarse")
    np.testing.assert_array_equal(CIFAR100_COARSE[fine.clean], coarse.clean)
    np.testing.assert_array_equal(CIFAR100_COARSE[fine.given], coarse.given)
    np.testing.assert_array_equal(human_labels("clean100").given, fine.clean)


def test_annotation_csv_says_the_same():
    path = human.default_file("cifar10").with_name("CIFAR-10_human_annotations.csv")
    if not path.exists():
        pytest.skip(f"{path.name} is not in TFDS's manual folder")
    for key, values in read_human(path, "cifar10").items():
        np.testing.assert_array_equal(values, published("worst").clean if key == "clean_label" else by_key(key))


def by_key(key):
    return published(human.SYNONYMS[key]).given


@pytest.fixture(scope="module")
def table():
    """Made-up annotations with the published keys and roughly the published rates."""
    random = np.random.default_rng(0)
    clean = np.arange(50_000) % 10
    rates = dict(zip(C10_KEYS, (0, 0.09, 0.4, 0.17, 0.18, 0.17), strict=True))
    return {key: np.where(random.random(50_000) < r, (clean + 1) % 10, clean) for key, r in rates.items()}


def write(path, content):
    path.write_bytes(content)
    return path


def ordered(table, dataset="cifar10"):
    return {key: values[published_order(dataset)] for key, values in table.items()}


def write_csv(path, table):
    np.savetxt(path, np.stack([*table.values()], 1), "%d", ",", header=",".join(table), comments="")
    return path


@pytest.mark.parametrize("form", ["zip", "legacy", "protocol 5", "old numpy", "big endian", "npy", "csv"])
def test_every_form_reads_alike(table, tmp_path, form):
    path = tmp_path / "labels.pt"
    if form == "zip":
        write(path, torch_zip(table))
    elif form == "legacy":
        write(path, torch_legacy(table))
    elif form == "protocol 5":
        write(path, pickle.dumps(table, protocol=5))
    elif form == "old numpy":
        write(path, torch_zip(table).replace(b"numpy._core", b"numpy.core"))
        write(path, pickle.dumps(table, protocol=2).replace(b"numpy._core", b"numpy.core"))
    elif form == "big endian":
        write(path, torch_zip({key: values.astype(">i4") for key, values in table.items()}))
    elif form == "npy":
        path = tmp_path / "labels.npy"
        np.save(path, np.array(ordered(table), object), allow_pickle=True)
    else:
        path = write_csv(tmp_path / "labels.csv", ordered(table))
    for key, values in read_human(path, "cifar10").items():
        np.testing.assert_array_equal(values, table[key])
    np.testing.assert_array_equal(clean_labels("cifar10", path), table["clean_label"])


@pytest.mark.faults(10, "labels in the wrong order, or of other examples", "refused: they do not belong together")
def test_labels_join_by_id(table, tmp_path):
    path = write(tmp_path / "labels.pt", torch_zip(table))
    ids = np.random.default_rng(1).permutation(50_000)[:700]
    clean = table["clean_label"]
    for name in ("worst", "worse_label"):
        found = human_labels(name, path=path, clean=clean[ids], ids=ids)
        np.testing.assert_array_equal(found.given, table["worse_label"][ids])
        np.testing.assert_array_equal(found.clean, clean[ids])
    assert found.given.dtype == np.int32
    with pytest.raises(ValueError, match=r"do not belong to these examples.*Labels join by id"):
        human_labels("worst", path=path, clean=clean[ids], ids=np.arange(700))
    with pytest.raises(ValueError, match="700 clean labels for 50000 ids"):
        human_labels("worst", path=path, clean=clean[:700])
    with pytest.raises(ValueError, match=r"0\.\.49999"):
        human_labels("worst", path=path, ids=np.array([50_000]))
    with pytest.raises(ValueError, match=r"unknown human label set 'wrost'.*'worst'"):
        human_labels("wrost", path=path)
    with pytest.raises(ValueError, match="not a CIFAR-N file of cifar100"):
        human_labels("noisy100", path=path)


def test_ordered_files_of_cifar100_use_the_published_order(tmp_path):
    clean = np.arange(50_000) // 500
    noisy = {"clean_label": clean, "noise_label": np.roll(clean, 1)}
    path = tmp_path / "ordered.npy"
    np.save(path, np.array(ordered(noisy, "cifar100"), object), allow_pickle=True)
    found = human_labels("noisy100", path=path, clean=clean)
    np.testing.assert_array_equal(found.given, noisy["noise_label"])
    csv = write_csv(tmp_path / "ordered.csv", ordered(noisy, "cifar100"))
    np.testing.assert_array_equal(human_labels("noisy100", path=csv).given, noisy["noise_label"])
    with pytest.raises(ValueError, match=r"has no noisy_coarse_label; CIFAR-100_human\.pt has"):
        human_labels("noisy100_coarse", path=csv)


def test_exchanged_columns(table, tmp_path):
    swapped = {**table, "aggre_label": table["worse_label"], "worse_label": table["aggre_label"]}
    with pytest.raises(ValueError, match=r"aggre_label and worse_label exchanged: 0\.40.* and 0\.09"):
        read_human(write_csv(tmp_path / "a.csv", ordered(swapped)), "cifar10")
    other_header = {key: table[key] for key in ("clean_label", "worse_label", "aggre_label", *C10_KEYS[3:])}
    with pytest.raises(ValueError, match=r"by position: clean_label,aggre_label,worse_label"):
        read_human(write_csv(tmp_path / "b.csv", ordered(other_header)), "cifar10")


@pytest.mark.faults(10, "0 bytes, truncated, a web page, another table", "refused by name, with the reason")
def test_damaged_and_foreign_tables(table, tmp_path):
    def refuse(content, complaint, name="labels.pt"):
        with pytest.raises(ValueError, match=f"{name.replace('.', '[.]')}.*{complaint}"):
            read_human(write(tmp_path / name, content), "cifar10")

    whole = torch_zip(table)
    refuse(b"", "empty")
    refuse(whole[: len(whole) // 2], "truncated or not a label file")
    refuse(torch_legacy(table)[:1_000_000], "truncated or not a label file")
    refuse(b"<html>not found</html>", "truncated or not a label file|label file")
    refuse(torch_zip([1, 2]), "not list")
    refuse(torch_zip({"a": 1}), "missing.*'a'")
    refuse(torch_zip({key: table[key] for key in C10_KEYS[:5]}), r"\['random_label3'\] missing")
    refuse(torch_zip({**table, "more": table["clean_label"]}), r"\['more'\] unexpected")
    refuse(torch_zip({**table, "random_label3": table["clean_label"][:30_000]}), "random_label3 has 30000 labels")
    refuse(torch_zip({**table, "aggre_label": table["aggre_label"] * 1.0}), "dtype 'f8'")
    npy = io.BytesIO()
    np.save(npy, table["clean_label"])
    refuse(npy.getvalue(), "single label vector", "labels.npy")
    refuse(npy.getvalue()[:1000], "truncated", "labels.npy")
    refuse(b"", "empty", "labels.csv")
    refuse(b"clean_label,aggre_label\n1,2\n3\n", "line 3 must hold 2 whole numbers, but is '3'", "labels.csv")
    refuse(b"clean_label,aggre_label\n1,2\n3,4,5\n", "line 3 has 3 columns, and the header names 2", "labels.csv")
    refuse(b"1,2\n3,4\n", "line 1 must name the columns", "labels.csv")
    refuse(b"clean_label,aggre_label\n1,cat\n", "line 2 must hold 2 whole numbers, but is '1,cat'", "labels.csv")
    refuse("clean_label,aggre_label\n1,2\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8", "labels.csv")
    refuse(b"x", "must end in", "labels.txt")
    with pytest.raises(ValueError, match=r"worse_label of labels.pt must lie in 0\.\.9.*11"):
        read_human(
            write(tmp_path / "labels.pt", torch_zip({**table, "worse_label": table["worse_label"] + 2})), "cifar10"
        )
    with pytest.raises(FileNotFoundError, match=r"absent\.pt is needed for the labels of cifar10.*UCSC-REAL"):
        read_human(tmp_path / "absent.pt", "cifar10")


class Shell:
    def __init__(self, path):
        self.command = f"touch {path}"

    def __reduce__(self):
        return os.system, (self.command,)


class Evaluated(Shell):
    def __reduce__(self):
        return eval, (f"__import__('os').system({self.command!r})",)


@pytest.mark.faults(10, "a pickle with a payload", "refused; nothing of it is run")
@pytest.mark.parametrize("payload", [Shell, Evaluated])
@pytest.mark.parametrize("form", ["zip", "legacy", "npy"])
def test_payloads_are_not_run(table, tmp_path, payload, form):
    trap = tmp_path / "trap"
    content = {**table, "random_label1": payload(trap)}
    path = tmp_path / ("labels.npy" if form == "npy" else "labels.pt")
    if form == "npy":
        np.save(path, np.array(content, object), allow_pickle=True)
    else:
        write(path, torch_zip(content) if form == "zip" else torch_legacy(content))
    with pytest.raises(ValueError, match=rf"{path.name}: it asks for .*no code was run"):
        label_files.read(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(payload(trap)))
    assert trap.exists(), "the trap itself must work, or the test shows nothing"


@pytest.mark.parametrize("content", [np.float64(1.0), np.datetime64(0, "s"), complex(1), range(3), np.array([{}, {}])])
def test_other_objects_are_refused(tmp_path, content):
    with pytest.raises(ValueError, match=r"labels\.pt"):
        label_files.read(write(tmp_path / "labels.pt", torch_zip({"clean_label": content})))


def test_plain_vectors(tmp_path):
    np.save(tmp_path / "vector.npy", np.arange(5))
    for name, text in (("bare.csv", "0\n1\n2\n3\n4\n"), ("headed.csv", "label\n0\n1\n2\n3\n4\n")):
        np.testing.assert_array_equal(label_files.read(write(tmp_path / name, text.encode())), np.arange(5))
    np.testing.assert_array_equal(clean_labels("cifar10", tmp_path / "vector.npy"), np.arange(5))
    with pytest.raises(ValueError, match="unknown data set with published human labels 'digits'"):
        clean_labels("digits")
    np.save(tmp_path / "floats.npy", np.ones(5))
    with pytest.raises(ValueError, match=r"floats\.npy must hold integers \[n\].*float64"):
        label_files.read(tmp_path / "floats.npy")
