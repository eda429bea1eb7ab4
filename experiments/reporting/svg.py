"""Charts as SVG text that take their colours from the page and describe their numbers for screen readers.

Matplotlib writes no ARIA labels and no CSS variables. Its panels are four times as large, and one takes 86 ms of a CPU
instead of 0.2 ms, which a page of 60 panels and its tests would feel.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, COLUMNS = 340, 250, 3
TITLE = 45  # characters that fit into a title; longer titles are compressed
LEFT, TOP, BOTTOM = 40, 42, 38
# Each series of a panel has its own colour and its own marker, so that colour is not needed to identify it.
MARKERS = ("circle", "square", "triangle", "diamond", "cross")
PALETTES = {
    "light": ("#333333", "#0067a5", "#b34700", "#00705a", "#9c3a78"),
    "dark": ("#dddddd", "#6cb8ee", "#f0a04b", "#3fc7a0", "#e39ac4"),
}
INKS = {"light": ("#1c1c1a", "#5c5c57", "#d4d3cd"), "dark": ("#ebe9e4", "#aaa8a1", "#44433f")}
STYLE = """
.chart text { fill: var(--ink); font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.chart .title { font-size: 12px; font-weight: 600; } .chart .quiet { fill: var(--soft); }
.chart .rule { stroke: var(--line); } .chart .axis { stroke: var(--soft); }
.chart .k text, .chart text.k { fill: currentColor; }
"""


Place = Callable[[float], float]  # value -> coordinate


class Line(NamedTuple):
    """A series of points with errors, and an optional horizontal line at `level`."""

    name: str
    colour: int
    points: Sequence[tuple[float, float, float]] = ()  # x, y, error
    level: float | None = None  # height of a dashed line of the same colour
    marks: Sequence[tuple[float, float]] = ()  # open rings: published values
    dash: str = ""  # lengths of the strokes and gaps of a dashed line


def variables(theme: str) -> str:
    """Return the CSS custom properties of the charts."""
    names = [*(f"--k{i}" for i in range(len(MARKERS))), "--ink", "--soft", "--line"]
    return " ".join(f"{n}: {v};" for n, v in zip(names, (*PALETTES[theme], *INKS[theme]), strict=True))


def colours() -> str:
    """Return the CSS classes k0, k1, ... of the palette."""
    return " ".join(
        [".neutral { color: var(--soft); }", *(f".k{i} {{ color: var(--k{i}); }}" for i in range(len(MARKERS)))]
    )


def standalone(panels: Sequence[str]) -> str:
    """Return the panels in a grid of equally long rows where possible, as one SVG file with styles."""
    columns = max(1, math.ceil(len(panels) / max(1, math.ceil(len(panels) / COLUMNS))))
    heights = [float(panel.split('viewBox="0 0 ')[1].split('"')[0].split()[1]) for panel in panels]
    rows = [heights[i : i + columns] for i in range(0, len(panels), columns)]
    tops = [sum(max(row) for row in rows[:i]) for i in range(len(rows) + 1)]
    placed = [
        f'<g transform="translate({(i % columns) * WIDTH},{tops[i // columns]:g})">{panel}</g>'
        for i, panel in enumerate(panels)
    ]
    size = f'width="{columns * WIDTH}" height="{tops[-1]:g}"'
    style = (
        f"svg {{ {variables('light')} }} {colours()} {STYLE} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {variables('dark')} background: #171716; }} }}"
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{"".join(placed)}</svg>\n'


def frame(title: str, height: float, description: str, body: Sequence[str]) -> str:
    """Return a panel with a title and a description for screen readers."""
    fitted = f' textLength="{WIDTH - 8}" lengthAdjust="spacingAndGlyphs"' if len(title) > TITLE else ""
    return (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img" aria-label="{escape(f"{title}. {description}", quote=True)}">'
        f'<text class="title" x="4" y="15"{fitted}>{escape(title)}</text>{"".join(body)}</svg>'
    )


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Return a line of text; the text is escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def segment(x1: float, y1: float, x2: float, y2: float, kind: str = "rule", extra: str = "") -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}" {extra}/>'


def marker(x: float, y: float, shape: int, size: float = 3.6) -> str:
    """Return the marker of a series in the current colour."""
    name, s = MARKERS[shape % len(MARKERS)], size
    if name == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s}" fill="currentColor"/>'
    paths = {
        "square": f"M{x - s:.1f} {y - s:.1f}h{2 * s}v{2 * s}h{-2 * s}z",
        "triangle": f"M{x:.1f} {y - 1.2 * s:.1f}l{1.2 * s:.1f} {2.1 * s:.1f}h{-2.4 * s:.1f}z",
        "diamond": f"M{x:.1f} {y - 1.3 * s:.1f}l{1.3 * s:.1f} {1.3 * s:.1f}l{-1.3 * s:.1f} {1.3 * s:.1f}"
        f"l{-1.3 * s:.1f} {-1.3 * s:.1f}z",
        "cross": f"M{x - s:.1f} {y - s:.1f}l{2 * s} {2 * s}m0 {-2 * s}l{-2 * s} {2 * s}",
    }
    stroke = ' stroke="currentColor" stroke-width="2"' if name == "cross" else ""
    return f'<path d="{paths[name]}" fill="currentColor"{stroke}/>'


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers that cover the range in at most `most` steps.

    Example:
      >>> ticks(33.0, 97.0)
      [20.0, 40.0, 60.0, 80.0, 100.0]
    """
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9) / most))
    step = next(step * k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= most)
    first = math.floor(low / step + 1e-9)
    return [step * i + 0.0 for i in range(first, math.ceil(high / step - 1e-9) + 1)]


