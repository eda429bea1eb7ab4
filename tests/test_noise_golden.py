"""Published noise, bit for bit: the label vectors of the reference generators with seed 0."""

import functools
import hashlib

import numpy as np
import pytest

from ddjax import noise
from ddjax.noise import human
from ddjax.noise.corrupt import corrupt
from ddjax.noise.imbalance import long_tail, long_tail_counts
from ddjax.noise.labels import checksum
from ddjax.noise.orders import md5_order, tfds_order
from ddjax.noise.transition import asymmetric, matrix, symmetric
from ddjax.storage import files

CLASSES = {"cifar10": 10, "cifar100": 100, "tiny": 200}
# data set, order, kind, rate, changed labels, checksum, first ten labels, all in that order
GOLDEN = """
cifar10 original symmetric 0.2 10038 241b61c9fa2b2f1d 6,9,4,4,8,1,2,7,4,3
cifar10 tfds symmetric 0.2 10059 0ceda6819a103b60 7,8,3,4,6,8,2,7,6,6
cifar10 original symmetric 0.4 20042 db029d970dc7565e 6,1,9,2,1,1,6,6,8,3
cifar10 tfds symmetric 0.4 20039 45d1e79452c08bfa 8,8,2,4,6,9,8,1,6,8
cifar10 original symmetric 0.6 30012 55eb7020d58be514 6,1,4,5,0,6,8,1,8,4
cifar10 tfds symmetric 0.6 29863 ef7ee6f4a037ef7f 8,4,5,0,9,8,9,4,6,8
cifar10 original symmetric 0.8 39871 2298443a660d9fac 7,0,4,4,1,6,9,1,8,4
cifar10 tfds symmetric 0.8 40072 5838b67248c14fd0 9,4,4,1,6,9,1,9,4,8
cifar10 original asymmetric 0.2 4939 55b6a48a2bac1329 6,9,9,4,1,1,2,7,8,3
cifar10 tfds asymmetric 0.2 4960 7dcc216a1c2e20e1 7,8,4,4,6,5,0,1,6,6
cifar10 original asymmetric 0.4 9873 69eb95aa152c1c7b 6,1,1,4,1,1,2,7,8,5
cifar10 tfds asymmetric 0.4 9859 8b3c84fc97b4611d 7,8,7,4,6,5,0,9,6,6
cifar10 original asymmetric 0.6 15102 b1801674c3c141cd 6,9,9,7,1,1,2,7,8,5
cifar10 tfds asymmetric 0.6 14999 d42706500e1a0759 7,8,4,7,6,3,2,1,6,6
cifar10 original asymmetric 0.78 19448 0f785af61c577015 6,1,1,7,1,1,2,7,8,5
cifar10 tfds asymmetric 0.78 19453 091610727eb07b74 7,8,7,7,6,5,0,9,6,6
cifar10 original asymmetric 0.8 20101 bf61ff72fa0c80fa 6,1,1,7,1,1,2,7,8,5
cifar10 tfds asymmetric 0.8 20026 169a6ad3696c591e 7,8,7,7,6,5,0,1,6,6
cifar10 original pairflip_ref10 0.2 9965 beb72abf8f4924bc 6,9,9,4,1,1,2,4,8,3
cifar10 original pairflip_ref10 0.4 19871 051593d890598756 6,1,1,4,1,9,2,4,8,3
cifar100 original symmetric 0.2 10054 02d53bf7241d197f 52,29,0,11,1,51,90,28,23,31
cifar100 tfds symmetric 0.2 10159 e15e01477aef56c7 66,23,40,17,7,15,11,44,76,50
cifar100 original symmetric 0.4 20112 d0de9af9d5e96864 52,29,66,11,48,86,90,28,33,31
cifar100 tfds symmetric 0.4 20022 5031d67350e9448d 70,23,40,13,7,15,11,44,76,50
cifar100 original symmetric 0.6 29990 9cb397999ce7c689 19,32,94,1,1,86,90,90,30,26
cifar100 tfds symmetric 0.6 30106 cf43b496fe76ecfa 70,78,40,39,55,90,43,44,11,50
cifar100 original symmetric 0.8 39952 792fb9d2cd108ea0 19,32,94,1,1,58,75,90,23,45
cifar100 tfds symmetric 0.8 39856 64a0fadc1aed98f1 52,94,1,60,59,15,11,78,43,29
cifar100 original asymmetric_ref 0.2 9877 d469f16082faee31 19,29,0,11,1,86,90,61,23,31
cifar100 tfds asymmetric_ref 0.2 9821 f27fe099d4d6b760 66,23,40,39,7,15,11,78,76,50
cifar100 original asymmetric_ref 0.4 19743 16a5ec91c6bc79f4 19,44,0,11,32,87,90,28,23,38
cifar100 tfds asymmetric_ref 0.4 19677 7482059bf8e18d15 66,33,40,39,14,19,11,78,76,50
cifar100 original asymmetric_ref 0.6 29810 6403f5832d18f6fe 21,29,51,11,32,86,8,28,33,31
cifar100 tfds asymmetric_ref 0.6 29821 1cfdae5fff6dabbb 75,23,86,39,14,15,35,78,76,50
cifar100 original asymmetric_ref 0.8 39674 222db6a28199c0d1 21,44,51,35,1,87,8,61,33,38
cifar100 tfds asymmetric_ref 0.8 39595 fc70c7800ff283b0 75,33,86,40,7,19,35,44,12,50
cifar100 original asymmetric 0.2 9976 7bd5ea4006e9e00b 19,29,0,11,1,86,90,61,23,31
cifar100 tfds asymmetric 0.2 9980 0f1f16a5d2946b54 66,23,40,39,7,15,11,78,76,50
cifar100 original asymmetric 0.4 19860 0a404eb70cbfb4bd 19,44,0,11,32,87,90,28,23,38
cifar100 tfds asymmetric 0.4 19872 088767aeadb9de8a 66,33,40,39,14,19,11,78,76,50
cifar100 original asymmetric 0.6 29981 04edddcecf83ea5b 21,29,51,11,32,86,8,28,33,31
cifar100 tfds asymmetric 0.6 30133 71127f5bca67ea65 75,23,86,39,14,15,35,78,76,65
cifar100 original asymmetric 0.8 39985 7546710b388e204b 21,44,51,35,1,87,8,61,33,38
cifar100 tfds asymmetric 0.8 40208 b85e0240bd850f22 75,33,86,40,7,19,35,44,12,65
tiny imagefolder symmetric 0.2 20209 35299811850a3e00 0,0,0,0,0,0,0,142,0,198
tiny imagefolder symmetric 0.4 40086 6b501e22aec72c20 0,148,0,198,101,0,0,24,0,0
tiny imagefolder symmetric 0.6 60006 9626dc3ffe951bc1 149,199,0,0,100,26,116,23,146,184
tiny imagefolder symmetric 0.8 80106 23d210882ef5163e 149,198,0,101,26,116,23,146,184,22
tiny md5 symmetric 0.2 20152 a97db4c6b9193603 149,160,119,180,7,166,2,106,25,4
tiny md5 symmetric 0.4 40014 80312f0c0e144ee5 149,160,119,164,23,166,2,184,25,27
tiny md5 symmetric 0.6 59995 07b539c8589ca7a6 13,135,119,180,97,46,23,146,25,181
tiny md5 symmetric 0.8 79987 7d7eeef3e32bd91a 13,135,198,129,116,23,146,184,22,53
"""
CLEAN = """
cifar10 original 2b7cd2f244873176 6,9,9,4,1,1,2,7,8,3
cifar10 tfds 905bbb44a2d3fdda 7,8,4,4,6,5,2,9,6,6
cifar100 original 9f11b9f97aad759b 19,29,0,11,1,86,90,28,23,31
cifar100 tfds 72ed3b3e3f718e33 66,23,40,39,7,15,11,44,76,50
tiny imagefolder ea210d0631a1703a 0,0,0,0,0,0,0,0,0,0
tiny md5 dd47fa4e08150d95 13,160,119,180,97,166,2,106,25,4
"""


