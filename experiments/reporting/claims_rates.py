"""The claims about where distilled sets beat training on everything: C1 to C6."""

import itertools
import math

from experiments.reporting.cells import Compared, Estimate
from experiments.reporting.claims import (
    FAILS,
    HOLDS,
    SEEDS,
    UNDECIDED,
    Finding,
    Study,
    crossing,
    decided,
    finding,
    lacking,
    listed,
    points,
    scope_of,
    sign,
)

GRID = (0.2, 0.4, 0.6, 0.8)
CLAIMED = (10, 50)  # C1: the sizes that the claim is about; others decide only where a method has neither
CRITICAL = 0.6  # C1: the advantage must begin here at the latest
FEW = 0.1  # C6: few samples are at most this share of the training images


def beyond_a_critical_rate(study: Study, moment: str) -> list[Finding]:
    """C1: some measured rate up to 0.6 from which on every measured rate shows an advantage."""
    found, curves = [], study.deltas(["symmetric"], moment)
    claimed = {key[:2] for key in curves if key[2] in CLAIMED}
    for (data, series, ipc), deltas in curves.items():
        if (data, series) in claimed and ipc not in CLAIMED:
            continue
        start = crossing(deltas)
        late_loss = any(sign(delta) == "below" for rate, delta in deltas.items() if rate >= CRITICAL)
        status = HOLDS if start <= CRITICAL else FAILS if late_loss else UNDECIDED
        shown = deltas[start] if status == HOLDS else deltas[max(deltas)]
        words = f"ahead from {start:g} on ({listed(deltas)})" if status == HOLDS else listed(deltas)
        missing = lacking(GRID, deltas)
        if status == HOLDS and missing:
            words, missing = f"{words}; not measured: {missing}", ""
        found.append(finding(scope_of(data, series, ipc), status, words, shown, missing, deltas.values()))
    return found


def grows_with_rate(study: Study, moment: str) -> list[Finding]:
    """C2: no step between neighbouring rates loses more than two standard errors of advantage."""
    found = []
    for (data, series, ipc), deltas in study.deltas(["symmetric"], moment).items():
        scope, rates = scope_of(data, series, ipc), list(deltas)
        if len(rates) < 2:
            found.append(finding(scope, UNDECIDED, listed(deltas), deltas[rates[0]], lacking(GRID, rates)))
            continue
        steps = [deltas[high] - deltas[low] for low, high in itertools.pairwise(rates)]
        whole = deltas[rates[-1]] - deltas[rates[0]]
        known = all(step.n >= SEEDS for step in steps)
        falls = any(sign(step) == "below" for step in steps)
        status = FAILS if falls else HOLDS if known else UNDECIDED
        found.append(finding(scope, status, listed(deltas), whole, used=deltas.values()))
    return found


def structure_is_absorbed(study: Study, moment: str) -> list[Finding]:
    """C3: distilled models follow the noise at least as much as full ones, and asymmetric noise is beaten later."""
    found = [_absorbed(compared) for compared in study.compared if _structured(compared)]
    symmetric = study.deltas(["symmetric"], moment)
    for key, deltas in study.deltas(["asymmetric"], moment).items():
        other = symmetric.get(key, {})
        both = {rate: (other[rate], deltas[rate]) for rate in deltas if rate in other}
        scope = scope_of(*key) + ", where the advantage begins"
        if not both:
            last = deltas[max(deltas)]
            missing = f"symmetric rates {', '.join(f'{rate:g}' for rate in deltas)}"
            found.append(finding(scope, UNDECIDED, listed(deltas), last, missing))
            continue
        plain, structured = (crossing({r: pair[side] for r, pair in both.items()}) for side in (0, 1))
        status = UNDECIDED if plain == math.inf else HOLDS if structured > plain else FAILS
        at = max(both) if plain == math.inf else plain
        words = f"symmetric from {_rate(plain)}, asymmetric from {_rate(structured)}"
        missing = "a rate at which symmetric noise is beaten" if status == UNDECIDED else ""
        found.append(finding(scope, status, words, both[at][0] - both[at][1], missing))
    return found


def _rate(rate: float) -> str:
    return "no measured rate" if rate == math.inf else f"{rate:g}"


def _structured(compared: Compared) -> bool:
    setting = compared.cell.setting
    return compared.cell.learns and setting.noise == "asymmetric" and bool(setting.rate) and not setting.imbalance


