import json
import subprocess
import sys

import numpy as np
import pytest

from ddjax import noise
from ddjax.data import prepare, synthetic
from ddjax.noise import NoiseSpec, apply, human, transition
from ddjax.noise.orders import published_order
from ddjax.noise.spec import RATELESS

N = 600
CLEAN = np.random.RandomState(0).randint(0, 10, N)
IDS = np.arange(N)
IMAGES = np.random.RandomState(1).random_sample((N, 2, 2, 3)).astype(np.float32)
SOFT = np.random.RandomState(2).dirichlet(np.ones(10), N).astype(np.float32)
OTHER_WAYS = [("numpy_legacy", "tfds"), ("jax", "original"), ("jax", "tfds")]
RATED = [kind for kind in noise.KINDS if kind not in RATELESS]


def home(kind):
    if kind in ("asymmetric_index",):
        return "cifar100", 100
    return "cifar10", 10


@pytest.fixture
def annotations(tmp_path):
    """A made-up CIFAR-10N table of 50 000 rows whose first clean labels are CLEAN."""
    clean = np.resize(CLEAN, 50_000)
    table = {key: np.where(np.arange(50_000) % 7 < i, (clean + 1) % 10, clean) for i, key in enumerate(human.C10_KEYS)}
    path = tmp_path / "annotations.csv"
    rows = np.stack([*table.values()], 1)[published_order("cifar10")]
    np.savetxt(path, rows, "%d", ",", header=",".join(table), comments="")
    return table, str(path)


@pytest.mark.parametrize("kind", RATED)
def test_rate_zero_changes_nothing(kind):
    dataset, k = home(kind)
    noisy = apply(NoiseSpec(kind, 0.0), CLEAN, IDS, k, dataset)
    np.testing.assert_array_equal(noisy.labels, CLEAN)
    assert noisy.record["flips"] == 0


@pytest.mark.parametrize(
    ("kind", "sampler", "order"),
    [(kind, "numpy_legacy", "original") for kind in RATED]
    + [(kind, sampler, order) for kind in ("symmetric", "frequency") for sampler, order in OTHER_WAYS],
)
def test_rows_may_come_in_any_order(kind, sampler, order):
    dataset, k = home(kind)
    rate = 0.5 if not kind.startswith("pmd") else 0.9
    spec = NoiseSpec(kind, rate, seed=4, sampler=sampler, order=order)
    before = CLEAN.copy()
    noisy = apply(spec, CLEAN, IDS, k, dataset, images=IMAGES, probabilities=SOFT if k == 10 else None)
    assert noisy.record["flips"] > 0
    rows = np.random.RandomState(5).permutation(N)
    stream = apply(spec, CLEAN[rows, None], rows, k, dataset, images=IMAGES[rows], probabilities=SOFT[rows])
    np.testing.assert_array_equal(stream.labels, noisy.labels[rows])
    assert stream.record == noisy.record
    np.testing.assert_array_equal(CLEAN, before)
    assert noisy.labels.dtype == np.int32


def test_record_is_whole_and_json():
    noisy = apply(NoiseSpec("symmetric", 0.4), CLEAN, IDS, 10, "cifar10")
    record = json.loads(json.dumps(noisy.record))
    assert record == noisy.record
    flips = int((noisy.labels != CLEAN).sum())
    assert record == {
        "kind": "symmetric",
        "rate": 0.4,
        "effective_rate": flips / N,
        "n": N,
        "flips": flips,
        "checksum": noise.checksum(noisy.labels, 10),
        "checksum_in_order": noise.checksum(noisy.labels, 10),
        "sampler": "numpy_legacy",
        "seed": 0,
        "order": "original",
        "clean_counts": np.bincount(CLEAN).tolist(),
        "given_counts": np.bincount(noisy.labels).tolist(),
    }


def test_legacy_is_drawn_by_ascending_id():
    matrix = transition.symmetric(0.4, 10)
    noisy = apply(NoiseSpec("symmetric", 0.4), CLEAN[::-1], IDS[::-1] * 3 + 5, 10)
    np.testing.assert_array_equal(noisy.labels[::-1], noise.corrupt(CLEAN, matrix))


