"""Each verdict depends on its numbers, and states which rows are missing."""

import math

import pytest
from report_study import row, seeds
from verdicts_cases import CASES, absorbed, curve, tail

from experiments.reporting.cells import compare, gather
from experiments.reporting.claims import FAILS, HOLDS, UNDECIDED, Study
from experiments.reporting.figures import by_class_size
from experiments.reporting.inference import LEVEL, effect_size
from experiments.reporting.verdicts import CLAIMS, as_text, judge, verdict

CLAIM = {claim.name: claim for claim in CLAIMS}


def judged(name, rows):
    return verdict(CLAIM[name], Study.of(rows))


@pytest.mark.parametrize(("name", "rows", "status"), CASES, ids=[f"{c[0]}-{c[2]}-{i}" for i, c in enumerate(CASES)])
def test_verdicts_depend_on_the_numbers(name, rows, status):
    found = judged(name, rows)
    assert found.status["last"] == status
    for one in found.findings["last"]:
        assert one.status != UNDECIDED or one.missing
        assert set(one.rows) <= {r["fingerprint"] for r in rows}
    if status != UNDECIDED:
        decisive = [one for one in found.findings["last"] if one.status == status]
        assert decisive and all(one.n == 3 and one.rows for one in decisive)
        assert name == "C8" or all(one.se > 0 and one.p <= LEVEL and one.detectable > 0 for one in decisive)


@pytest.mark.parametrize("name", [c[0] for c in CASES if c[2] == HOLDS])
def test_no_claim_holds_for_a_control(name):
    """Claims do not apply to random images, even with the numbers of a distiller."""
    rows = next(rows for case, rows, status in CASES if (case, status) == (name, HOLDS))
    controls = [one if one["method"] in ("full", "random") else one | {"method": "random"} for one in rows]
    found = judged(name, controls)
    assert found.headline == UNDECIDED and not found.findings["last"]


def test_rates_that_were_not_measured_are_named():
    (one,) = judged("C1", curve({0.4: 0.1})).findings["last"]
    assert one.missing == "rates 0.6, 0.8" and one.words == "+10.0 ± 0.8 at 0.4"


def test_one_of_many_comparisons_does_not_decide_a_claim_by_chance():
    """A loss that is significant alone is not significant among six comparisons."""
    lost = [r for ipc in range(2, 7) for r in seeds(0.6, ipc=ipc, rate=0.6)]
    single = curve({0.6: -0.035}, ipc=1)
    assert judged("C6", single).status["last"] == FAILS
    several = [r | {"method": f"toy{r['ipc']}"} if r["method"] == "toy" else r for r in single + lost]
    assert judged("C6", several).status["last"] == UNDECIDED


def test_an_undecided_comparison_states_its_detectable_effect_and_the_seeds_it_needs():
    (one,) = judged("C2", curve({0.2: 0.1, 0.4: 0.12})).findings["last"]
    assert one.status == UNDECIDED and one.effect == pytest.approx(0.02)
    assert one.detectable == pytest.approx(0.037, abs=1e-3)
    assert one.missing == "9 seeds in total, if the observed difference is the true one"
    several = judged("C2", curve({0.2: 0.1, 0.4: 0.12}) + curve({0.2: 0.1, 0.4: 0.13}, ipc=50))
    assert "Missing: 5 to 11 seeds in total, if the observed difference is the true one." in several.words
    enough = [
        r | {"seed": 10 * block + r["seed"], "fingerprint": f"{block}{r['fingerprint']}"}
        for block in range(3)
        for r in curve({0.2: 0.1, 0.4: 0.12})
    ]
    assert judged("C2", enough).status["last"] == HOLDS


def test_the_needed_seeds_count_from_the_margin():
    """Equal shares are 2 points from the margin; a difference at the margin is never decided."""
    spread = [
        r | {"absorbed": r["absorbed"] + 0.02 * r["seed"]} if r.get("absorbed") else r for r in absorbed(0.3, 0.3)
    ]
    (equal,) = (one for one in judged("C3", spread).findings["last"] if "predicted" in one.scope)
    (edge,) = (one for one in judged("C3", absorbed(0.28, 0.3)).findings["last"] if "predicted" in one.scope)
    assert equal.status == edge.status == UNDECIDED and abs(equal.effect) < 1e-9
    assert equal.missing.split(" seeds")[0].isdigit() and edge.missing.startswith("more than 1000 seeds")