def _absorbed(compared: Compared) -> Finding:
    cell, full, _ = compared
    scope = f"{scope_of(cell.setting.data, cell.series, cell.ipc)}, asymmetric {cell.setting.rate:g}, what is predicted"
    ours, theirs = cell.of("absorbed"), full.of("absorbed") if full else None
    if ours is None or theirs is None:
        return Finding(scope, UNDECIDED, "", missing="the column absorbed of both sides")
    effect = ours - theirs
    status = FAILS if sign(effect) == "below" else HOLDS if effect.n >= SEEDS else UNDECIDED
    words = (
        f"source classes are taken for the noise's target in {100 * ours.mean:.1f} % by the distilled model, "
        f"{100 * theirs.mean:.1f} % by the full one"
    )
    return finding(scope, status, words, effect)


def limited_on_cifar100(study: Study, moment: str) -> list[Finding]:
    """C4: with asymmetric noise on CIFAR-100 no advantage is left above 0.4."""
    found = []
    for (data, series, ipc), deltas in study.deltas(["asymmetric"], moment).items():
        if data.split(",")[0] != "cifar100":
            continue
        high = {rate: delta for rate, delta in deltas.items() if rate > 0.4}
        scope = scope_of(data, series, ipc)
        if not high:
            found.append(finding(scope, UNDECIDED, listed(deltas), deltas[max(deltas)], lacking((0.6, 0.8), deltas)))
            continue
        signs = [sign(delta) for delta in high.values()]
        status = FAILS if "above" in signs else HOLDS if set(signs) == {"below"} else UNDECIDED
        found.append(finding(scope, status, listed(deltas), high[max(high)], used=deltas.values()))
    return found


def human_labels(study: Study, moment: str) -> list[Finding]:
    """C5: ahead where people were often wrong, behind where they were mostly right."""
    expected = {"worst": "above", "noisy100": "above", "aggre": "below"}
    found: list[Finding] = []
    seen_on: set[str] = set()
    for cell, _, deltas in study.compared:
        noise = cell.setting.noise
        if cell.learns and noise in expected and moment in deltas and not cell.setting.imbalance:
            seen = sign(deltas[moment])
            status = UNDECIDED if seen == "unclear" else HOLDS if seen == expected[noise] else FAILS
            scope = f"{scope_of(cell.setting.data, cell.series, cell.ipc)}, {noise}"
            words = f"{points(deltas[moment])} points, {expected[noise]} zero claimed"
            found.append(finding(scope, status, words, deltas[moment]))
            seen_on.add(expected[noise])
    for side, kinds in (("above", "worst or noisy100"), ("below", "aggre")):
        if found and side not in seen_on:
            found.append(Finding(f"labels {kinds}", UNDECIDED, "", missing=f"a distiller and the full set on {kinds}"))
    return found


def few_samples(study: Study, moment: str) -> list[Finding]:
    """C6: at symmetric 0.6 the smallest size that is ahead has at most a tenth of the training images."""
    by_series: dict[tuple[str, str], dict[int, Estimate]] = {}
    shares: dict[tuple[str, str, int], float] = {}
    for cell, _, deltas in study.compared:
        data, rate = cell.setting.data, cell.setting.rate
        if cell.learns and (cell.setting.noise, rate) == ("symmetric", 0.6) and moment in deltas:
            by_series.setdefault((data, cell.series), {})[cell.ipc] = deltas[moment]
            shares[data, cell.series, cell.ipc] = cell.rows[0]["images"] / cell.rows[0]["train_images"]
    found = []
    for (data, series), sizes in by_series.items():
        small = {ipc: delta for ipc, delta in sorted(sizes.items()) if shares[data, series, ipc] <= FEW}
        ahead = [ipc for ipc, delta in small.items() if sign(delta) == "above"]
        behind = small and all(sign(delta) == "below" for delta in small.values())
        status = HOLDS if ahead else FAILS if behind else UNDECIDED
        shown = ahead[0] if ahead else max(small or sizes)
        share = shares[data, series, shown]
        words = f"{points(sizes[shown])} points with {shown} per class, {100 * share:.2g} % of the images"
        missing = "" if small else f"a size of at most {100 * FEW:.0f} % of the images"
        found.append(finding(scope_of(data, series), status, words, sizes[shown], missing))
    return found


def early_stopping(study: Study, moment: str) -> list[Finding]:
    """P2: where a distilled set beats the last epoch, the best epoch does too."""
    found = []
    for cell, full, deltas in study.compared:
        gain = deltas.get("last")
        if not cell.learns or full is None or gain is None or not cell.setting.rate or sign(gain) != "above":
            continue
        stopped = full.of(lambda row: row["best_acc"] - row["last_acc"])
        scope = f"{scope_of(cell.setting.data, cell.series, cell.ipc)}, {cell.setting.labels}"
        left = "".join(f"; {points(deltas[m])} against the {w}" for m, w in _STOPS.items() if m in deltas)
        words = f"{points(gain)} against the last epoch{left}"
        found.append(finding(scope, decided(stopped), words, stopped))
    return found


_STOPS = {"best": "best epoch", "picked": "epoch picked on a noisy hold-out"}
