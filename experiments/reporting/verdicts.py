"""The study's claims, judged: the table of them, and what is said in a sentence."""

from experiments.reporting import claims_cost as cost
from experiments.reporting import claims_other as other
from experiments.reporting import claims_privacy as privacy
from experiments.reporting import claims_rates as rates
from experiments.reporting.cells import MOMENTS
from experiments.reporting.claims import (
    CODES,
    FAILS,
    HOLDS,
    REFERENCES,
    UNDECIDED,
    Claim,
    Decided,
    Study,
    Verdict,
    decide,
    outcome,
)
from experiments.reporting.inference import POWER

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "Fewer images beat all of them",
        "Above a critical rate of symmetric noise, far fewer distilled images beat training on everything.",
        "At 10 and 50 per class, the advantage is above zero at the largest measured rate up to 0.6 and at every rate "
        "of the grid beyond it. One advantage below zero at 0.6 or 0.8 refutes it.",
        "a distiller and the full set with symmetric noise, three seeds each",
        rates.beyond_a_critical_rate,
    ),
    Claim(
        "C2",
        "More noise, more advantage",
        "That advantage grows with the symmetric rate.",
        "The slope of the least-squares line through the advantages over the rates is above zero.",
        "a distiller and the full set at two symmetric rates",
        rates.grows_with_rate,
    ),
    Claim(
        "C3",
        "Structured noise is absorbed",
        "Distilled sets take over asymmetric noise, and so gain less from it than from symmetric noise.",
        "Distilled models predict the noise's target for its source classes at most 2 points less often than full "
        "models. At equal nominal rates the advantage is larger with symmetric than with asymmetric noise.",
        "a distiller and the full set with symmetric and with asymmetric noise",
        rates.structure_is_absorbed,
    ),
    Claim(
        "C4",
        "No gain on CIFAR-100 with asymmetric noise",
        "On CIFAR-100 with asymmetric noise distilled sets stay behind at high rates.",
        "At every measured rate above 0.4 the advantage is below zero.",
        "cifar100 with asymmetric noise at 0.6 or 0.8",
        rates.limited_on_cifar100,
    ),
    Claim(
        "C5",
        "Labels by people: wins with many errors",
        "With human labels distilled sets win where errors are many and lose where they are few.",
        "The advantage is above zero for worst and noisy100, and below zero for aggre.",
        "the human labels worst, aggre or noisy100",
        rates.human_labels,
    ),
    Claim(
        "C6",
        "A tenth of the images is enough",
        "A few distilled images are enough to win.",
        "At symmetric rate 0.6, some set of at most a tenth of the images has an advantage above zero.",
        "a distiller and the full set at symmetric 0.6",
        rates.few_samples,
    ),
    Claim(
        "C7",
        "Rare classes are lost",
        "Clean but rare classes are compressed away.",
        "On a long tail, the tail third of the classes loses more recall to distillation than the head third.",
        "a distiller and the full set on a long tail (imbalance)",
        other.rare_classes_lose,
        against_baseline=False,
    ),
    Claim(
        "C8",
        "Less computation",
        "Distilling once and training one network is cheaper than training one on everything.",
        "Counted floating-point operations, with experts and pools in full, are at most half of those of training on "
        "everything. It fails where they are twice as many even if all runs that use a pool divide its cost.",
        "a distiller and the full set",
        cost.less_work,
        against_baseline=False,
        unit="times",
    ),
    Claim(
        "C9",
        "Less is given away about who was in the data",
        "Models trained on distilled sets give away less about who was in the data.",
        "A likelihood-ratio attack has a smaller AUC on the distilled set's models than on models of all images, "
        "trained by the same recipe to the same accuracy, and than on models of a random set of the same size.",
        "a distiller with the column membership, from experiments.membership",
        privacy.privacy,
        against_baseline=False,
        unit="AUC",
    ),
    Claim(
        "C10",
        "More noise takes more images",
        "The fewer labels are right, the more images are needed.",
        "The size that reaches 95 % of a method's maximum is larger at the highest symmetric rate than at the lowest.",
        "a distiller at three sizes and two rates",
        other.noisier_needs_more,
        against_baseline=False,
        unit="decades",
    ),
    Claim(
        "P1",
        "Large distilled sets absorb noise",
        "The larger a distilled set, the more of the noise it takes over.",
        "Accuracy falls faster with the rate at 1000 images per class than at 50.",
        "a distiller at 50 and 1000 images per class and three rates",
        other.large_sets_absorb,
        against_baseline=False,
    ),
    Claim(
        "P2",
        "Early stopping explains part of the gain",
        "Part of the gain over the last epoch is what early stopping would give.",
        "Where a distilled set beats the last epoch of full training, the epoch picked on a noisy hold-out does too.",
        "a distilled set that beats the last epoch of full training, which had a hold-out",
        rates.early_stopping,
        against_baseline=False,
    ),
    Claim(
        "P3",
        "Filtered first images explain part of the gain",
        "Part of the gain is the filter that chooses initial images.",
        "DATM from correctly predicted images beats DATM from any real ones.",
        "datm with noisy labels, with start=correct and with start=real",
        other.filtering_start,
        against_baseline=False,
    ),
)


def judge(study: Study) -> list[Verdict]:
    """A verdict on every claim."""
    return [verdict(claim, study) for claim in CLAIMS]


