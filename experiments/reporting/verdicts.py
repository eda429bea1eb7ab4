"""Verdicts on the claims of the study, and their descriptions as text."""

from collections.abc import Iterable

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
    refuted,
)
from experiments.reporting.claims_table import CLAIMS
from experiments.reporting.inference import POWER


def judge(study: Study) -> list[Verdict]:
    """Return a verdict on each claim."""
    return [verdict(claim, study) for claim in CLAIMS]


def verdict(claim: Claim, study: Study) -> Verdict:
    """Return the verdict on one claim."""
    moments = MOMENTS if claim.against_baseline else ("last",)
    findings = {moment: claim.judge(study, moment) for moment in moments}
    status = {moment: CODES[int(outcome(each))] for moment, each in findings.items()}
    decided = {moment: decide(each) for moment, each in findings.items()}
    used = [row for one in decided["last"] if one.se is not None for row in one.rows]
    words, fails = _words(claim, decided["last"]), bool(refuted(findings))
    if len(set(status.values())) > 1:
        words = f"Against the last epoch: {words}"
    if fails and status["last"] != FAILS:  # so it fails against the picked epoch
        failing = [one for one in decided["picked"] if one.status == FAILS]
        words = f"Against {REFERENCES['picked']}: {_group(FAILS, failing, len(decided['picked']), claim)} {words}"
    return Verdict(claim, decided, status, words, fails, study.shared(used))


def _words(claim: Claim, findings: list[Decided]) -> str:
    if not findings:
        return f"No rows. Needed: {claim.needs}."
    groups = {name: [one for one in findings if one.status == name] for name in (HOLDS, FAILS, UNDECIDED)}
    if groups[HOLDS] and groups[FAILS]:
        undecided = f" and is undecided in {len(groups[UNDECIDED])}" if groups[UNDECIDED] else ""
        counts = f"It holds in {len(groups[HOLDS])}, fails in {len(groups[FAILS])}{undecided} of"
        parts = [f"{counts} {len(findings)} comparisons."]
    else:
        parts = [_group(name, group, len(findings), claim) for name, group in groups.items() if group]
    wanted = _together(one.missing for one in groups[UNDECIDED])
    if wanted:
        more = [f"and {len(wanted) - 2} more"] if len(wanted) > 2 else []
        parts.append(f"Missing: {'; '.join([*wanted[:2], *more])}.")
    return " ".join(parts)


def _together(missing: Iterable[str]) -> list[str]:
    """Return the different texts; those that differ only in the number in front are one text with its range."""
    numbers: dict[str, list[str]] = {}
    for text in filter(None, missing):
        rest = text.lstrip("0123456789")
        numbers.setdefault(rest, []).append(text.removesuffix(rest))
    ends = {rest: sorted(set(found), key=lambda number: int(number or 0)) for rest, found in numbers.items()}
    return [" to ".join(dict.fromkeys([found[0], found[-1]])) + rest for rest, found in ends.items()]


def _group(name: str, group: list[Decided], whole: int, claim: Claim) -> str:
    """Return the number of comparisons of a status, their names if there are few, and the range of effects."""
    of = "the one comparison" if whole == 1 else f"{len(group)} of {whole} comparisons"
    which = f" ({'; '.join(one.scope for one in group)})" if len(group) <= 2 else ""
    effects = sorted(one.effect for one in group if one.effect is not None)
    ends = [scaled(claim, effect) for effect in dict.fromkeys([*effects[:1], *effects[-1:]])]
    size = f": {' to '.join(ends)} {claim.unit}" if ends else ""
    return f"{name.capitalize()} in {of}{which}{size}{_detectable(claim, group) if name == UNDECIDED else ''}."


def _detectable(claim: Claim, group: list[Decided]) -> str:
    """Return the range of the detectable effects of undecided comparisons."""
    sizes = sorted(one.detectable for one in group if one.detectable is not None)
    if not sizes:
        return ""
    ends = dict.fromkeys(_unsigned(claim, size) for size in (sizes[0], sizes[-1]))
    return f" (detectable with {100 * POWER:.0f} % power: {' to '.join(ends)})"


def scaled(claim: Claim, effect: float) -> str:
    """Return an effect in the unit of the claim, with a sign if it is a difference."""
    if claim.unit == "times":
        return f"{effect:.3g}"
    return f"{100 * effect:+.1f}" if claim.unit == "points" else f"{effect:+.3f}"


def _unsigned(claim: Claim, size: float) -> str:
    return f"{100 * size:.1f}" if claim.unit == "points" else f"{size:.3f}"


def effect_in_short(claim: Claim, one: Decided) -> str:
    """Return effect and standard error of a finding, in the unit of the claim."""
    if one.effect is None:
        return "–"
    spread = "" if one.se is None else f" ± {_unsigned(claim, one.se)}"
    return f"{scaled(claim, one.effect)}{spread} {claim.unit}"


def effect_of(claim: Claim, one: Decided) -> str:
    """Return effect, standard error, seeds, corrected p value and detectable effect of a finding."""
    if one.effect is None:
        return "no rows"
    if claim.unit == "times":
        return f"{scaled(claim, one.effect)} times as many operations"
    spread = "no standard error" if one.se is None else f"± {_unsigned(claim, one.se)}"
    kind = "seed" if one.n == 1 else "seeds"
    if one.paired:
        kind = "draw in common" if one.n == 1 else "draws in common"
    parts = [f"{scaled(claim, one.effect)} {spread} {claim.unit}", f"{one.n} {kind}"]
    if one.p is not None:
        parts.append("p < 0.001" if one.p < 0.001 else f"p = {one.p:.3f}")
    if one.detectable is not None:
        parts.append(f"detectable {_unsigned(claim, one.detectable)} at {100 * POWER:.0f} % power")
    return ", ".join(parts)


def against(one: Verdict) -> str:
    """Return the status against each reference of full training as text; empty for claims without a reference."""
    if not one.claim.against_baseline or not one.findings["last"]:
        return ""
    return "; ".join(f"against {REFERENCES[moment]}: {status}" for moment, status in one.status.items())


def as_text(verdicts: list[Verdict]) -> str:
    """Return all verdicts as text: a line per verdict, a line per comparison, and the rows of each comparison."""
    lines = []
    for one in verdicts:
        claim, references = one.claim, against(one)
        lines.append(f"{claim.name:<4}{one.headline:<10} {claim.title}. {claim.text}")
        lines.append(f"    {one.words}" + (f" {references.capitalize()}." if references else ""))
        if one.shared and one.findings["last"]:
            lines.append(f"    {lacks(one)}")
        for finding in one.findings["last"]:
            missing = f" Missing: {finding.missing}." if finding.missing else ""
            text = f"{finding.scope}: {effect_of(claim, finding)}. {finding.words}".rstrip()
            lines.append(f"      {finding.status:<10} {text}{missing}")
            if finding.rows:
                lines.append(f"                 rows {' '.join(finding.rows)}")
    return "\n".join(lines)


def lacks(one: Verdict) -> str:
    """Return a sentence on the variance that the standard errors of a verdict do not contain."""
    return f"Seeds share the {' and the '.join(one.shared)}, whose variance is not in these standard errors."
