"""The first words of the page: what was found, with its uncertainty, and what the names mean."""

from scipy import stats

from experiments.reporting.cells import Compared
from experiments.reporting.claims import Study
from experiments.reporting.contrasts import SEEDS, Estimate

# what a reader needs to know of a method, in a sentence
METHODS = {
    "rcig": "RCIG learns images so that a network's last layer, fitted to them, predicts the training set.",
    "datm": "DATM learns images and soft labels on which a network moves as expert networks moved on all images.",
    "mtt": "MTT learns images on which a network moves as expert networks moved on all images.",
    "dance": "DANCE learns images with the same mean features as real ones, inside and between networks.",
    "dm": "DM learns images with the same mean features as real ones in random networks.",
    "frepo": "FRePo learns images by kernel regression on the features of a pool of networks.",
    "kip": "KIP learns images by kernel regression with the kernel of a wide network.",
    "random": "Random draws real images of each class and learns nothing: the control.",
    "herding": "Herding chooses real images close to their class's mean features, and learns nothing.",
    "kcenter": "k-center chooses real images that cover their class, and learns nothing.",
}
INTERVAL = 0.05  # 1 - the confidence of intervals


def headline(study: Study) -> str:
    """The best distilled set beside training on everything, at the noise that was measured most; empty without both.

    Its intervals hold for all sets among which it is the best (Bonferroni).
    """
    setting, candidates = _main(study)
    if not candidates:
        return ""
    best = max(candidates, key=lambda one: one.cell.of("last_acc").mean)
    row, full = best.cell.rows[0], best.baseline
    wrong = 100 * best.cell.of("effective_rate").mean
    one, whole = best.cell.of("last_acc"), full.of("last_acc")
    words = (
        f"On {setting.data} with {wrong:.0f} % wrong training labels ({setting.labels}), a network trained on "
        f"{row.get('images', '?')} images distilled by {best.cell.series.upper()} is right for {_share(one)} of the "
        f"clean test images; trained on all {row['train_images']:,} images it is right for {_share(whole)} at its last "
        "epoch"
    )
    if picked := full.of("picked_acc"):
        words += f" and for {_share(picked)} at the epoch that a noisy hold-out picks"
    count = len(candidates)
    gains = [
        f"{interval(best.gains[moment].estimate(), count)} against {name}"
        for moment, name in (("last", "the last epoch"), ("picked", "the picked epoch"))
        if moment in best.gains and best.gains[moment].estimate().n >= SEEDS
    ]
    if gains:
        among = f"the best of {count} distilled sets" if count > 1 else "this distilled set"
        words += f". The advantage of {among} is {' and '.join(gains)} ({100 * (1 - INTERVAL):.0f} % intervals"
        words += f" for all {count} together)" if count > 1 else ")"
    else:
        words += f". {one.n} seed{'s are' if one.n > 1 else ' is'} too few for an interval of the difference"
    rates = sorted(
        {c.setting.rate for c in study.cells if (c.setting.data, c.setting.noise) == (setting.data, setting.noise)}
    )
    measured = "was the only rate measured" if len(rates) == 1 else "were the rates measured"
    return f"{words}; {', '.join(f'{rate:g}' for rate in rates)} {measured} with this noise."


def _main(study: Study) -> tuple[object, list[Compared]]:
    """The noisy setting with the most compared distilled sets, symmetric noise near 0.4 first among equals."""
    groups: dict = {}
    for one in study.compared:
        setting = one.cell.setting
        if one.cell.learns and one.baseline is not None and setting.noise != "clean" and not setting.imbalance:
            groups.setdefault(setting, []).append(one)
    if not groups:
        return None, []
    key = max(groups, key=lambda s: (len(groups[s]), s.noise == "symmetric", -abs(s.rate - 0.4)))
    return key, groups[key]


def _share(one: Estimate) -> str:
    spread = "" if one.se is None else f" ± {100 * one.se:.1f}"
    return f"{100 * one.mean:.1f}{spread} %"


def interval(one: Estimate, count: int) -> str:
    """A difference in points with its confidence interval, for `count` of them together."""
    half = float(stats.t.isf(INTERVAL / 2 / count, one.df)) * one.se if one.se else 0.0
    low, high = (100 * (one.mean + side * half) for side in (-1, 1))
    return f"{100 * one.mean:+.1f} points ({low:+.1f} to {high:+.1f})".replace("-", "−")


def methods(study: Study) -> list[str]:
    """Return one sentence per method of the study that has one in `METHODS`."""
    present = {cell.method.removeprefix("prune+").removesuffix("+relabel") for cell in study.cells}
    return [sentence for name, sentence in METHODS.items() if name in present]
