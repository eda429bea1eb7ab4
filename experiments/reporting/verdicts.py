"""The study's claims, judged: the table of them, and what is said in a sentence."""

from experiments.reporting import claims_other as other
from experiments.reporting import claims_rates as rates
from experiments.reporting.cells import MOMENTS
from experiments.reporting.claims import FAILS, HOLDS, UNDECIDED, Claim, Finding, Study, Verdict, together

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "Above a critical rate of symmetric noise, far fewer distilled images beat training on everything.",
        "At 10 and 50 per class: from some measured rate up to 0.6 on, every advantage is above two standard errors.",
        "a distiller and the full set with symmetric noise, three seeds each",
        rates.beyond_a_critical_rate,
    ),
    Claim(
        "C2",
        "That advantage grows with the symmetric rate.",
        "No step between measured rates loses more than two standard errors; the effect is last less first.",
        "a distiller and the full set at two symmetric rates",
        rates.grows_with_rate,
    ),
    Claim(
        "C3",
        "Structured noise is absorbed: distillation struggles with asymmetric labels.",
        "Distilled models follow the noise's target no less than full ones, and win only at higher rates than with "
        "symmetric noise.",
        "a distiller and the full set with symmetric and with asymmetric noise",
        rates.structure_is_absorbed,
    ),
    Claim(
        "C4",
        "On CIFAR-100 with asymmetric noise the advantage is limited.",
        "At every measured rate above 0.4 the advantage is below zero.",
        "cifar100 with asymmetric noise at 0.6 or 0.8",
        rates.limited_on_cifar100,
    ),
    Claim(
        "C5",
        "With human labels distilled sets win where errors are many and lose where they are few.",
        "Above zero for worst and noisy100, below zero for aggre.",
        "the human labels worst, aggre or noisy100",
        rates.human_labels,
    ),
    Claim(
        "C6",
        "A few samples are enough.",
        "At symmetric 0.6, a set of at most a tenth of the images is ahead.",
        "a distiller and the full set at symmetric 0.6",
        rates.few_samples,
    ),
    Claim(
        "C7",
        "Clean but rare classes are compressed away.",
        "On a long tail, the tail third loses more recall to distillation than the head third.",
        "a distiller and the full set on a long tail (imbalance)",
        other.rare_classes_lose,
        against_baseline=False,
    ),
    Claim(
        "C8",
        "Distillation makes training cheaper.",
        "Distilling once and training one network takes less time than training one on everything.",
        "the columns distill_s and train_s of a distiller and of the full set",
        other.less_work,
        against_baseline=False,
        unit="seconds",
    ),
    Claim(
        "C9",
        "Distilled models give away less about who was in the data.",
        "Confidence tells training images from test images with a lower AUC on the distilled model.",
        "the column membership_auc of a distiller and of the full set",
        other.privacy,
        against_baseline=False,
        unit="AUC",
    ),
    Claim(
        "C10",
        "The fewer labels are right, the more images are needed.",
        "The size that reaches 95 % of a method's maximum is larger at the highest symmetric rate than at the lowest.",
        "a distiller at three sizes and two rates",
        other.noisier_needs_more,
        against_baseline=False,
        unit="decades",
    ),
    Claim(
        "P1",
        "Large distilled sets absorb noise.",
        "Accuracy falls faster with the rate at 1000 images per class than at 50.",
        "a distiller at 50 and 1000 images per class and three rates",
        other.large_sets_absorb,
        against_baseline=False,
    ),
    Claim(
        "P2",
        "Part of the gain is early stopping.",
        "Where a distilled set beats the last epoch of full training, its best epoch does too.",
        "a distilled set that beats the last epoch of full training",
        rates.early_stopping,
        against_baseline=False,
    ),
    Claim(
        "P3",
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
    findings = {moment: claim.judge(study, moment) for moment in moments}
    status = {moment: together(one.status for one in found) for moment, found in findings.items()}
    return Verdict(claim, findings, status, _words(claim, findings["last"], status["last"]))


def _words(claim: Claim, found: list[Finding], status: str) -> str:
    if not found:
        return f"Undecided: no rows. It takes {claim.needs}."
    groups = {name: [one for one in found if one.status == name] for name in (HOLDS, FAILS, UNDECIDED)}
    parts = [_group(name, group, len(found), claim) for name, group in groups.items() if group]
    wanted = list(dict.fromkeys(one.missing for one in groups[UNDECIDED] if one.missing))
    more = f" Missing: {'; '.join(wanted[:2])}{' and more' if len(wanted) > 2 else ''}." if wanted else ""
    return " ".join(parts) + more


def _group(name: str, group: list[Finding], whole: int, claim: Claim) -> str:
    """So many of all comparisons, which where they are few, and the range of their effects."""
    of = "the one comparison" if whole == 1 else f"{len(group)} of {whole} comparisons"
    which = f" ({'; '.join(one.scope for one in group)})" if len(group) <= 2 else ""
    effects = sorted(one.effect for one in group if one.effect is not None)
    ends = [f"{scaled(claim, effect)}" for effect in dict.fromkeys([*effects[:1], *effects[-1:]])]
    size = f": {' to '.join(ends)} {claim.unit}" if ends else ""
    return f"{name.capitalize()} in {of}{which}{size}."


def scaled(claim: Claim, effect: float) -> str:
    """An effect with its sign, in the claim's unit."""
    return f"{100 * effect:+.1f}" if claim.unit == "points" else f"{effect:+.2f}"


def effect_of(claim: Claim, one: Finding) -> str:
    """Effect, standard error and seeds of a finding in the claim's unit."""
    if one.effect is None:
        return "no rows"
    digits, scale = (1, 100) if claim.unit == "points" else (2, 1)
    spread = "s.e. unknown" if one.se is None else f"± {scale * one.se:.{digits}f}"
    return f"{scaled(claim, one.effect)} {spread} {claim.unit}, n = {one.n}"


def as_text(verdicts: list[Verdict]) -> str:
    """All verdicts for a terminal: a line each, a line for every comparison, and the rows it used."""
    lines = []
    for claim, findings, status, words in verdicts:
        against = ", ".join(f"{moment} {status[moment]}" for moment in status if moment != "last" and findings["last"])
        lines.append(f"{claim.name:<4}{status['last']:<10} {claim.text}")
        lines.append(f"    {words}" + (f" Against other epochs of full training: {against}." if against else ""))
        for one in findings["last"]:
            lines.append(f"      {one.status:<10} {one.scope}: {effect_of(claim, one)}. {one.words}".rstrip())
            if one.rows:
                lines.append(f"                 rows {' '.join(one.rows)}")
    return "\n".join(lines)
