"""Result rows as text."""

from typing import Any

_DENOISING = {
    "relabel_acc": "training images given their clean label",
    "kept_clean": "... among those labelled right",
    "corrected": "... among those labelled wrong",
    "memorised": "wrong labels that are repeated",
}


def percent(value: float | None) -> str:
    """A fraction as per cent, or a dash for None and NaN."""
    return "-" if value is None or value != value else f"{100 * value:.1f} %"


def describe(row: dict[str, Any]) -> str:
    """A summary of a result row, about a dozen lines."""
    noise = f"{row['noise']} {row['rate']:g}" if row["rate"] else row["noise"]
    lines = [
        f"{row['dataset']}, {noise} noise: {percent(row['effective_rate'])} of {row['train_images']} labels are wrong "
        f"(checksum {row['noise_checksum']})"
    ]
    if "moments" in row:
        how = row["protocol"] if row["method"] == "full" else f"{row['method']}, {row['protocol']}"
        lines += [f"trained on all of them by {how}, {row['epochs']} epochs, {len(row['students'])} run(s):", ""]
        if told := row.get("told"):
            lines += [f"the method was told: {', '.join(told)}", ""]
        if found := row.get("relabelling"):
            before, after = percent(1 - found["noise_rate"]), percent(found["corrected_acc"])
            lines += [f"labels corrected first: {before} right before, {after} after", ""]
        lines += moments(row["moments"])
        lines += ["", "'best' is chosen on test data: a reference, not a result."]
    else:
        spread = f" +- {100 * row['last_std']:.1f}" if len(row["students"]) > 1 else ""
        lines += [
            f"{row['method']}, {row['ipc']} per class = {row['images']} images, protocol {row['protocol']}, "
            f"{len(row['students'])} student(s) at rate {row['student_rate']:g}:",
            "",
            f"  test accuracy       {percent(row['last_acc'])}{spread}",
        ]
        for name, words in _DENOISING.items():
            if row["denoising"]:
                lines.append(f"  {words:<42} {percent(row['denoising'][name])}")
        if "hlr" in row:
            scores = "  ".join(f"{name.upper()} {row[name]:.3f}" for name in ("hlr", "ior", "lrs", "ars"))
            lines += ["", f"  DD-Ranking          {scores}"]
            lines += ["  HLR below zero: the distilled set beats all noisy images, hard labels on both sides"]
    return "\n".join(lines)


def moments(at: dict[str, dict[str, list[float]]]) -> list[str]:
    """Accuracies of training on the full set: at the last epoch, the best, and the one picked on a noisy hold-out."""
    heads = {"test_acc": "test", "given_acc": "train, given labels", "clean_acc": "train, clean labels"}
    shown = {name: title for name, title in heads.items() if name in at["last"]}
    lines = [f"  {'moment':<20}" + "".join(f"{title:>21}" for title in shown.values()) + "   epoch"]
    for moment, words in [("last", "last"), ("picked", "picked on hold-out"), ("best", "best on test")]:
        if moment not in at:
            continue
        cells = "".join(f"{percent(sum(at[moment][name]) / len(at[moment][name])):>21}" for name in shown)
        lines.append(f"  {words:<20}{cells}   {', '.join(str(e) for e in at[moment]['epoch'])}")
    return lines
