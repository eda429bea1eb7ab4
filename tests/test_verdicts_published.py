"""Verdicts on numbers that papers print."""

import pandas as pd
import pytest
from report_study import seeds

from experiments.reporting.claims import FAILS, HOLDS, UNDECIDED, Study
from experiments.reporting.published import CSV, published
from experiments.reporting.verdicts import CLAIMS, verdict

PUBLISHED = pd.read_csv(CSV)
PUBLISHED["method"] = PUBLISHED.method.str.lower()
CLAIM = {claim.name: claim for claim in CLAIMS}


def judged(name, rows):
    return verdict(CLAIM[name], Study.of(rows))


def printed(method, noise, rate, ipc, architecture):
    """Return a published accuracy as three rows with a small spread."""
    kind = noise if noise == "symmetric" else f"human_{noise}"
    line = PUBLISHED[
        (PUBLISHED.method == ("full_dataset" if method == "full" else method))
        & (PUBLISHED.dataset == "CIFAR-10")
        & (PUBLISHED.noise_type == kind)
        & (PUBLISHED.noise_rate == rate)
        & (PUBLISHED.ipc == (str(ipc) if ipc else "full"))
        & PUBLISHED.architecture.str.startswith(architecture)
    ]
    return seeds(
        line.accuracy.item() / 100,
        (-0.005, 0.0, 0.005),
        method=method,
        noise=noise,
        rate=rate,
        ipc=ipc or 10,
        dataset="cifar10",
    )


@pytest.mark.parametrize(("method", "ipc"), [("idm", 50), ("idm + rdc", 50), ("idm", 10)])
def test_published_numbers_give_published_verdicts(method, ipc):
    """IDM and IDM + RDC are worse than full training up to rate 0.4, but by less: C2 holds, C1 is undecided."""
    rows = []
    for noise, rate in (("symmetric", 0.2), ("symmetric", 0.4), ("worst", 0.4)):
        rows += printed("full", noise, rate, None, "ResNet18 (rep") + printed(method, noise, rate, ipc, "ResNet18 (rep")
    growth = judged("C2", rows)
    assert growth.status["last"] == HOLDS
    expected = {("idm", 50): 8.29, ("idm + rdc", 50): 15.67, ("idm", 10): 17.41}[method, ipc]
    assert 100 * growth.findings["last"][0].effect == pytest.approx(expected)
    assert judged("C1", rows).status["last"] == UNDECIDED
    assert judged("C5", rows).status["last"] == FAILS


def test_published_clean_numbers_stay_below_the_full_set():
    full = published()["cifar10", "full", None, "clean", 0.0].accuracy
    for method in ("datm", "dance", "rcig"):
        sizes = [published()["cifar10", method, ipc, "clean", 0.0].accuracy for ipc in (1, 10, 50)]
        assert sizes == sorted(sizes) and sizes[-1] < full
