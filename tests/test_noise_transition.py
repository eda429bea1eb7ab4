import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddjax.noise import taxonomy, transition
from ddjax.noise.transition import KINDS, estimate, load_matrix, matrix

RATES = st.floats(0, 1)
CLASSES = st.integers(2, 100)
EVERY_KIND = pytest.mark.faults(
    9, "matrices of every kind, K = 2..100, rates 0..1", "rows are shares, the rate is what was asked"
)


def home(kind):
    """Data sets, with their numbers of classes, on which a kind is defined."""
    if kind.startswith("asymmetric"):
        return [("cifar100", 100)] if kind == "asymmetric_index" else [("cifar10", 10), ("cifar100", 100)]
    return [("cifar10", 10)] if kind == "pairflip_ref10" else [("digits", 10), ("tiny_imagenet", 200)]


def stochastic(built):
    np.testing.assert_allclose(built.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert built.dtype == np.float64
    assert (built >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.45, 0.78, 1.0])
def test_rows_sum_to_one(kind, rate):
    for dataset, k in home(kind):
        built = matrix(kind, rate, k, dataset, np.arange(1, k + 1))
        stochastic(built)
        if rate == 0:
            np.testing.assert_array_equal(built, np.eye(k))


@EVERY_KIND
@given(rate=RATES, k=CLASSES)
def test_symmetric_leaves_the_class(rate, k):
    built = matrix("symmetric", rate, k)
    stochastic(built)
    np.testing.assert_array_equal(np.diag(built), 1.0 - rate)
    np.testing.assert_array_equal(built[~np.eye(k, dtype=bool)], rate / (k - 1))


@EVERY_KIND
@given(rate=RATES, k=CLASSES)
def test_inclusive_is_symmetric_at_a_lower_rate(rate, k):
    built = matrix("symmetric_inclusive", rate, k)
    stochastic(built)
    np.testing.assert_allclose(built, matrix("symmetric", rate * (k - 1) / k, k), atol=1e-12)


@EVERY_KIND
@given(rate=RATES, k=CLASSES)
def test_pairflip_moves_to_the_next(rate, k):
    built = matrix("pairflip", rate, k)
    stochastic(built)
    assert all(built[i, i] == 1.0 - rate and built[i, (i + 1) % k] == rate for i in range(k))


@EVERY_KIND
@given(rate=RATES, counts=st.lists(st.integers(1, 5000), min_size=2, max_size=100))
def test_frequency_flips_in_proportion(rate, counts):
    k, counts = len(counts), np.array(counts)
    built = matrix("frequency", rate, k, counts=counts)
    stochastic(built)
    np.testing.assert_allclose(np.diag(built), 1 - rate)
    flips = built * (1 - np.eye(k))
    np.testing.assert_allclose(flips * (counts.sum() - counts)[:, None], rate * counts * (1 - np.eye(k)), atol=1e-6)


