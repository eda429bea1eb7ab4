"""The study's claims, judged, and what is said of each in a sentence."""

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
from experiments.reporting.claims_table import CLAIMS
from experiments.reporting.inference import POWER


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