def test_frequency_counts_the_kept_clean_labels():
    tail = noise.long_tail(CLEAN, 10.0, n_max=40)
    noisy = apply(NoiseSpec("frequency", 0.4), CLEAN[tail], IDS[tail], 10)
    matrix = transition.frequency(0.4, 10, counts=np.bincount(CLEAN[tail]))
    np.testing.assert_array_equal(noisy.labels, noise.corrupt(CLEAN[tail], matrix))


def test_human_kinds(annotations):
    table, path = annotations
    rows = np.random.RandomState(6).permutation(N)[:200]
    noisy = apply(NoiseSpec("worst", labels_file=path), CLEAN[rows], rows, 10, "cifar10")
    np.testing.assert_array_equal(noisy.labels, table["worse_label"][rows])
    assert noisy.record["sampler"] is None
    surrogate = apply(NoiseSpec("human_surrogate:worst", labels_file=path), CLEAN, IDS, 10, "cifar10")
    matrix = noise.estimate(table["clean_label"], table["worse_label"], 10)
    np.testing.assert_array_equal(surrogate.labels, noise.corrupt(CLEAN, matrix))
    with pytest.raises(ValueError, match="do not belong to these examples"):
        apply(NoiseSpec("worst", labels_file=path), CLEAN[rows], IDS[:200], 10, "cifar10")
    with pytest.raises(ValueError, match=r"'worst' are for cifar10 with 10 classes, not for 'digits' with 10"):
        apply(NoiseSpec("worst", labels_file=path), CLEAN, IDS, 10, "digits")
    with pytest.raises(ValueError, match=r"'noisy100_coarse' are for cifar100 with 20 classes"):
        apply(NoiseSpec("noisy100_coarse"), CLEAN, IDS, 100, "cifar100")


def test_missing_human_file(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"downloads/manual/CIFAR-10_human\.pt is needed"):
        apply(NoiseSpec("aggre"), CLEAN, IDS, 10, "cifar10")


def test_custom_matrix(tmp_path):
    matrix = transition.pairflip(0.3, 10)
    np.save(tmp_path / "matrix.npy", matrix)
    noisy = apply(NoiseSpec("custom", matrix_file=str(tmp_path / "matrix.npy")), CLEAN, IDS, 10)
    np.testing.assert_array_equal(noisy.labels, noise.corrupt(CLEAN, matrix))


def next_class(rate, num_classes, **context):
    return np.roll(np.eye(num_classes), 1, axis=1) * rate + np.eye(num_classes) * (1 - rate)