def test_tail_composition_under_each_kind():
    counts = np.array([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
    for kind, rate, labelled, clean in [
        ("symmetric", 0.2, 315, 0.127),
        ("symmetric", 0.4, 579, 0.052),
        ("frequency", 0.2, 54, 0.74),
        ("frequency", 0.4, 58, 0.52),
    ]:
        built = matrix(kind, rate, 10, counts=counts)
        tail = counts @ built[:, 9]
        assert round(tail) == labelled
        assert counts[9] * built[9, 9] / tail == pytest.approx(clean, abs=0.005)


def test_asymmetric_cifar10():
    built = matrix("asymmetric", 0.4, 10, "cifar10")
    changed = {(i, j) for i, j in zip(*np.nonzero(built - np.diag(np.diag(built))), strict=True)}
    assert changed == {(9, 1), (2, 0), (3, 5), (5, 3), (4, 7)}
    assert np.mean(1 - np.diag(built)) == pytest.approx(0.2)
    np.testing.assert_array_equal(built, matrix("asymmetric_ref", 0.4, 10, "cifar10_n"))


def test_pairflip_table():
    built = matrix("pairflip_ref10", 0.3, 10)
    np.testing.assert_array_equal(built, built.T)
    assert np.mean(1 - np.diag(built)) == pytest.approx(0.3)
    assert built[9, 1] == built[2, 0] == built[4, 7] == built[3, 5] == built[6, 8] == 0.3


def test_superclasses_partition_the_fine_classes():
    members = [c for group in taxonomy.CIFAR100_SUPERCLASSES.values() for c in group]
    assert sorted(members) == list(range(100))
    assert all(list(group) == sorted(group) for group in taxonomy.CIFAR100_SUPERCLASSES.values())
    for coarse, group in enumerate(taxonomy.CIFAR100_SUPERCLASSES.values()):
        assert all(taxonomy.CIFAR100_COARSE[list(group)] == coarse)


def test_asymmetric_cifar100_and_the_class_that_the_reference_omits():
    whole, gap = (matrix(kind, 0.4, 100, "cifar100") for kind in ("asymmetric", "asymmetric_ref"))
    assert np.mean(1 - np.diag(whole)) == pytest.approx(0.4)
    assert np.mean(1 - np.diag(gap)) == pytest.approx(0.99 * 0.4)
    for built in (whole, gap):
        source, target = np.nonzero(built - np.diag(np.diag(built)))
        assert (taxonomy.CIFAR100_COARSE[source] == taxonomy.CIFAR100_COARSE[target]).all()
    identity = np.eye(100)[50]
    np.testing.assert_array_equal(gap[50], identity)
    np.testing.assert_array_equal(gap[:, 50], identity)
    assert whole[36, 50] == whole[50, 65] == gap[36, 65] == gap[80, 36] == 0.4


def test_asymmetric_index_uses_consecutive_fives():
    built = matrix("asymmetric_index", 0.4, 100, "cifar100")
    assert all(built[c, c + 1 if c % 5 < 4 else c - 4] == 0.4 for c in range(100))


@pytest.mark.parametrize("kind", ["asymmetric", "asymmetric_ref", "asymmetric_index"])
@pytest.mark.parametrize(("dataset", "k"), [("tiny_imagenet", 200), ("svhn", 10), (None, 10), ("cifar100", 20)])
def test_asymmetric_is_never_invented(kind, dataset, k):
    with pytest.raises(ValueError, match=r"no definition.*cifar100 \(100 classes\)"):
        matrix(kind, 0.2, k, dataset)


@pytest.mark.parametrize("rate", [-0.1, 1.1, np.nan, np.inf])
def test_rates_outside_zero_to_one_are_refused(rate):
    with pytest.raises(ValueError, match="rate must be a finite number from 0 to 1"):
        matrix("symmetric", rate, 10)


def test_unknown_kind_and_odd_requests():
    with pytest.raises(ValueError, match=r"unknown noise kind 'symetric'.*Did you mean 'symmetric'"):
        matrix("symetric", 0.1, 10)
    with pytest.raises(ValueError, match="10 classes of CIFAR-10"):
        matrix("pairflip_ref10", 0.1, 20)
    with pytest.raises(ValueError, match="at least 2 classes"):
        matrix("symmetric", 0.1, 1)
    with pytest.raises(ValueError, match="needs counts"):
        matrix("frequency", 0.1, 10)
    with pytest.raises(ValueError, match="at least two classes"):
        matrix("frequency", 0.1, 2, counts=np.array([5, 0]))


def backwards(rate, num_classes, **context):
    return np.roll(np.eye(num_classes) * rate, -1, axis=1) + np.eye(num_classes) * (1 - rate)


def test_a_fork_names_its_own():
    built = matrix(f"{__name__}:backwards", 0.3, 4)
    assert built[1, 0] == 0.3 and built[1, 1] == 0.7
    with pytest.raises(ValueError, match="module:ATTRIBUTE"):
        matrix(f"{__name__}:forwards", 0.3, 4)


GOOD = [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.5, 0.5]]


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_matrix_files(tmp_path, suffix):
    def write(values):
        path = tmp_path / f"matrix{suffix}"
        np.save(path, values) if suffix == ".npy" else np.savetxt(path, values, delimiter=",")
        return path

    np.testing.assert_allclose(load_matrix(write(GOOD), 3), GOOD)
    nearly = np.array(GOOD)
    nearly[0, 0] += 5e-7
    stochastic(load_matrix(write(nearly), 3))
    for values, complaint in [
        (np.transpose(GOOD), r"row 2 sums to 0\.5.*transposed"),
        (np.array(GOOD) - 0.05, "negative"),
        (np.array(GOOD) * np.nan, "non-finite"),
        (np.eye(3)[:2], "square"),
        (np.eye(2), "2 x 2, but there are 3 classes"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            load_matrix(write(values), 3)


def test_unreadable_matrix_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.npy does not exist"):
        load_matrix(tmp_path / "absent.npy")
    with pytest.raises(ValueError, match=r"\.npy or \.csv"):
        load_matrix("matrix.txt")
    for name in ("empty.npy", "words.csv"):
        path = pathlib.Path(tmp_path / name)
        path.write_text("" if name == "empty.npy" else "a,b\n")
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            load_matrix(path)
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read"):
        load_matrix(tmp_path / "object.npy")


def test_estimate_divides_rows():
    clean, human = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 0, 2])
    np.testing.assert_array_equal(estimate(clean, human, 4)[:2], [[0.75, 0.25, 0, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_array_equal(estimate(clean, human, 4)[2:], np.eye(4)[2:])
    with pytest.raises(ValueError, match="same length"):
        estimate(clean, human[:3], 4)


def test_checked_matrix_keeps_the_bits_of_exact_rows():
    built = transition.symmetric(0.37, 200)
    np.testing.assert_array_equal(transition.checked_matrix(built), built)


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
def test_digits_are_mistaken_for_look_alikes(dataset):
    flips = matrix("asymmetric", 0.3, 10, dataset)
    changed = {(i, j) for i in range(10) for j in range(10) if i != j and flips[i, j]}
    assert changed == {(2, 7), (3, 8), (5, 6), (6, 5), (7, 1)}
    assert flips[2, 7] == 0.3 and flips[2, 2] == 0.7
