"""Error rates and power of each verdict in simulated studies.

The accuracies of a row are arrays with one entry per study, so all studies are judged at once.
"""

import numpy as np
import pytest
from report_study import CLASSES, row

from experiments.reporting.cells import Cell, Setting
from experiments.reporting.claims import Study, outcome, refuted
from experiments.reporting.claims_other import size_needed
from experiments.reporting.inference import LEVEL, POWER, effect_size
from experiments.reporting.verdicts import CLAIMS

CLAIM = {claim.name: claim for claim in CLAIMS}
STUDIES, SD = 2000, 0.05
WRONG = LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / STUDIES)  # the level plus three standard errors of 2,000 studies


class Source:
    """A source of rows whose numbers vary between seeds with a given standard deviation."""

    def __init__(self, seeds=3):
        self.rng, self.seeds = np.random.default_rng(19), seeds

    def around(self, mean, sd=SD):
        return mean + sd * self.rng.normal(size=STUDIES)

    def rows(self, mean, sd=SD, **fields):
        return [row(self.around(mean, sd), seed=seed, **fields) for seed in range(self.seeds)]

    def curve(self, deltas, noise="symmetric", ipc=10, sd=SD, **fields):
        found = []
        for rate, delta in deltas.items():
            where = {"noise": noise, "rate": rate, **fields}
            for made in self.rows(0.5, method="full", **where):
                found.append(made | {"picked_acc": self.around(0.5)})
            found += self.rows(0.5 + delta, sd, ipc=ipc, **where)
        return found

    def column(self, name, means, **fields):
        """Return rows of several methods that differ in one column."""
        found = []
        for method, mean in means.items():
            for made in self.rows(0.5, method=method, **fields):
                found.append(made | name(self.around(mean)))
        return found

    def sizes(self, curves):
        return [
            one
            for rate, accuracies in curves.items()
            for ipc, accuracy in accuracies.items()
            for one in self.rows(accuracy, 0.01, ipc=ipc, noise="symmetric" if rate else "clean", rate=rate)
        ]

    def starts(self, gain):
        pairs = ((gain, "correct"), (0.0, "real"))
        return [r for d, s in pairs for r in self.rows(0.5 + d, method="datm", options=(f"start={s}",))]


def recalls(tail):
    head = np.full((3, STUDIES), 0.8)
    return {"recall": np.concatenate([head, head, np.stack([tail] * 3)]), "class_names": CLASSES[:9]}


def attack(auc):
    return {"membership": {"auc": auc, "tpr_at_1": 0.01}, "protocol": "common"}


def absorbed(share):
    return {"absorbed": share}


def stopped(source, gain, stop):
    """Return rows of a distilled set with a gain, and a picked epoch that gains `stop`."""
    rows = source.curve({0.4: gain})
    return [
        one | {"picked_acc": one["last_acc"] + source.around(stop)} if one["method"] == "full" else one for one in rows
    ]


def following(source, rows):
    """Make distilled models predict the target of asymmetric noise far more often than full models."""
    shares = {"toy": 0.9, "full": 0.1}
    return [
        one | (absorbed(source.around(shares[one["method"]])) if one["noise"] == "asymmetric" else {}) for one in rows
    ]


SIZES = {1: 0.3, 10: 0.5, 50: 0.7}
RATES = (0.2, 0.4, 0.6, 0.8)
LARGE = 1.0
# the least favourable null hypothesis of each claim: one part is exactly at its boundary, the others are far beyond
NULLS = {
    "C1": lambda s: s.curve({0.6: 0.0, 0.8: LARGE}),
    "C2": lambda s: s.curve(dict.fromkeys(RATES, 0.0)),
    "C2 at a constant advantage": lambda s: s.curve(dict.fromkeys(RATES, 0.3)),
    "C3": lambda s: s.curve({0.4: 0.0}) + s.curve({0.4: 0.0}, "asymmetric"),
    "C3 at the margin": lambda s: s.column(absorbed, {"full": 0.3, "toy": 0.28}, noise="asymmetric", rate=0.4),
    "C4": lambda s: s.curve({0.6: 0.0, 0.8: -LARGE}, "asymmetric", dataset="cifar100"),
    "C5": lambda s: s.curve({0.0: 0.0}, "worst") + s.curve({0.0: -LARGE}, "aggre"),
    "C6": lambda s: s.curve({0.6: 0.0}),
    "C6 unequal": lambda s: s.curve({0.6: 0.0}, sd=4 * SD),
    "C7": lambda s: s.column(recalls, {"full": 0.5, "toy": 0.5}, imbalance=10.0),
    "C9": lambda s: s.column(attack, {"full": LARGE, "toy": 0.5, "random": 0.5}),
    "C10": lambda s: s.sizes({0.2: SIZES, 0.6: SIZES}),
    "P1": lambda s: s.sizes({r: {50: 0.8 - r / 2, 1000: 0.9 - r / 2} for r in (0.0, 0.2, 0.4)}),
    "P2": lambda s: stopped(s, LARGE, 0.0),
    "P2 without a gain": lambda s: stopped(s, 0.0, LARGE),
    "P3": lambda s: s.starts(0.0),
}


def judged(name, rows):
    return outcome(CLAIM[name.split()[0]].judge(Study.of(rows), "last"))


@pytest.mark.parametrize("name", NULLS)
def test_error_rates_without_an_effect_are_at_most_the_level(name):
    """Seeds share one draw of the noise (Welch's test), or have their own (paired by draw, as in a sweep)."""
    rows = NULLS[name](Source())
    own = [one | {"config": one["config"] | {"noise_seed": one["seed"]}} for one in rows]
    for found in (judged(name, rows), judged(name, own)):
        assert found.shape == (STUDIES,)
        assert np.mean(found == 1) <= WRONG and np.mean(found == -1) <= WRONG


