"""The opening of the page: the main result with its uncertainty, and descriptions of the methods."""

from scipy import stats

from experiments.reporting.cells import Compared, Setting
from experiments.reporting.claims import Study
from experiments.reporting.contrasts import Estimate
from experiments.reporting.inference import SEEDS
from experiments.running.methods import RELABEL, last_part

# one sentence per method
METHODS = {
    "rcig": "RCIG learns images such that a network with its last layer fitted to them predicts the training set.",
    "datm": "DATM learns images and soft labels that reproduce the training trajectories of expert networks.",
    "mtt": "MTT learns images that reproduce the training trajectories of expert networks.",
    "dance": "DANCE learns images with the same mean features as real images, in partially trained networks.",
    "dm": "DM learns images with the same mean features as real images, in random networks.",
    "ncfm": "NCFM learns images whose features have the same characteristic function as those of real images.",
    "rdc_reconstructed": "RDC adds to DANCE a contrast of mixtures with real images whose labels are likely right.",
    "frepo": "FRePo learns images by kernel regression on the features of a pool of networks.",
    "kip": "KIP learns images by kernel regression with the kernel of a wide network.",
    "random": "Random selects random real images of each class, as a control.",
    "herding": "Herding selects real images close to the mean features of their class.",
    "kcenter": "k-center selects real images that cover their class.",
}
INTERVAL = 0.05  # 1 - the confidence of intervals


def headline(study: Study) -> str:
    """Compare the best distilled set with training on the whole set, at the setting with the most distilled sets.

    The intervals hold simultaneously for all distilled sets of the setting (Bonferroni).

    Returns:
      A few sentences; empty without a distilled set and training on the whole set at one noisy setting.
    """
    setting, candidates = _main(study)
    if not candidates:
        return ""
    best = max(candidates, key=lambda one: one.cell.of("last_acc").mean)
    row, full = best.cell.rows[0], best.baseline
    wrong = 100 * best.cell.of("effective_rate").mean
    one, whole = best.cell.of("last_acc"), full.of("last_acc")
    series = best.cell.series
    word = METHODS.get(series, series).split()[0]
    method = word if word.lower() == series else series  # DATM and FRePo, but rdc_reconstructed
    words = (
        f"On {setting.data} with {wrong:.0f} % wrong training labels ({setting.labels}), a network trained on "
        f"{row.get('images', '?')} images distilled by {method} has an accuracy of {_share(one)} "
        f"on clean test images. Trained on all {row['train_images']:,} images, it has {_share(whole)} at the last epoch"
    )
    if picked := full.of("picked_acc"):
        words += f" and {_share(picked)} at the epoch picked on a noisy hold-out"
    count = len(candidates)
    found = {m: best.gains[m].estimate() for m in ("last", "picked") if m in best.gains}
    gains = [
        f"{interval(found[moment], count)} against {name}"
        for moment, name in (("last", "the last epoch"), ("picked", "the picked epoch"))
        if moment in found and found[moment].n >= SEEDS and found[moment].se
    ]
    n = found["last"].n
    if gains:
        among = f"the best of {count} distilled sets" if count > 1 else "this distilled set"
        words += f". The advantage of {among} is {' and '.join(gains)} ({100 * (1 - INTERVAL):.0f} % intervals"
        words += f" that hold for all {count})" if count > 1 else ")"
    elif n < SEEDS:
        words += f". {n} seed{'s are' if n > 1 else ' is'} too few for an interval of the difference"
    else:
        words += f". {n} seeds without spread allow no interval of the difference"
    rates = sorted(
        {c.setting.rate for c in study.cells if (c.setting.data, c.setting.noise) == (setting.data, setting.noise)}
    )
    measured = "Measured rate" if len(rates) == 1 else "Measured rates"
    return f"{words}. {measured} of this noise: {', '.join(f'{rate:g}' for rate in rates)}."


def _main(study: Study) -> tuple[Setting | None, list[Compared]]:
    """Return the noisy setting with the most distilled sets.

    Among equals it is the one with the most seeds, then symmetric noise, then the rate nearest to 0.4.
    """
    groups: dict = {}
    for one in study.compared:
        setting = one.cell.setting
        if one.cell.learns and one.baseline is not None and setting.noisy and not setting.imbalance:
            groups.setdefault(setting, []).append(one)
    if not groups:
        return None, []

    def value(setting: Setting) -> tuple:
        seeds = min(len(one.cell.rows) for one in groups[setting])
        return len(groups[setting]), seeds, setting.noise == "symmetric", -abs(setting.rate - 0.4)

    main = max(groups, key=value)
    return main, groups[main]


def _share(one: Estimate) -> str:
    spread = "" if one.se is None else f" ± {100 * one.se:.1f}"
    return f"{100 * one.mean:.1f}{spread} %"


def interval(one: Estimate, count: int) -> str:
    """Return a difference in points with a confidence interval that holds for `count` differences simultaneously."""
    half = float(stats.t.isf(INTERVAL / 2 / count, one.df)) * one.se
    low, high = (100 * (one.mean + side * half) for side in (-1, 1))
    return f"{100 * one.mean:+.1f} points ({low:+.1f} to {high:+.1f})".replace("-", "−")


def methods(study: Study) -> list[str]:
    """Return one sentence per method of the study that has one in `METHODS`."""
    present = {last_part(cell.method.removesuffix(RELABEL)) for cell in study.cells}
    return [sentence for name, sentence in METHODS.items() if name in present]
