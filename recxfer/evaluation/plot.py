"""Draw line plots as SVG text, for pages that need no other file."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 230, 15, 45
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Told apart by colour-blind people too (Okabe and Ito)."""


def lines(places: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> str:
    """Draw one line per series over common places.

    Args:
        places: names along the horizontal axis.
        series: values by name; None where a line has no point.
    """
    known = [value for values in series.values() for value in values if value is not None]
    top = max([*known, 0.0]) * 1.05 or 1.0
    step = (WIDTH - LEFT - RIGHT) / max(len(places) - 1, 1)

    def x(place: int) -> float:
        return LEFT + place * step

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' "
        "role='img' font-family='system-ui, sans-serif' font-size='12'>"
    ]
    parts += [
        f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y(tick):.1f}' y2='{y(tick):.1f}' "
        f"stroke='#ddd'/><text x='{LEFT - 8}' y='{y(tick) + 4:.1f}' text-anchor='end'>"
        f"{tick:.3f}</text>"
        for tick in (0.0, top / 2, top)
    ]
    parts += [
        f"<text x='{x(place):.1f}' y='{HEIGHT - BOTTOM + 20}' text-anchor='middle'>"
        f"{escape(name)}</text>"
        for place, name in enumerate(places)
    ]
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [(x(place), y(value)) for place, value in enumerate(values) if value is not None]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [
            f"<circle cx='{across:.1f}' cy='{down:.1f}' r='3' fill='{colour}'/>"
            for across, down in points
        ]
        parts.append(
            f"<text x='{WIDTH - RIGHT + 15}' y='{TOP + 15 + 18 * number}' fill='{colour}'>"
            f"{escape(name)}</text>"
        )
    return "".join([*parts, "</svg>"])