def verdict(claim: Claim, study: Study) -> Verdict:
    """One claim against the study's rows."""
    moments = MOMENTS if claim.against_baseline else ("last",)
    found = {moment: claim.judge(study, moment) for moment in moments}
    status = {moment: CODES[int(outcome(each))] for moment, each in found.items()}
    decided = {moment: decide(each) for moment, each in found.items()}
    used = [row for one in decided["last"] if one.se is not None for row in one.rows]
    return Verdict(claim, decided, status, _words(claim, decided["last"]), study.shared(used))


def _words(claim: Claim, found: list[Decided]) -> str:
    if not found:
        return f"No rows. It takes {claim.needs}."
    groups = {name: [one for one in found if one.status == name] for name in (HOLDS, FAILS, UNDECIDED)}
    if groups[HOLDS] and groups[FAILS]:
        open_in = f" and is undecided in {len(groups[UNDECIDED])}" if groups[UNDECIDED] else ""
        counts = f"It holds in {len(groups[HOLDS])}, fails in {len(groups[FAILS])}{open_in} of"
        parts = [f"{counts} {len(found)} comparisons."]
    else:
        parts = [_group(name, group, len(found), claim) for name, group in groups.items() if group]
    wanted = list(dict.fromkeys(one.missing for one in groups[UNDECIDED] if one.missing))
    more = f" Missing: {'; '.join(wanted[:2])}{' and more' if len(wanted) > 2 else ''}." if wanted else ""
    return " ".join(parts) + more


def _group(name: str, group: list[Decided], whole: int, claim: Claim) -> str:
    """So many of all comparisons, which where they are few, and the range of their effects."""
    of = "the one comparison" if whole == 1 else f"{len(group)} of {whole} comparisons"
    which = f" ({'; '.join(one.scope for one in group)})" if len(group) <= 2 else ""
    effects = sorted(one.effect for one in group if one.effect is not None)
    ends = [scaled(claim, effect) for effect in dict.fromkeys([*effects[:1], *effects[-1:]])]
    size = f": {' to '.join(ends)} {claim.unit}" if ends else ""
    return f"{name.capitalize()} in {of}{which}{size}{_seen(claim, group) if name == UNDECIDED else ''}."


def _seen(claim: Claim, group: list[Decided]) -> str:
    """The effects that undecided comparisons could have seen, the smallest and the largest."""
    sizes = sorted(one.detectable for one in group if one.detectable is not None)
    if not sizes:
        return ""
    scale, digits = (100, 1) if claim.unit == "points" else (1, 3)
    ends = dict.fromkeys(f"{scale * size:.{digits}f}" for size in (sizes[0], sizes[-1]))
    return f" (detectable with {100 * POWER:.0f} % power: {' to '.join(ends)})"


def scaled(claim: Claim, effect: float) -> str:
    """An effect in the claim's unit, with its sign where it is a difference."""
    if claim.unit == "times":
        return f"{effect:.3g}"
    return f"{100 * effect:+.1f}" if claim.unit == "points" else f"{effect:+.3f}"


def effect_in_short(claim: Claim, one: Decided) -> str:
    """Effect and standard error of a finding, in the claim's unit."""
    if one.effect is None:
        return "–"
    digits, scale = (1, 100) if claim.unit == "points" else (3, 1)
    spread = "" if one.se is None else f" ± {scale * one.se:.{digits}f}"
    return f"{scaled(claim, one.effect)}{spread} {claim.unit}"


def effect_of(claim: Claim, one: Decided) -> str:
    """Effect, standard error, seeds, corrected p value and detectable effect of a finding, in the claim's unit."""
    if one.effect is None:
        return "no rows"
    if claim.unit == "times":
        return f"{scaled(claim, one.effect)} times as many operations"
    digits, scale = (1, 100) if claim.unit == "points" else (3, 1)
    spread = "no standard error" if one.se is None else f"± {scale * one.se:.{digits}f}"
    kind = "draws in common" if one.paired else "seeds"
    parts = [f"{scaled(claim, one.effect)} {spread} {claim.unit}", f"{one.n} {kind}"]
    if one.p is not None:
        parts.append("p < 0.001" if one.p < 0.001 else f"p = {one.p:.3f}")
    if one.detectable is not None:
        parts.append(f"detectable {scale * one.detectable:.{digits}f} at {100 * POWER:.0f} % power")
    return ", ".join(parts)


def against(one: Verdict) -> str:
    """The status against each reference of full training, in words; empty for claims without one."""
    if not one.claim.against_baseline or not one.findings["last"]:
        return ""
    return "; ".join(f"against {REFERENCES[moment]}: {status}" for moment, status in one.status.items())


def as_text(verdicts: list[Verdict]) -> str:
    """All verdicts for a terminal: a line each, a line for every comparison, and the rows it used."""
    lines = []
    for one in verdicts:
        claim, references = one.claim, against(one)
        lines.append(f"{claim.name:<4}{one.headline:<10} {claim.title}. {claim.text}")
        lines.append(f"    {one.words}" + (f" {references.capitalize()}." if references else ""))
        if one.shared and one.findings["last"]:
            lines.append(f"    {lacks(one)}")
        for each in one.findings["last"]:
            missing = f" Missing: {each.missing}." if each.missing else ""
            said = f"{each.scope}: {effect_of(claim, each)}. {each.words}".rstrip()
            lines.append(f"      {each.status:<10} {said}{missing}")
            if each.rows:
                lines.append(f"                 rows {' '.join(each.rows)}")
    return "\n".join(lines)


def lacks(one: Verdict) -> str:
    """Which variance the standard errors of a verdict do not contain."""
    return f"Not in these standard errors, since seeds share it: variance of the {', the '.join(one.shared)}."
