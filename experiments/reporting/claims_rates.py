"""Claims on when distilled sets beat training on the whole set: C1 to C6 and P2."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from experiments.reporting.claims import Finding, Study, lacking, listed, points, scope_in, scope_of, tested
from experiments.reporting.contrasts import Contrast, Estimate, average, slope
from experiments.reporting.inference import LEVEL, every, some

GRID = (0.2, 0.4, 0.6, 0.8)
CLAIMED = (10, 50)  # C1: sizes of the claim; other sizes count only if a method has neither
CRITICAL = 0.6  # C1: the advantage starts at this rate or below
FEW = 0.1  # C6: largest share of the training images
MARGIN = 0.02  # C3: non-inferiority margin for the share of predicted targets of the noise


def beyond_a_critical_rate(study: Study, moment: str) -> list[Finding]:
    """C1: the advantage is above zero at the largest measured rate up to 0.6 and at every larger rate of the grid."""
    findings, curves = [], study.gains(["symmetric"], moment)
    claimed = {key[:2] for key in curves if key[2] in CLAIMED}
    for (data, series, ipc), gains in curves.items():
        if (data, series) in claimed and ipc not in CLAIMED:
            continue
        estimates = {rate: gain.estimate() for rate, gain in gains.items()}
        start = max((rate for rate in gains if rate <= CRITICAL), default=None)
        beyond = [estimates[rate] for rate in gains if start is not None and rate >= start]
        late = [estimates[rate].below() for rate in gains if rate >= CRITICAL]
        shown = min(beyond or estimates.values(), key=lambda one: float(np.mean(one.mean)))
        holds = every([one.above() for one in beyond]) if beyond else 1.0
        fails = some(late) if late else 1.0
        if start is None:
            missing = f"a rate up to {CRITICAL:g}"
        else:
            missing = lacking([rate for rate in GRID if rate > start], gains)
        if missing:  # the claim cannot hold without these rates, but can fail
            holds = 1.0
        effect = shown._replace(rows=tuple(row for one in estimates.values() for row in one.rows))
        findings.append(Finding(scope_of(data, series, ipc), effect, holds, fails, _listing(gains), missing))
    return findings


def grows_with_rate(study: Study, moment: str) -> list[Finding]:
    """C2: the least-squares slope of the advantage over the rate is above zero."""
    findings = []
    for (data, series, ipc), gains in study.gains(["symmetric"], moment).items():
        scope, span = scope_of(data, series, ipc), max(gains) - min(gains)
        if len(gains) < 2:
            only = next(iter(gains.values()))
            findings.append(Finding(scope, only.estimate(), say=_listing(gains), missing=lacking(GRID, gains)))
            continue
        rise = slope(gains).times(span)

        def say(effect: Estimate, gains: dict = gains) -> str:
            return f"the fitted line rises by {points(effect)} from {min(gains):g} to {max(gains):g} ({listed(gains)})"

        findings.append(tested(scope, rise, say))
    return findings


def _listing(gains: dict[float, Contrast]) -> Callable[[], str]:
    return lambda: listed(gains)


def structure_is_absorbed(study: Study, moment: str) -> list[Finding]:
    """C3: distilled models predict the target of asymmetric noise no less often, and gain less than with symmetric."""
    findings = []
    for cell, full, _ in study.compared:
        setting = cell.setting
        if not (cell.learns and setting.noise == "asymmetric" and setting.rate and not setting.imbalance):
            continue
        scope = f"{scope_in(cell)}, predicted targets"
        ours, theirs = cell.contrast("absorbed"), full.contrast("absorbed") if full else None
        if ours is None or theirs is None:
            findings.append(Finding(scope, missing="the column absorbed of both sides"))
            continue

        def say(effect: Estimate, ours: Contrast = ours, theirs: Contrast = theirs) -> str:
            return (
                f"the target class of the noise is predicted for {100 * ours.estimate().mean:.1f} % of its source "
                f"class by the distilled model, for {100 * theirs.estimate().mean:.1f} % by the full model"
            )

        findings.append(tested(scope, ours - theirs, say, bound=-MARGIN))
    symmetric = study.gains(["symmetric"], moment)
    for key, gains in study.gains(["asymmetric"], moment).items():
        both = {rate: symmetric[key][rate] - gain for rate, gain in gains.items() if rate in symmetric.get(key, {})}
        scope = scope_of(*key) + ", symmetric against asymmetric"
        if not both:
            missing = f"symmetric rates {', '.join(f'{rate:g}' for rate in gains)}"
            findings.append(Finding(scope, average(gains.values()).estimate(), say=_listing(gains), missing=missing))
            continue

        def difference(effect: Estimate, both: dict = both) -> str:
            rates = ", ".join(f"{rate:g}" for rate in both)
            return f"the advantage is {points(effect)} larger with symmetric noise, over rates {rates}"

        findings.append(tested(scope, average(both.values()), difference))
    return findings


def limited_on_cifar100(study: Study, moment: str) -> list[Finding]:
    """C4: with asymmetric noise on CIFAR-100, every advantage measured at a rate above 0.4 is below zero."""
    findings = []
    for (data, series, ipc), gains in study.gains(["asymmetric"], moment).items():
        if data.split(",")[0] != "cifar100":
            continue
        high = {rate: gain.estimate() for rate, gain in gains.items() if rate > 0.4}
        scope = scope_of(data, series, ipc)
        if not high:
            last = gains[max(gains)].estimate()
            findings.append(Finding(scope, last, say=_listing(gains), missing=lacking((0.6, 0.8), gains)))
            continue
        behind, ahead = every([one.below() for one in high.values()]), some([one.above() for one in high.values()])
        largest = max(high.values(), key=lambda one: float(np.mean(one.mean)))
        findings.append(Finding(scope, largest, behind, ahead, _listing(gains)))
    return findings


def human_labels(study: Study, moment: str) -> list[Finding]:
    """C5: the advantage is above zero with many human errors, and below zero with few."""
    expected = {"worst": 1, "noisy100": 1, "aggre": -1}
    findings: list[Finding] = []
    seen_on: set[int] = set()
    for cell, _, gains in study.compared:
        noise = cell.setting.noise
        if cell.learns and noise in expected and moment in gains and not cell.setting.imbalance:
            side, effect = expected[noise], gains[moment].estimate()
            p = (effect.above(), effect.below())[::side]

            def say(effect: Estimate = effect, side: int = side) -> str:
                return f"{points(effect)} points, {'above' if side > 0 else 'below'} zero expected"

            findings.append(Finding(scope_in(cell), effect, *p, say))
            seen_on.add(side)
    for side, kinds in ((1, "worst or noisy100"), (-1, "aggre")):
        if findings and side not in seen_on:
            findings.append(Finding(f"labels {kinds}", missing=f"a distiller and the whole set on {kinds}"))
    return findings


def few_samples(study: Study, moment: str) -> list[Finding]:
    """C6: at symmetric 0.6, some size of at most a tenth of the training images has an advantage above zero."""
    by_series: dict[tuple[str, str], dict[int, Estimate]] = defaultdict(dict)
    shares: dict[tuple[str, str, int], float] = {}
    for cell, _, gains in study.compared:
        data, rate = cell.setting.data, cell.setting.rate
        if cell.learns and (cell.setting.noise, rate) == ("symmetric", 0.6) and moment in gains:
            by_series[data, cell.series][cell.ipc] = gains[moment].estimate()
            shares[data, cell.series, cell.ipc] = cell.rows[0]["images"] / cell.rows[0]["train_images"]
    findings = []
    for (data, series), sizes in by_series.items():
        small = {ipc: gain for ipc, gain in sorted(sizes.items()) if shares[data, series, ipc] <= FEW}
        shown = max(small or sizes, key=lambda ipc: float(np.mean(sizes[ipc].mean)))

        def say(effect: Estimate = sizes[shown], ipc: int = shown, share: float = shares[data, series, shown]) -> str:
            return f"{points(effect)} points with {ipc} per class, {100 * share:.2g} % of the images"

        scope = scope_of(data, series)
        if not small:
            missing = f"a size of at most {100 * FEW:.0f} % of the images"
            findings.append(Finding(scope, sizes[shown], say=say, missing=missing))
            continue
        ahead, behind = some([one.above() for one in small.values()]), every([one.below() for one in small.values()])
        findings.append(Finding(scope, sizes[shown], ahead, behind, say, among=len(small)))
    return findings


def early_stopping(study: Study, moment: str) -> list[Finding]:
    """P2: if some distilled set beats the last epoch, so does the epoch picked on a noisy hold-out.

    The best epoch on test images is selected on test images, so it is not used here.
    """
    by_full: dict[tuple[str, ...], list] = defaultdict(list)
    for one in study.compared:
        if one.cell.learns and one.baseline is not None and one.cell.setting.noisy and "last" in one.gains:
            by_full[tuple(row["fingerprint"] for row in one.baseline.rows)].append(one)
    findings = []
    for members in by_full.values():
        full, setting = members[0].baseline, members[0].cell.setting
        scope = f"{setting.data}, {setting.labels}"
        stopped = full.contrast(
            lambda row: None if row.get("picked_acc") is None else row["picked_acc"] - row["last_acc"]
        )
        gain = some([one.gains["last"].estimate().above() for one in members])
        if stopped is None:
            findings.append(
                Finding(scope, missing="the column picked_acc (a holdout) of the whole set", applies=gain <= LEVEL)
            )
            continue
        effect = stopped.estimate()

        def say(effect: Estimate = effect, members: list = members) -> str:
            best = max((one.gains["last"].estimate() for one in members), key=lambda one: one.mean)
            return f"early stopping gains {points(effect)} over the last epoch, the best distilled set {points(best)}"

        findings.append(
            Finding(
                scope, effect, every([gain, effect.above()]), every([gain, effect.below()]), say, applies=gain <= LEVEL
            )
        )
    return findings