def rows(table):
    return [pytest.param(*line.split(), id=" ".join(line.split()[:4])) for line in table.strip().splitlines()]


def cifar(dataset):
    path = human.default_file(dataset)
    if not path.exists():
        pytest.skip(f"the labels of {dataset} are read from {path.name} in TFDS's manual folder, and it is not there")
    return noise.clean_labels(dataset)


def tiny(order):
    labels = np.repeat(np.arange(200), 500)
    if order == "imagefolder":
        return labels
    path = files.manual_dir() / "tiny-imagenet-200" / "wnids.txt"
    if not path.exists():
        pytest.skip("Tiny-ImageNet's wnids.txt is not in TFDS's manual folder")
    return labels[md5_order(f"{wnid}/{wnid}_{i}.JPEG" for wnid in path.read_text().split() for i in range(500))]


@functools.cache
def ordered_clean(dataset, order):
    if dataset == "tiny":
        return tiny(order)
    labels = cifar(dataset)
    return labels[tfds_order(len(labels))] if order == "tfds" else labels


def first(text):
    return [int(label) for label in text.split(",")]


@pytest.mark.parametrize(("dataset", "order", "digest", "start"), rows(CLEAN))
def test_clean_labels(dataset, order, digest, start):
    labels = ordered_clean(dataset, order)
    assert checksum(labels, CLASSES[dataset]) == digest
    assert labels[:10].tolist() == first(start)


@pytest.mark.parametrize(("dataset", "order", "kind", "rate", "flips", "digest", "start"), rows(GOLDEN))
def test_noisy_labels(dataset, order, kind, rate, flips, digest, start):
    labels = ordered_clean(dataset, order)
    given = corrupt(labels, matrix(kind, float(rate), CLASSES[dataset], dataset))
    assert given[:10].tolist() == first(start)
    assert (given != labels).sum() == int(flips)
    assert checksum(given, CLASSES[dataset]) == digest