def test_power_is_that_of_one_test_among_several():
    """With two sizes, C6 tests each at half the level."""
    rows = curve({0.6: 0.0}) + [r for r in curve({0.6: -0.1}, ipc=1) if r["method"] == "toy"]
    one, two = (judged("C6", given).findings["last"][0].detectable for given in (curve({0.6: 0.0}), rows))
    assert two / one == pytest.approx(effect_size(4.0, LEVEL / 2) / effect_size(4.0))


def test_the_largest_advantage_is_shown_where_none_is_expected():
    """The advantage at 0.8 is below zero. The claim needs more seeds for the one at 0.6."""
    (one,) = judged("C4", curve({0.6: -0.01, 0.8: -0.5}, "asymmetric", dataset="cifar100")).findings["last"]
    assert one.status == UNDECIDED and one.effect == pytest.approx(-0.01)


def test_a_claim_fails_only_if_both_references_together_refute_it():
    """A loss against one epoch at a level of 1.8 % is not significant over two epochs."""
    lost = seeds(0.6, method="full", rate=0.6, best=0.6, picked=0.575) + seeds(0.575, rate=0.6)
    found = judged("C6", lost)
    assert LEVEL / 2 < found.findings["last"][0].p < LEVEL
    assert found.status["last"] == FAILS and found.status["picked"] == UNDECIDED and found.headline == UNDECIDED


def test_a_wrapped_selection_is_no_distiller():
    rows = [{**r, "method": "prune+random"} if r["method"] == "toy" else r for r in curve({0.6: 0.3})]
    assert not judged("C6", rows).findings["last"]


def test_human_labels_are_noisy():
    (one,) = judged("P2", curve({0.0: 0.1}, "worst", stop=0.1)).findings["last"]
    assert one.status == HOLDS and one.scope == "digits, worst"


def drawn(rows, noise_seed):
    """Return the rows with another noise draw for each seed."""
    return [r | {"config": r["config"] | {"noise_seed": noise_seed(r["seed"])}} for r in rows]


def test_shared_draws_are_reported_and_separate_draws_are_compared_in_pairs():
    rows = curve({0.6: 0.1, 0.8: 0.1})
    one_draw = judged("C6", drawn(rows, lambda seed: 0))
    assert "noise draw" in one_draw.shared and not one_draw.findings["last"][0].paired
    moved = [r | {"last_acc": r["last_acc"] + 0.002 * r["seed"]} if r["method"] == "toy" else r for r in rows]
    own_draws = judged("C6", drawn(moved, lambda seed: seed))
    (paired,) = own_draws.findings["last"]
    assert paired.paired and "noise draw" not in own_draws.shared
    assert paired.se == pytest.approx(0.002 / math.sqrt(3))  # the effect of the draw on both sides cancels


def test_a_claim_holds_only_against_all_references():
    rows = []
    for rate in (0.6, 0.8):
        rows += seeds(0.5, method="full", rate=rate, best=0.7, picked=0.5) + seeds(0.7, rate=rate)
    found = judged("C1", rows)
    assert found.status == {"last": HOLDS, "best": UNDECIDED, "picked": HOLDS} and found.headline == UNDECIDED


def test_initialisations_are_compared_at_otherwise_equal_settings():
    options = {"correct": ("image_rate=5.0",), "real": ("image_rate=5.0", "start=real")}
    rows = [r for s, a in (("correct", 0.7), ("real", 0.6)) for r in seeds(a, method="datm", options=options[s])]
    rows += seeds(0.9, method="datm", options=("start=real", "steps=5"))
    found = judged("P3", rows).findings["last"]
    assert sorted(one.status for one in found) == [HOLDS, UNDECIDED]
    assert next(one for one in found if one.status == HOLDS).effect == pytest.approx(0.1)


def test_rows_of_a_release_with_other_options_are_no_error():
    rows = seeds(0.5, method="datm", options=("renamed=1",)) + seeds(0.5, method="full")
    for name in ("P3", "C8"):
        assert judged(name, rows).status["last"] == UNDECIDED


def test_operations_of_some_rows_are_those_of_their_cell():
    rows = curve({0.4: 0.1})
    whole = [i for i, r in enumerate(rows) if r["method"] == "full"]
    counts = {"distil": 1.0, "train": 1.0, "shared": {"experts x": 1.0}}
    for without in (0, 2):  # in the first and in the last row of each cell
        mixed = [
            r
            | {
                "operations": None
                if r["seed"] == without
                else {**counts, "train": 9.0, "shared": {}}
                if i in whole
                else counts
            }
            for i, r in enumerate(rows)
        ]
        (one,) = judged("C8", mixed).findings["last"]
        assert one.effect == pytest.approx(3 / 9) and "(used by 2 runs)" in one.words


