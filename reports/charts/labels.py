"""Where labels of points go, so that none lies on another."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH_PX = 880
"""Of a chart on a screen; labels of a narrower one may still meet."""
LETTER_PX, LINE_PX = 6.6, 14
STEPS = (-9, 13, -23, 27, -37, 41, -51, 55)
"""Offsets that are tried, the nearest to the point first."""
BELOW = (9, 24, 39, 54)
"""Those below a point alone."""

Place = tuple[float, float]
Box = tuple[float, float, float, float]


def offsets(
    places: Sequence[Place],
    texts: Sequence[str],
    height_px: float,
    vertical: Place,
    *,
    steps: Sequence[int] = STEPS,
    width_px: float = WIDTH_PX,
) -> list[int]:
    """Return how far below its point each label stands, in pixels; labels begin to the right of their point.

    Args:
        places: points in units of the axes, already logarithms where an axis is logarithmic.
        texts: their labels.
        height_px: of the chart.
        vertical: what the vertical axis begins and ends with.
        steps: offsets to choose from.
        width_px: of the chart.
    """
    left, right = min(x for x, _ in places), max(x for x, _ in places)
    low, high = vertical
    taken: list[Box] = []
    chosen: dict[int, int] = {}
    for index in sorted(range(len(places)), key=lambda index: places[index]):
        x = (places[index][0] - left) / ((right - left) or 1) * width_px
        y = height_px - (places[index][1] - low) / ((high - low) or 1) * height_px
        boxes = [(dy, _box(x, y + dy, texts[index])) for dy in steps]
        dy, box = next((pair for pair in boxes if not any(_meet(pair[1], other) for other in taken)), boxes[0])
        taken.append(box)
        chosen[index] = dy
    return [chosen[index] for index in range(len(places))]


def _box(x: float, y: float, text: str) -> Box:
    return x, x + 9 + len(text) * LETTER_PX, y - LINE_PX / 2, y + LINE_PX / 2


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
