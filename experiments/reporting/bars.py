"""Charts with one named row per value: dots with errors, and stacked bars."""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.reporting.svg import WIDTH, frame, marker, segment, text, ticks

ROW, HEAD, FOOT, NAMES, END = 20, 30, 34, 170, 12
TONES = ("k1", "neutral", "k2")


class Dot(NamedTuple):
    """A named value with its error; `colour` is the index of colour and marker."""

    name: str
    value: float
    error: float
    colour: int


class Parts(NamedTuple):
    """A named bar of shares that add to 100."""

    name: str
    shares: tuple[float, ...]


def short(words: str, most: int = 25) -> str:
    """Return a name shortened to at most `most` characters; what follows its last comma, such as a size, is kept."""
    if len(words) <= most:
        return words
    _, comma, tail = words.rpartition(", ")
    end = f"…, {tail}" if comma and len(tail) <= most - 8 else "…"
    return words[: most - len(end)] + end


def dots(
    title: str,
    values: Sequence[Dot],
    guides: Sequence[float] = (),
    what: str = "test accuracy (%)",
    shared: Sequence[Dot] = (),
) -> str:
    """Return a chart of values in per cent with dashed guides, on a scale that also fits the values `shared`."""
    spread = [v for d in (*values, *shared) for v in (d.value - d.error, d.value + d.error)] + [*guides]
    marks = ticks(max(0.0, min(spread) - 2), min(100.0, max(spread) + 2), 4)
    height = HEAD + ROW * len(values) + FOOT

    def at(value: float) -> float:
        return NAMES + (value - marks[0]) / (marks[-1] - marks[0]) * (WIDTH - NAMES - END - 34)

    floor = height - FOOT + 4
    body = [segment(at(m), HEAD - 6, at(m), floor) + text(at(m), floor + 13, f"{m:g}", "middle") for m in marks]
    body += [segment(at(g), HEAD - 6, at(g), floor, "axis", 'stroke-dasharray="5 3"') for g in guides]
    for i, dot in enumerate(values):
        y = HEAD + ROW * i + 8
        line = segment(at(dot.value - dot.error), y, at(dot.value + dot.error), y, "error", 'stroke="currentColor"')
        body.append(text(NAMES - 8, y + 4, short(dot.name), "end"))
        body.append(f'<g class="k k{dot.colour}">{line}{marker(at(dot.value), y, dot.colour, 4.2)}</g>')
        body.append(text(WIDTH - 4, y + 4, f"{dot.value:.1f}", "end"))
    body.append(text(NAMES, height - 4, what, kind="quiet"))
    return frame(title, height, "; ".join(f"{d.name}: {d.value:.1f} %" for d in values), body)


def stacked(title: str, names: Sequence[str], values: Sequence[Parts]) -> str:
    """Return a chart of bars of shares in per cent, with the names of the parts on top."""
    height, wide = HEAD + 18 + ROW * len(values) + 14, WIDTH - NAMES - END

    def at(share: float) -> float:
        return NAMES + share / 100 * wide

    body = [
        text(at(100 * i / len(names)), HEAD + 4, name, kind=f"k {tone}")
        for i, (name, tone) in enumerate(zip(names, TONES, strict=True))
    ]
    for row, bar in enumerate(values):
        y, start = HEAD + 12 + ROW * row, 0.0
        body.append(text(NAMES - 8, y + 11, short(bar.name), "end"))
        for i, share in enumerate(bar.shares):
            place = f'x="{at(start):.1f}" y="{y}" width="{share / 100 * wide:.1f}" height="14"'
            body.append(f'<g class="{TONES[i]}"><rect {place} fill="currentColor"/></g>')
            if share >= 12:
                body.append(text(at(start + share / 2), y + 11, f"{share:.0f}", "middle", "on"))
            start += share
    body += [text(at(m), height - 4, f"{m}", "middle", "quiet") for m in (0, 50, 100)]
    description = "; ".join(
        f"{bar.name}: " + ", ".join(f"{n} {s:.0f} %" for n, s in zip(names, bar.shares, strict=True)) for bar in values
    )
    return frame(title, height, description, body)
