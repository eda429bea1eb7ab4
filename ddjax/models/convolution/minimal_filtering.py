"""Winograd's minimal filtering by three taps along rows and columns, with the fewest possible products.

Source: Lavin and Gray, 2016 (arXiv:1509.09308), whose B and A are the transposes of ours.
"""

from typing import NamedTuple

Matrix = tuple[tuple[float, ...], ...]


class Filtering(NamedTuple):
    """Outputs come in tiles of step x step: y = A [(G w G') * (B x B')] A' for a 3x3 kernel w."""

    step: int
    B: Matrix
    G: Matrix
    A: Matrix


BY_TWO = Filtering(
    2,
    B=((1.0, 0.0, -1.0, 0.0), (0.0, 1.0, 1.0, 0.0), (0.0, -1.0, 1.0, 0.0), (0.0, 1.0, 0.0, -1.0)),
    G=((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0)),
    A=((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, -1.0)),
)
# interpolated at 0, +-R, +-1/R and infinity with R^2 = 2: half the rounding error of the usual small integers
R = 2.0**0.5
BY_FOUR = Filtering(
    4,
    B=(
        (1.0, 0.0, -2.5, 0.0, 1.0, 0.0),
        (0.0, -R / 2.0, -0.5, R, 1.0, 0.0),
        (0.0, R / 2.0, -0.5, -R, 1.0, 0.0),
        (0.0, -R, -2.0, R / 2.0, 1.0, 0.0),
        (0.0, R, -2.0, -R / 2.0, 1.0, 0.0),
        (0.0, 1.0, 0.0, -2.5, 0.0, 1.0),
    ),
    G=(
        (1.0, 0.0, 0.0),
        (1.0 / 6.0, R / 6.0, 1.0 / 3.0),
        (1.0 / 6.0, -R / 6.0, 1.0 / 3.0),
        (-2.0 / 3.0, -R / 3.0, -1.0 / 3.0),
        (-2.0 / 3.0, R / 3.0, -1.0 / 3.0),
        (0.0, 0.0, 1.0),
    ),
    A=(
        (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
        (0.0, R, -R, R / 2.0, -R / 2.0, 0.0),
        (0.0, 2.0, 2.0, 0.5, 0.5, 0.0),
        (0.0, 2.0 * R, -2.0 * R, R / 4.0, -R / 4.0, 1.0),
    ),
)