def test_tfds_order_is_brought_back():
    labels = cifar("cifar10")
    spec = noise.NoiseSpec("symmetric", 0.4, order="tfds")
    noisy = noise.apply(spec, labels, np.arange(len(labels)), 10, "cifar10")
    assert checksum(noisy.labels[tfds_order(len(labels))], 10) == "45d1e79452c08bfa"
    assert noisy.record["checksum_in_order"] == "45d1e79452c08bfa"
    assert noisy.record["checksum"] == checksum(noisy.labels, 10) != "45d1e79452c08bfa"


def test_class_sizes_and_purity_of_strong_asymmetric_noise():
    labels = cifar("cifar10")
    given = corrupt(labels, matrix("asymmetric", 0.8, 10, "cifar10"))
    assert np.bincount(given).tolist() == [8975, 8984, 1025, 5018, 962, 4982, 5000, 9038, 5000, 1016]
    purity = [np.mean(labels[given == c] == c) for c in range(10)]
    np.testing.assert_allclose(purity, [0.557, 0.557, 1, 0.191, 1, 0.188, 1, 0.553, 1, 1], atol=5e-4)
    gentler = corrupt(labels, matrix("asymmetric", 0.78, 10, "cifar10"))
    assert np.bincount(gentler).min() == 1089


@pytest.mark.parametrize(
    ("matrix_10", "start", "flips", "total"),
    [
        (symmetric(0.4, 10), "0,1,2,2,8,2,9,7,8,5,0,1,2,3,4,2,1,7,8,9", 399, 4340),
        (symmetric(0.8, 10), "7,0,4,3,2,6,9,1,8,4,8,6,1,1,8,7,6,6,5,6", 788, 4582),
        (asymmetric(0.4, 10, dataset="cifar10"), "0,1,0,3,4,3,6,7,8,9,0,1,2,3,4,5,6,7,8,1", 190, 4234),
    ],
)
def test_thousand_labels_in_turn(matrix_10, start, flips, total):
    labels = np.arange(1000) % 10
    given = corrupt(labels, matrix_10)
    assert given[:20].tolist() == first(start)
    assert (given != labels).sum() == flips
    assert given.sum() == total


@pytest.mark.parametrize(
    ("kind", "rate", "effective", "total"),
    [
        ("symmetric", 0.2, 0.19754, 224805),
        ("symmetric", 0.4, 0.40216, 225788),
        ("symmetric", 0.6, 0.6015, 224886),
        ("symmetric", 0.8, 0.80158, 225597),
        ("asymmetric", 0.2, 0.09944, 217875),
        ("asymmetric", 0.4, 0.19806, 210901),
    ],
)
def test_fifty_thousand_labels_in_turn(kind, rate, effective, total):
    labels = np.arange(50_000) % 10
    given = corrupt(labels, matrix(kind, rate, 10, "cifar10"))
    assert np.mean(given != labels) == effective
    assert given.sum() == total


def test_hundred_classes_in_turn():
    labels = np.arange(50_000) % 100
    given = corrupt(labels, symmetric(0.2, 100))
    assert np.mean(given != labels) == 0.20198
    sizes = np.bincount(given)
    assert (sizes.min(), sizes.max()) == (461, 539)


@pytest.mark.parametrize(
    ("classes", "ratio", "n_max", "total", "last"),
    [
        (10, 10.0, 5000, 20431, 500),
        (10, 50.0, 5000, 13996, 100),
        (10, 100.0, 5000, 12406, 50),
        (100, 10.0, 500, 19573, 50),
        (100, 50.0, 500, 12608, 10),
        (100, 100.0, 500, 10847, 5),
        (200, 10.0, 500, 39072, 50),
        (200, 50.0, 500, 25082, 10),
        (200, 100.0, 500, 21549, 5),
    ],
)
def test_long_tail_counts(classes, ratio, n_max, total, last):
    counts = long_tail_counts(classes, ratio, n_max)
    assert (counts.sum(), counts[0], counts[-1]) == (total, n_max, last)
    kept = long_tail(np.repeat(np.arange(classes), n_max), ratio)
    assert len(kept) == total
    assert (np.diff(kept) > 0).all()


def test_long_tail_profile():
    assert long_tail_counts(10, 100.0, 5000).tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert long_tail_counts(10, 10.0, 5000).tolist() == [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]
    assert long_tail_counts(10, 50.0, 5000).tolist() == [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100]


@pytest.mark.parametrize(
    ("dataset", "ratio", "digest"),
    [
        ("cifar10", 10.0, "5a6b9600d675fec6"),
        ("cifar10", 50.0, "e400ebda101b0cf1"),
        ("cifar10", 100.0, "dae91164db550e9c"),
        ("cifar100", 10.0, "16ea54bf2db783cb"),
        ("cifar100", 50.0, "4c782d0ae4d5c00e"),
        ("cifar100", 100.0, "7e9a72fc42004519"),
    ],
)
def test_long_tail_selection(dataset, ratio, digest):
    kept = long_tail(cifar(dataset), ratio)
    assert hashlib.sha256(kept.astype("<i4").tobytes()).hexdigest()[:16] == digest