def test_two_seeds_decide_nothing():
    rows = curve({0.2: -0.1, 0.4: 0.1, 0.6: 0.2, 0.8: 0.3})
    found = judged("C1", [r for r in rows if r["seed"] < 2])
    assert found.status["last"] == UNDECIDED
    assert found.findings["last"][0].effect == pytest.approx(0.2) and "1 more seed" in found.words


def test_an_advantage_over_the_last_epoch_is_not_one_over_the_picked_epoch():
    rows = []
    for rate in (0.2, 0.4, 0.6, 0.8):
        rows += seeds(0.5, method="full", rate=rate, best=0.9, picked=0.85) + seeds(0.7, rate=rate)
    assert judged("C1", rows).status == {"last": HOLDS, "best": FAILS, "picked": FAILS}
    assert judged("C1", rows).headline == FAILS


def test_two_classes_have_no_head_and_tail():
    rows = [r | {"recall": r["recall"][::8], "class_names": ["a", "b"]} for r in tail(0.3, 0.5)]
    (one,) = judged("C7", rows).findings["last"]
    assert one.effect is None and not by_class_size(gather(rows))


def test_without_rows_every_verdict_is_undecided_and_names_the_needed_rows():
    found = judge(Study.of([]))
    assert [v.claim.name for v in found] == [*(f"C{i}" for i in range(1, 11)), "P1", "P2", "P3"]
    assert all(v.status["last"] == UNDECIDED and v.claim.needs in v.words for v in found)
    assert as_text(found).count("undecided") >= 13


def test_the_text_contains_effects_p_values_and_shared_randomness():
    text = as_text(judge(Study.of(curve({0.6: 0.1}))))
    assert "C6  holds" in text and "+10.0 ± 0.8 points, 3 seeds, p < 0.001, detectable 3.1 at 80 % power" in text
    assert "Seeds share the noise draw and the sequence of batch-wide augmentations, whose variance" in text


def test_standard_errors_of_differences():
    rows = seeds(0.5, method="full") + seeds(0.7, (-0.03, 0.0, 0.03))
    (one,) = compare(gather(rows))
    assert one.deltas["last"].mean == pytest.approx(0.2)
    assert one.deltas["last"].se == pytest.approx(math.sqrt((0.01**2 + 0.03**2) / 3))


def test_the_baseline_has_the_protocol_and_the_network_of_the_cell():
    rows = [
        *[row(0.5, method="full", seed=s) | {"protocol": "B-DATM"} for s in range(3)],
        *[row(0.6, method="full", seed=s, width=8) for s in range(3)],
        *[row(0.7, method="full", seed=s) for s in range(3)],
        *seeds(0.8),
        *seeds(0.8, method="narrow", width=8),
    ]
    deltas = {one.cell.method: one.deltas["last"].mean for one in compare(gather(rows))}
    assert deltas == pytest.approx({"toy": 0.1, "narrow": 0.2})


def test_rows_of_one_seed_and_draw_are_one_run():
    ours, full = seeds(0.7), [one for ipc in (1, 10) for one in seeds(0.6, method="full", ipc=ipc)]
    (one,) = Study.of(ours + full).compared
    assert len({row["fingerprint"] for row in full}) == 6 and len(one.baseline.rows) == 3
    assert one.gains["last"].estimate().se == Study.of(ours + full[:3]).compared[0].gains["last"].estimate().se
    fixed = [one for draw in (0, 1) for one in seeds(0.6, noise="worst", rate=0.0, noise_seed=draw)]
    assert [len(cell.rows) for cell in Study.of(fixed).cells] == [3]  # people's labels are not drawn
    several = [one for draw in (0, 1) for one in seeds(0.6, noise_seed=draw)]
    assert [len(cell.rows) for cell in Study.of(several).cells] == [6]


@pytest.mark.parametrize(
    ("name", "value"), [("sampler", "jax"), ("order", "tfds"), ("labels_file", "a.npz"), ("matrix_file", "a.csv")]
)
def test_a_baseline_has_the_labels_of_the_cell(name, value):
    rows = seeds(0.7) + seeds(0.7, **{name: value})
    other = seeds(0.5, method="full", **{name: value})
    compared = {one.cell.variant: one.baseline for one in Study.of(rows + other).compared}
    assert compared[""] is None and compared[f"{name}={value}"].rows[0]["config"][name] == value
    clean = seeds(0.7, noise="clean", rate=0.0) + seeds(0.6, method="full", noise="clean", rate=0.0, **{name: value})
    assert Study.of(clean).compared[0].baseline is not None
