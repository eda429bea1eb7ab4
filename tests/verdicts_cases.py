"""Rows of results, and the verdict that each claim must give on them."""

from report_study import CLASSES, SPREAD, seeds

from experiments.reporting.claims import FAILS, HOLDS, UNDECIDED


def curve(deltas, noise="symmetric", full=0.6, **fields):
    """Return distilled and full rows with the given advantage, by rate."""
    rows = []
    for rate, delta in deltas.items():
        where = {"noise": noise, "rate": rate, **{k: v for k, v in fields.items() if k in ("dataset", "imbalance")}}
        follows = fields.get("absorbed", (None, None))
        if "stop" in fields:  # the epoch picked on a hold-out, with its own noise
            picked = [full + fields["stop"] + d for d in (0.005, -0.005, 0.0)]
            whole = seeds(full, method="full", best=full, **where)
            rows += [one | {"picked_acc": value} for one, value in zip(whole, picked, strict=True)]
        else:
            rows += seeds(full, method="full", best=full, picked=full, absorbed=follows[1], **where)
        rows += seeds(full + delta, ipc=fields.get("ipc", 10), absorbed=follows[0], **where)
    return [
        one if one.get("absorbed") is None else one | {"absorbed": one["absorbed"] + SPREAD[one["seed"]]}
        for one in rows
    ]


def absorbed(ours, theirs):
    """Return rows with the given shares of source-class images predicted as the target of the noise."""
    return curve({0.4: -0.1}, "asymmetric", absorbed=(ours, theirs)) + curve({0.4: 0.1})


def tail(ours, theirs):
    """Return long-tailed rows with recall 0.9 in the head third and about the given recall in the tail third."""

    def rows(tail, **fields):
        found = seeds(0.6, class_names=CLASSES[:9], imbalance=10.0, **fields)
        return [r | {"recall": [0.9] * 3 + [0.5] * 3 + [tail + d] * 3} for r, d in zip(found, SPREAD, strict=True)]

    return rows(theirs, method="full") + rows(ours)


def cost(distil, shared, train, full, users=1):
    """Return rows with counts of operations; `users` cells share the experts."""
    whole = seeds(0.6, method="full", operations={"distil": 0.0, "train": full, "shared": {}})
    ours = {"distil": distil, "train": train, "shared": {"experts x": shared}}
    return whole + [r for ipc in range(1, users + 1) for r in seeds(0.6, ipc=ipc, operations=ours)]


def attacked(ours, random, everything, accuracy=0.6):
    """Return rows with the result of a likelihood-ratio attack."""
    rows = []
    for method, auc, score in (("toy", ours, 0.6), ("random", random, 0.5), ("full", everything, accuracy)):
        for one, d in zip(seeds(score, method=method), SPREAD, strict=True):
            rows.append(one | {"membership": {"auc": auc + d, "tpr_at_1": 0.02}, "protocol": "common"})
    return rows


def by_size(curves):
    return [
        one
        for rate, accuracies in curves.items()
        for ipc, accuracy in accuracies.items()
        for one in seeds(accuracy, ipc=ipc, noise="symmetric" if rate else "clean", rate=rate)
    ]


def starts(correct, real):
    pairs = ((correct, "correct"), (real, "real"))
    return [r for a, s in pairs for r in seeds(a, method="datm", options=(f"start={s}",))]