def test_the_error_rate_of_many_comparisons_is_at_most_the_level():
    """18 data sets without an effect. A rule of two standard errors without correction refutes 65 % of such claims."""
    source, rows = Source(), []
    for ipc in range(18):
        rows += source.curve({0.6: 0.0}, dataset=f"set{ipc}")
    found = judged("C6", rows)
    assert np.mean(found == -1) <= WRONG and np.mean(found == 1) <= WRONG


def test_two_references_do_not_double_the_error_rate():
    """Without an advantage over two epochs that differ, one of two tests alone fails in more studies than the level."""
    study = Study.of(Source(8).curve({0.6: 0.0}, sd=0.1 * SD))
    findings = {moment: CLAIM["C6"].judge(study, moment) for moment in ("last", "picked")}
    either = np.any([outcome(each) == -1 for each in findings.values()], axis=0)
    assert np.mean(refuted(findings)) <= WRONG < np.mean(either)


def test_noise_does_not_move_the_size_that_a_flat_curve_needs():
    """The mean of the sizes of single seeds is 0.1 decades too large if accuracies vary by 3 points."""
    rng, setting = np.random.default_rng(0), Setting("digits", None, None, "symmetric", 0.6)

    def needed(sd):
        cells = []
        for ipc, mean in ((1, 0.5), (10, 0.69), (50, 0.7)):
            made = mean + sd * rng.normal(size=100)
            rows = (
                {"last_acc": one, "seed": i, "seeds": {}, "fingerprint": f"{ipc} {i}"} for i, one in enumerate(made)
            )
            cells.append(Cell(setting, "toy", "common", ipc, "", "toy", tuple(rows)))
        return size_needed(cells).estimate()

    noisy, exact = needed(0.03), needed(0.0)
    assert abs(noisy.mean - exact.mean) < 0.03 and 0.005 < noisy.se < 0.05 and exact.se < 1e-9


def test_random_variation_is_not_growth():
    """Without advantage or growth, C2 is undecided (3 seeds, 4 rates, standard deviation of 5 points)."""
    assert np.mean(judged("C2", Source().curve(dict.fromkeys(RATES, 0.0))) == 0) >= 1 - 2 * WRONG


N = 8  # seeds; with fewer, Welch's test has less power than planned
ONE = effect_size(2.0 * (N - 1)) * SD * np.sqrt(2 / N)  # difference of two cells that is detected in 80 % of studies
FOUR = effect_size(4.0 * (N - 1)) * SD * np.sqrt(4 / N)  # difference of two such differences
WEIGHTS = np.array([r - 0.5 for r in RATES]) / 0.2 * 0.6  # weights of the rise of a line from 0.2 to 0.8
RISING = effect_size(2 * (N - 1) * np.sum(WEIGHTS**2) ** 2 / np.sum(WEIGHTS**4))
RISE = RISING * SD * np.sqrt(2 * np.sum(WEIGHTS**2) / N)
PLANNED = {
    "C1": (lambda s: s.curve({0.6: ONE, 0.8: ONE}), POWER**2),  # both rates must be significant
    "C2": (lambda s: s.curve({r: RISE * (r - 0.2) / 0.6 for r in RATES}), POWER),
    "C4": (lambda s: s.curve({0.6: -ONE, 0.8: -ONE}, "asymmetric", dataset="cifar100"), POWER**2),
    "C6": (lambda s: s.curve({0.6: ONE}), POWER),
    "C7": (lambda s: s.column(recalls, {"full": 0.5, "toy": 0.5 - ONE}, imbalance=10.0), POWER),
    "C3": (lambda s: following(s, s.curve({0.4: FOUR}) + s.curve({0.4: 0.0}, "asymmetric")), POWER),
    "C9": (lambda s: s.column(attack, {"full": LARGE, "toy": 0.5, "random": 0.5 + ONE}), POWER),
    "P2": (lambda s: stopped(s, LARGE, effect_size(N - 1.0) * SD / np.sqrt(N)), POWER),
    "P3": (lambda s: s.starts(ONE), POWER),
}


@pytest.mark.parametrize("name", PLANNED)
def test_an_effect_is_detected_with_the_planned_power(name):
    build, power = PLANNED[name]
    assert np.mean(judged(name, build(Source(N))) == 1) == pytest.approx(power, abs=0.04)


CERTAIN = {
    "C5": lambda s: s.curve({0.0: LARGE}, "worst") + s.curve({0.0: -LARGE}, "aggre"),
    "C10": lambda s: s.sizes({0.2: {1: 0.7, 10: 0.7, 50: 0.7}, 0.6: SIZES}),
    "P1": lambda s: s.sizes({r: {50: 0.8 - r / 10, 1000: 0.9 - r / 2} for r in (0.0, 0.2, 0.4)}),
}


@pytest.mark.parametrize("name", CERTAIN)
def test_large_effects_are_detected(name):
    assert np.mean(judged(name, CERTAIN[name](Source())) == 1) > 0.95


def test_pairing_by_draw_removes_the_variance_of_the_draw():
    """A draw changes both sides by 5 points; the effect is 2 points with a standard deviation of 0.3 points."""
    source, rows = Source(), []
    for seed in range(3):
        both = source.around(0.5)
        for method, mean in (("full", 0.0), ("toy", 0.02)):
            rows.append(row(both + source.around(mean, 0.003), method=method, seed=seed, rate=0.6, noise_seed=seed))
    assert np.mean(judged("C6", rows) == 1) > 0.9
    unpaired = [one | {"config": one["config"] | {"noise_seed": 0}} for one in rows]
    assert np.mean(judged("C6", unpaired) == 1) < 0.1