def apart(places: list[float], gap: float = 13.0) -> list[float]:
    """Return the heights, moved in order so that labels do not overlap."""
    heights, order = list(places), sorted(range(len(places)), key=places.__getitem__)
    for before, after in itertools.pairwise(order):
        heights[after] = max(heights[after], heights[before] + gap)
    overflow = max([0.0, *[place - (HEIGHT - BOTTOM) for place in heights]])
    return [place - overflow for place in heights]


def plot(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    log: bool = False,
    chance: float | None = None,
    zero: bool = False,
) -> str:
    """Return a panel of curves in per cent or points, with the name of each line at its right end."""
    xs = sorted({x for line in lines for x, *_ in (*line.points, *line.marks)})
    values = [v for line in lines for _, y, e in line.points for v in (y - e, y + e)]
    values += [line.level for line in lines if line.level is not None] + [y for line in lines for _, y in line.marks]
    values += [chance] * (chance is not None) + [0.0] * zero
    if not xs or not values:
        return frame(title, 60, "No rows.", [text(4, 40, "no rows", kind="quiet")])
    marks = ticks(min(values), max(values))
    low, high = marks[0], max(marks[-1], marks[0] + 1e-9)
    scale = math.log10 if log else float
    first, last = scale(xs[0]), scale(xs[-1])

    names = [line.name for line in lines] + ["chance"] * (chance is not None)
    right = WIDTH - 8 - 6.2 * max(map(len, names))  # space for the names at the right end

    def at(x: float) -> float:
        share = (scale(x) - first) / (last - first) if last > first else 0.5
        return LEFT + 8 + share * (right - LEFT - 16)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    body = []
    for mark in marks:
        body += [segment(LEFT, up(mark), right, up(mark)), text(LEFT - 5, up(mark) + 4, f"{mark:g}", "end")]
    body += [text(at(x), HEIGHT - BOTTOM + 15, f"{x:g}", "middle") for x in xs]
    body += [text((LEFT + right) / 2, HEIGHT - 6, x_label, "middle", "quiet"), text(4, TOP - 12, y_label, kind="quiet")]
    if zero:
        body.append(segment(LEFT, up(0), right, up(0), "axis"))
    if chance is not None:
        body.append(segment(LEFT, up(chance), right, up(chance), "axis", 'stroke-dasharray="1 4"'))
    ends = [up(line.points[-1][1] if line.points else line.level if line.level is not None else low) for line in lines]
    placed = apart([*ends, *([up(chance)] if chance is not None else [])])
    if chance is not None:
        body.append(text(right + 4, placed[-1] + 4, "chance", kind="quiet"))
    for line, end in zip(lines, placed, strict=False):
        body.append(_drawn(line, at, up, right, end))
    return frame(title, HEIGHT, described(lines), body)


def _drawn(line: Line, at: Place, up: Place, right: float, end: float) -> str:
    parts = []
    if line.level is not None:
        dash = 'stroke="currentColor" stroke-width="1.4" stroke-dasharray="6 4"'
        parts.append(segment(LEFT, up(line.level), right, up(line.level), "level", dash))
    corners = " ".join(f"{at(x):.1f},{up(y):.1f}" for x, y, _ in line.points)
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    parts.append(f'<polyline points="{corners}" fill="none" stroke="currentColor" stroke-width="1.8"{dash}/>')
    for x, y, error in line.points:
        if error:
            parts.append(segment(at(x), up(y - error), at(x), up(y + error), "error", 'stroke="currentColor"'))
        parts.append(marker(at(x), up(y), line.colour))
    for x, y in line.marks:
        ring = 'fill="none" stroke="currentColor" stroke-width="1.4"'
        parts.append(f'<circle cx="{at(x):.1f}" cy="{up(y):.1f}" r="5.5" {ring}/>')
    if line.points or line.level is not None:
        parts.append(text(right + 4, end + 4, line.name))
    return f'<g class="k k{line.colour}">{"".join(parts)}</g>'


def described(lines: Sequence[Line]) -> str:
    """Return the numbers of a panel as text."""
    parts = []
    for line in lines:
        numbers = ", ".join(f"{y:.1f} at {x:g}" for x, y, _ in line.points)
        level = "" if line.level is None else f"; dashed at {line.level:.1f}"
        parts.append(f"{line.name}: {numbers or 'no points'}{level}")
    return "; ".join(parts)