def test_a_fork_names_its_own():
    noisy = apply(NoiseSpec(f"{__name__}:next_class", 1.0), CLEAN, IDS, 10)
    np.testing.assert_array_equal(noisy.labels, (CLEAN + 1) % 10)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "symetric"}, "unknown noise kind 'symetric'.*'symmetric'"),
        ({"sampler": "numpy_legac"}, r"unknown sampler 'numpy_legac'.*'numpy_legacy'"),
        ({"order": "imagefolder"}, "unknown order"),
        ({"kind": "clean", "rate": 0.2}, "'clean' has its own rate"),
        ({"kind": "worst", "rate": 0.4}, "'worst' has its own rate"),
        ({"kind": "symmetric", "labels_file": "a.pt"}, "labels_file='a.pt' holds human labels.*'symmetric' does not"),
        ({"kind": "custom"}, "kind 'custom' alone needs matrix_file; got 'custom' and None"),
        ({"kind": "symmetric", "matrix_file": "m.npy"}, "needs matrix_file; got 'symmetric' and 'm.npy'"),
    ],
)
def test_invalid_specs_are_refused(fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        NoiseSpec(**fields)


def test_missing_inputs_of_a_kind_are_named():
    with pytest.raises(ValueError, match="no definition for dataset 'tiny_imagenet'"):
        apply(NoiseSpec("asymmetric", 0.2), CLEAN, IDS, 200, "tiny_imagenet")
    with pytest.raises(ValueError, match="pass images"):
        apply(NoiseSpec("part_dependent", 0.2), CLEAN, IDS, 10)
    with pytest.raises(ValueError, match=r"probabilities"):
        apply(NoiseSpec("pmd", 0.9), CLEAN, IDS, 10, probabilities=SOFT[:, :5])
    for short in ({"images": IMAGES[1:]}, {"probabilities": SOFT[1:]}, {"others": {"worst": CLEAN[1:]}}):
        for ids in (IDS, IDS[::-1]):
            with pytest.raises(ValueError, match=rf"{next(iter(short))}.* for each of {N} labels; got \w+\[{N - 1}"):
                apply(NoiseSpec("symmetric", 0.2), CLEAN, ids, 10, **short)
    for ids in (IDS * 0, IDS + 2**32):  # a key is made of 32 bits
        with pytest.raises(ValueError, match=r"none twice, all below 2\*\*32"):
            apply(NoiseSpec("symmetric", 0.2), CLEAN, ids, 10)


def test_notes_of_image_dependent_kinds():
    pixels = (IMAGES * 255).astype(np.uint8)
    assert apply(NoiseSpec("part_dependent", 0.2), CLEAN, IDS, 10, images=pixels).record["pixels"] == "uint8 / 255"
    record = apply(NoiseSpec("pmd:III", 0.9), CLEAN, IDS, 10, probabilities=SOFT.tolist()).record
    assert record["factor"] > 0 and record["sampler"] == "jax"
    assert abs(record["effective_rate"] - 0.9) < 4 * np.sqrt(0.09 / N)


def test_a_long_tail_takes_its_rows_of_the_predictions():
    dataset, noise = synthetic(10, 60), NoiseSpec("pmd", 0.3)
    teacher = (SOFT + np.eye(10)[dataset.labels]) / 2
    data = prepare(dataset, noise, imbalance=10.0, probabilities=teacher)
    clean, ids = data.audit.labels, data.audit.ids
    np.testing.assert_array_equal(data.train.labels, apply(noise, clean, ids, 10, probabilities=teacher[ids]).labels)
    with pytest.raises(ValueError, match="probabilities must have 600 rows, one for each example; got 1200"):
        prepare(dataset, noise, imbalance=10.0, probabilities=np.concatenate([teacher, teacher]))


def test_a_long_tail_that_empties_a_class_is_refused():
    with pytest.raises(ValueError, match=r"imbalance=30 leaves no example of the classes 2: .* lower it to 19 or less"):
        prepare(synthetic(3, 20), NoiseSpec(), imbalance=30.0)
    assert np.bincount(prepare(synthetic(3, 20), NoiseSpec(), imbalance=19.0).train.labels).tolist() == [20, 4, 1]


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.noise", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_command(tmp_path):
    picture = tmp_path / "noise.png"
    done = command("--dataset", "tiny_imagenet", "--rate", "0.2", "--json", "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert (record["checksum"], record["flips"]) == ("35299811850a3e00", 20209)
    assert "0.20209" in done.stdout and "35299811850a3e00" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_command_says_which_file_is_missing(monkeypatch, tmp_path, annotations):
    from experiments.noise import inspect

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"downloads/manual/CIFAR-100_human\.pt is needed"):
        inspect("cifar100", "symmetric", 0.2)
    with pytest.raises(ValueError, match="--labels is only for cifar10 and cifar100"):
        inspect("digits", "symmetric", 0.2, labels=tmp_path / "x.npy")


def test_command_in_this_process(tmp_path, annotations, capsys):
    import pathlib

    from experiments.noise import inspect

    table, path = annotations
    inspect("cifar10", "worst", labels=pathlib.Path(path), json=True, plot=tmp_path / "worst.png")
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["given_counts"] == np.bincount(table["worse_label"]).tolist()
    np.save(tmp_path / "labels.npy", CLEAN)
    inspect("cifar10", "symmetric", 0.4, order="tfds", labels=tmp_path / "labels.npy")
    assert "tfds order" in capsys.readouterr().out
    inspect("digits", "part_dependent", 0.4)
    assert "10 classes" in capsys.readouterr().out


def test_a_picture_of_an_unknown_kind_is_refused_before_any_work(tmp_path, capsys):
    from experiments.noise import inspect

    with pytest.raises(ValueError, match=r"unknown ending of .*noise.giff 'giff'.*Did you mean 'gif'"):
        inspect("digits", rate=0.2, plot=tmp_path / "noise.giff")
    assert not capsys.readouterr().out
