import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.noise.instance import ROWS, part_dependent, pmd, pmd_keep, tune_factor


def key(seed=0):
    """Made anew for each call: keys are used once."""
    return jax.random.key(seed)


RANDOM = np.random.RandomState(0)
N, K = 3000, 5
LABELS = RANDOM.randint(0, K, N)
IMAGES = RANDOM.randint(0, 256, (N, 4, 4, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn():
    return part_dependent(IMAGES, LABELS, K, 0.3, key())


def test_part_dependent_rate(drawn):
    flips = np.mean(drawn != LABELS)
    # q is truncated at 0, three deviations below its mean of 0.3
    assert abs(flips - 0.3) < 4 * np.sqrt(0.3 * 0.7 / N) + 1e-3
    assert drawn.dtype == np.int32
    assert drawn.min() >= 0 and drawn.max() < K


def test_part_dependent_depends_on_the_id_alone(drawn):
    rows = np.random.RandomState(1).permutation(N)[: 2 * ROWS + 7]
    again = part_dependent(IMAGES[rows], LABELS[rows], K, 0.3, key(), ids=rows)
    np.testing.assert_array_equal(again, drawn[rows])
    one = part_dependent(IMAGES[:1], LABELS[:1], K, 0.3, key(), ids=np.arange(1))
    np.testing.assert_array_equal(one, drawn[:1])


def test_part_dependent_target_is_the_images():
    same = np.repeat(IMAGES[:2] / 25, 1000, axis=0)
    given = part_dependent(same, np.zeros(2000, int), K, 0.5, key())
    for part in (given[:1000], given[1000:]):
        targets = np.bincount(part[part != 0], minlength=K)
        assert targets.max() > 0.8 * targets.sum()
        assert 400 < targets.sum() < 600


def test_part_dependent_matches_its_formula():
    """Flip targets of many equal images against softmax(x W[y]) without the clean class."""
    image = np.full((1, 4), 0.2, np.float32)
    n = 20_000
    given = part_dependent(np.repeat(image, n, 0), np.full(n, 2), K, 0.4, key())
    weight_key, _ = jax.random.split(key())
    weights = jax.random.normal(jax.random.fold_in(weight_key, 2), (4, K))
    scores = (image[0] @ np.asarray(weights)).astype(np.float64)
    scores[2] = -np.inf
    expected = 0.4 * np.exp(scores) / np.exp(scores).sum()
    expected[2] = 0.6
    shares = np.bincount(given, minlength=K) / n
    assert (np.abs(shares - expected) < 4 * np.sqrt(expected * (1 - expected) / n) + 1e-3).all()


def test_part_dependent_inputs(drawn):
    floats = (IMAGES / 255).astype(np.float32)
    np.testing.assert_array_equal(part_dependent(floats[:50], LABELS[:50], K, 0.3, key()), drawn[:50])
    before = LABELS.copy()
    assert (part_dependent(IMAGES, LABELS[:, None], K, 0.3, jax.random.key(1)) != drawn).any()
    np.testing.assert_array_equal(LABELS, before)
    with pytest.raises(ValueError, match="one per label"):
        part_dependent(IMAGES[:10], LABELS, K, 0.3, key())
    for std in (0.0, float("nan")):
        with pytest.raises(ValueError, match="std must be a finite number above 0"):
            part_dependent(IMAGES, LABELS, K, 0.3, key(), std=std)
    with pytest.raises(ValueError, match="rate must be a finite number from 0 to 1"):
        part_dependent(IMAGES, LABELS, K, float("nan"), key())


def teacher(sharpness=1.5):
    logits = np.random.RandomState(2).normal(size=(N, K)) + sharpness * np.eye(K)[LABELS]
    return jax.nn.softmax(jnp.asarray(logits, jnp.float32))


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("I", {0: 0.5, 0.5: 0.625, 1: 1.0}),
        ("II", {0: 0.0, 0.5: 0.125, 1: 1.0}),
        ("III", {0: 0.0, 0.5: 0.875 / 3, 1: 1.0}),
    ],
)
def test_pmd_keeps_by_margin(kind, at):
    margin = jnp.asarray([*at], jnp.float32)
    np.testing.assert_allclose(pmd_keep(margin, kind=kind, factor=1.0), [*at.values()], atol=1e-6)
    np.testing.assert_allclose(pmd_keep(margin, kind=kind, factor=2.0), np.array([*at.values()]) / 2, atol=1e-6)
    assert (pmd_keep(margin, kind=kind, factor=0.1) <= 1).all()


def test_pmd_draws_first_or_second(compiled):
    probabilities = teacher()
    given = np.asarray(compiled(lambda p, i: pmd(p, i, key(), kind="II"))(probabilities, jnp.arange(N)))
    best = np.argsort(-np.asarray(probabilities), axis=1)
    assert ((given == best[:, 0]) | (given == best[:, 1])).all()
    p = np.sort(np.asarray(probabilities), axis=1)
    keep = (p[:, -1] - p[:, -2]) ** 3 / 1.2
    kept = given == best[:, 0]
    assert abs(kept.mean() - keep.mean()) < 4 * np.sqrt(np.sum(keep * (1 - keep))) / N
    rows = np.random.RandomState(3).permutation(N)[:100]
    np.testing.assert_array_equal(pmd(probabilities[rows], jnp.asarray(rows), key(), kind="II"), given[rows])


@pytest.mark.parametrize(("kind", "rate"), [("I", 0.5), ("II", 0.7), ("III", 0.5)])
def test_tuned_factor_hits_the_rate(kind, rate):
    probabilities, labels = teacher(2.5), jnp.asarray(LABELS)
    factor = tune_factor(probabilities, labels, rate, kind=kind)
    given = pmd(probabilities, jnp.arange(N), key(), kind=kind, factor=factor)
    assert abs(float(jnp.mean(given != labels)) - rate) < 4 * np.sqrt(rate * (1 - rate) / N)


def test_rates_out_of_a_teachers_reach():
    with pytest.raises(ValueError, match=r"reaches rates from 0\.\d+ \(errors of the teacher\)"):
        tune_factor(teacher(), jnp.asarray(LABELS), 0.01)
    with pytest.raises(ValueError, match="unknown PMD type 'IV'"):
        tune_factor(teacher(), jnp.asarray(LABELS), 0.5, kind="IV")