CASES = [
    ("C1", curve({0.2: -0.1, 0.4: 0.1, 0.6: 0.2, 0.8: 0.3}), HOLDS),
    ("C1", curve({0.4: 0.1, 0.6: 0.2, 0.8: 0.3}), HOLDS),
    ("C1", curve({0.2: 0.1, 0.4: 0.1, 0.6: 0.1, 0.8: -0.1}), FAILS),
    ("C1", curve({0.4: -0.1}), UNDECIDED),
    ("C1", curve({0.4: 0.1}), UNDECIDED),
    ("C1", curve({0.4: -0.1, 0.8: 0.1}), UNDECIDED),
    ("C1", curve({0.8: -0.1}), FAILS),
    ("C1", curve({0.6: 0.1, 0.8: 0.1}) + curve({0.6: -0.1, 0.8: -0.1}, ipc=1), HOLDS),
    ("C1", curve({0.4: -0.1, 0.8: -0.1}, ipc=1), FAILS),
    ("C2", curve({0.2: 0.1, 0.4: 0.1, 0.6: 0.2}), HOLDS),
    ("C2", curve({0.2: 0.2, 0.4: 0.2, 0.6: 0.1}), FAILS),
    ("C2", curve({0.2: 0.1, 0.4: 0.2, 0.6: 0.1}), UNDECIDED),
    ("C2", curve({0.2: 0.1, 0.4: 0.1, 0.6: 0.1}), UNDECIDED),
    ("C2", curve({0.4: 0.1}), UNDECIDED),
    ("C3", absorbed(0.4, 0.3), HOLDS),
    ("C3", absorbed(0.2, 0.3), FAILS),
    ("C3", absorbed(0.29, 0.3), UNDECIDED),
    ("C3", absorbed(0.4, 0.3)[:6], UNDECIDED),
    ("C3", curve({0.4: 0.1}) + curve({0.4: 0.2}, "asymmetric"), FAILS),
    ("C4", curve({0.4: 0.1, 0.6: -0.1}, "asymmetric", dataset="cifar100"), HOLDS),
    ("C4", curve({0.4: 0.1, 0.6: 0.1}, "asymmetric", dataset="cifar100"), FAILS),
    ("C4", curve({0.4: 0.1, 0.6: -0.1}, "asymmetric", dataset="cifar10"), UNDECIDED),
    ("C5", curve({0.4: 0.1}, "worst") + curve({0.0: -0.1}, "aggre"), HOLDS),
    ("C5", curve({0.4: -0.1}, "worst") + curve({0.0: -0.1}, "aggre"), FAILS),
    ("C5", curve({0.4: 0.1}, "worst"), UNDECIDED),
    ("C6", curve({0.6: 0.1}), HOLDS),
    ("C6", curve({0.6: -0.1}), FAILS),
    ("C6", curve({0.6: 0.1}, ipc=50), UNDECIDED),
    ("C7", tail(0.3, 0.5), HOLDS),
    ("C7", tail(0.7, 0.5), FAILS),
    ("C7", tail(0.5, 0.5), UNDECIDED),
    ("C8", cost(1.0, 1.0, 1.0, 6.0), HOLDS),
    ("C8", cost(1.0, 1.0, 1.0, 5.0), UNDECIDED),
    ("C8", cost(4.0, 8.0, 1.0, 2.0, users=2), FAILS),
    ("C8", cost(0.1, 30.0, 0.1, 5.0, users=10), UNDECIDED),
    ("C9", attacked(0.6, 0.7, 0.7), HOLDS),
    ("C9", attacked(0.6, 0.5, 0.7), FAILS),
    ("C9", attacked(0.6, 0.6, 0.7), UNDECIDED),
    ("C9", attacked(0.6, 0.7, 0.7, accuracy=0.7), UNDECIDED),
    ("C9", seeds(0.6, method="full", membership_auc=0.7) + seeds(0.6, membership_auc=0.6), UNDECIDED),
    ("C10", by_size({0.0: {1: 0.7, 10: 0.7, 50: 0.7}, 0.6: {1: 0.3, 10: 0.5, 50: 0.7}}), HOLDS),
    ("C10", by_size({0.0: {1: 0.3, 10: 0.5, 50: 0.7}, 0.6: {1: 0.7, 10: 0.7, 50: 0.7}}), FAILS),
    ("C10", by_size({0.0: {1: 0.7, 10: 0.7}, 0.6: {1: 0.3, 10: 0.5}}), UNDECIDED),
    ("P1", by_size({r: {50: 0.8 - 0.1 * r, 1000: 0.9 - 0.5 * r} for r in (0.0, 0.2, 0.4)}), HOLDS),
    ("P1", by_size({r: {50: 0.8 - 0.5 * r, 1000: 0.9 - 0.1 * r} for r in (0.0, 0.2, 0.4)}), FAILS),
    ("P2", curve({0.4: 0.1}, stop=0.1), HOLDS),
    ("P2", curve({0.4: 0.1}, stop=-0.1), FAILS),
    ("P2", curve({0.4: -0.1}, stop=0.1), UNDECIDED),
    ("P3", starts(0.7, 0.6), HOLDS),
    ("P3", starts(0.6, 0.7), FAILS),
]
