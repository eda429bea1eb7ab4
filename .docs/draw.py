"""The three diagrams of the methods page. `python .docs/draw.py` writes them."""

import html
import pathlib

HERE = pathlib.Path(__file__).parent / "pages" / "pictures"
W, H = 760, 190
REAL, SET, NET, LOSS = "#c9d8ef", "#ffe3b3", "#d7ecd2", "#f3cfd2"
# name -> boxes (x, y, width, colour, lines), arrows (x1, y1, x2, y2, dashed)
DIAGRAMS = {
    "rcig": (
        [
            (10, 20, 150, SET, ["distilled set", "images, labels"]),
            (10, 120, 150, NET, ["a network of the pool", "linearised"]),
            (230, 70, 170, NET, ["fit: body displacement t,", "ridge for the last layer"]),
            (460, 70, 130, REAL, ["prediction of", "a real batch"]),
            (640, 70, 110, LOSS, ["cross-", "entropy"]),
        ],
        [(160, 45, 230, 80), (160, 145, 230, 110), (400, 95, 460, 95), (590, 95, 640, 95), (695, 70, 85, 14, True)],
    ),
    "datm": (
        [
            (10, 20, 150, REAL, ["expert, epoch e", "of its training"]),
            (10, 120, 150, SET, ["distilled set", "images, labels, rate"]),
            (230, 70, 170, NET, ["student: T steps", "from the expert's weights"]),
            (460, 20, 130, REAL, ["expert, epoch e + M", "of the same run"]),
            (640, 70, 110, LOSS, ["distance of", "weights"]),
        ],
        [(160, 45, 230, 80), (160, 145, 230, 110), (400, 95, 640, 95), (590, 45, 640, 80), (695, 120, 85, 176, True)],
    ),
    "dance": (
        [
            (10, 20, 150, REAL, ["a real batch", "of one class"]),
            (10, 120, 150, SET, ["distilled images", "of that class"]),
            (230, 20, 190, NET, ["mixture of fresh and", "trained: features"]),
            (230, 120, 190, NET, ["trained network:", "class prediction"]),
            (490, 20, 120, LOSS, ["distance of", "means"]),
            (490, 120, 120, LOSS, ["cross-", "entropy"]),
        ],
        [
            *[(160, 45, 230, 45), (160, 132, 230, 62), (160, 145, 230, 145), (420, 45, 490, 45), (420, 145, 490, 145)],
            *[(610, 45, 85, 176, True), (550, 170, 85, 176, True)],
        ],
    ),
}


def svg(boxes: list, arrows: list) -> str:
    """One diagram. Dashed arrows are gradients with respect to the learned parts."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" rx="8" fill="#fff"/>',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#444"/></marker></defs>',
    ]
    for x1, y1, x2, y2, *dashed in arrows:
        if dashed:  # along the border
            rim, end = (8, 20) if y2 < H / 2 else (H - 8, 170)
            path = (
                f"M{x1} {y1} L{x1} {rim} L{x2} {rim} L{x2} {end}"
                if y1 != 45
                else f"M{x1} {y1} H700 V{rim} H{x2} V{end}"
            )
        else:
            path = f"M{x1} {y1} L{x2} {y2}"
        style = 'stroke-dasharray="5 4" ' if dashed else ""
        parts.append(f'<path d="{path}" fill="none" stroke="#444" stroke-width="1.4" {style}marker-end="url(#a)"/>')
    for x, y, width, colour, lines in boxes:
        parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="50" rx="6" fill="{colour}" stroke="#666"/>')
        for i, line in enumerate(lines):
            at = y + 29.5 + 17 * (i - (len(lines) - 1) / 2)
            parts.append(f'<text x="{x + width / 2}" y="{at}" text-anchor="middle">{html.escape(line)}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    for name, (boxes, arrows) in DIAGRAMS.items():
        (HERE / f"{name}.svg").write_text(svg(boxes, arrows))
